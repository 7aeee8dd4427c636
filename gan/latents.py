"""Random streams named by (seed, step, purpose): all randomness of a run but its first weights.

A draw does not depend on earlier draws, so a resumed run and several ranks need no generator state.
Shapes: N latents of length Z.
"""

import numpy as np
import torch
from torch import Tensor

from gan.config.settings import ModelConfig

_PURPOSES = (  # the position is part of the seed, so new purposes go to the end
    "order", "flip", "train", "norm_labels", "augment", "sample", "sample_labels", "real", "norm",
)  # fmt: skip


def rng(seed: int, step: int, purpose: str) -> np.random.Generator:
    """Returns the generator of one purpose at one step."""
    return np.random.Generator(np.random.PCG64([seed, step, _PURPOSES.index(purpose)]))


def draw_latents(
    num: int, model: ModelConfig, *, seed: int, step: int = 0, purpose: str = "sample"
) -> Tensor:
    """Returns float32 (N, Z); the first k rows are those of a call with num = k."""
    stream = rng(seed, step, purpose)
    if model.z_dist == "normal":
        return torch.from_numpy(stream.standard_normal((num, model.z_dim), dtype=np.float32))
    return torch.from_numpy(stream.random((num, model.z_dim), dtype=np.float32) * 2 - 1)


def draw_labels(
    num: int, num_classes: int, *, seed: int, step: int = 0, purpose: str = "sample_labels"
) -> Tensor | None:
    """Returns int64 (N,), uniform over the classes; None without classes."""
    if not num_classes:
        return None
    return torch.from_numpy(rng(seed, step, purpose).integers(num_classes, size=num))
