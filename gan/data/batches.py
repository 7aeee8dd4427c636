"""Owns which images batch k of a run holds: a function of (seed, k) alone.

So going on needs no loader state, and a rank finds its slice by itself. Shapes: N images of the
data set, B of the global batch.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from gan.data.pack import PackedImages
from gan.latents import rng

Batch = tuple[Tensor, Tensor | None]  # uint8 (b, C, H, W) and int64 (b,)


def batch_indices(num_images: int, batch_size: int, *, seed: int, step: int) -> np.ndarray:
    """Returns the B positions of batch `step`: each epoch is a new order of all N images."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs, offsets = np.divmod(positions, num_images)
    indices = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        indices[here] = _epoch_order(num_images, seed, int(epoch))[offsets[here]]
    return indices


def batches(
    packed: PackedImages,
    batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    flip: bool = False,
) -> Iterator[Batch]:
    """Yields this rank's slice of batch start_step, start_step + 1, ... without end."""
    mine = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
    step = start_step
    while True:
        indices = batch_indices(len(packed), batch_size, seed=seed, step=step)[mine]
        images = packed.images[indices]
        if flip:
            mirrored = rng(seed, step, "flip").random(batch_size)[mine] < 0.5
            images[mirrored] = images[mirrored, ..., ::-1]
        labels = None if packed.labels is None else torch.from_numpy(packed.labels[indices])
        yield torch.from_numpy(images), labels
        step += 1


@lru_cache(maxsize=2)  # a batch may lie across two epochs
def _epoch_order(num_images: int, seed: int, epoch: int) -> np.ndarray:
    return rng(seed, epoch, "order").permutation(np.arange(num_images, dtype=np.uint32))
