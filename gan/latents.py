"""Owns all randomness of a run but its first weights: streams named by (seed, step, purpose).

Nothing depends on what was drawn before, so going on and splitting over ranks come free.
Shapes: N latents, Z numbers each.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

ZDist = Literal["normal", "uniform"]

_PURPOSES = (  # a purpose is its place: only the end may grow
    "order", "flip", "train", "norm_labels", "augment", "sample", "sample_labels", "real", "norm",
)  # fmt: skip


def rng(seed: int, step: int, purpose: str) -> np.random.Generator:
    """Returns the stream of one purpose at one step."""
    return np.random.Generator(np.random.PCG64([seed, step, _PURPOSES.index(purpose)]))


def draw_latents(
    num: int, z_dim: int, dist: ZDist, *, seed: int, step: int = 0, purpose: str = "sample"
) -> Tensor:
    """Returns float32 (N, Z); the first k of N are those of k."""
    stream = rng(seed, step, purpose)
    if dist == "normal":
        return torch.from_numpy(stream.standard_normal((num, z_dim), dtype=np.float32))
    return torch.from_numpy(stream.random((num, z_dim), dtype=np.float32) * 2 - 1)


def draw_labels(
    num: int, num_classes: int, *, seed: int, step: int = 0, purpose: str = "sample_labels"
) -> Tensor | None:
    """Returns int64 (N,), uniform over the classes; None when there are none."""
    if not num_classes:
        return None
    return torch.from_numpy(rng(seed, step, purpose).integers(num_classes, size=num))


def interpolate(start: Tensor, end: Tensor, steps: int, dist: ZDist) -> Tensor:
    """Returns (steps, Z) from `start` (Z,) towards `end`, without it: slerp for normal z, whose
    length it keeps typical (White, 2016), straight for uniform z."""
    t = torch.arange(steps, dtype=start.dtype)[:, None] / steps
    if dist == "uniform":
        return start + t * (end - start)
    cosine = torch.dot(start, end) / (start.norm() * end.norm())
    angle = torch.acos(cosine.clamp(-1, 1))
    if angle < 1e-4:
        return start + t * (end - start)
    return (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / torch.sin(angle)
