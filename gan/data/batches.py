"""Batch k of a run as a function of (seed, k), so a resumed run or a rank needs no loader state.

Shapes: N images of the data set, B of the global batch, b of this rank.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from gan.data.pack import PackedImages
from gan.latents import rng
from gan.machine.precision import send
from gan.machine.ranks import Ranks

Batch = tuple[Tensor, Tensor | None]  # uint8 (b, C, H, W) and int64 (b,)
Pick = Callable[[np.ndarray], Tensor]  # indices (b,) -> images on the device

_CPU, _ALONE = torch.device("cpu"), Ranks()
_RESIDENT_SHARE = 0.3  # of a GPU's free memory that packed images may take
_CHUNK = 4096


def batch_indices(num_images: int, batch_size: int, *, seed: int, step: int) -> np.ndarray:
    """Returns the indices (B,) of batch `step`; each epoch is a new order of all N images."""
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
    ranks: Ranks = _ALONE,
    flip: bool = False,
    device: torch.device = _CPU,
) -> Iterator[Batch]:
    """Yields this rank's slice of batches start_step, start_step + 1, ... forever.

    Images are on the device, labels on the CPU. `flip` mirrors about half of the images.
    """
    fits = (
        device.type == "cuda"
        and packed.images.nbytes < _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
    )
    pick = resident(packed, device) if fits else streamed(packed, device)
    share = batch_size // ranks.world_size
    mine = slice(ranks.rank * share, (ranks.rank + 1) * share)
    for step in itertools.count(start_step):
        indices = batch_indices(len(packed), batch_size, seed=seed, step=step)[mine]
        images = pick(indices)
        if flip:
            _mirror(images, np.flatnonzero(rng(seed, step, "flip").random(batch_size)[mine] < 0.5))
        labels = None if packed.labels is None else torch.from_numpy(packed.labels[indices])
        yield images, labels


def _mirror(images: Tensor, indices: np.ndarray) -> None:
    """Flips some images from left to right, in place."""
    where = send(torch.from_numpy(indices), images.device)
    mirrored = images.index_select(0, where).flip(-1)
    if images.device.type == "cpu":
        images.numpy()[indices] = mirrored.numpy()  # four times as fast as index_copy_
    else:
        images.index_copy_(0, where, mirrored)


def resident(packed: PackedImages, device: torch.device) -> Pick:
    """Copies all images to the device, and picks batches there."""
    images = torch.empty(packed.images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(packed), _CHUNK):
        part = slice(start, start + _CHUNK)
        images[part] = torch.from_numpy(packed.images[part].copy())
    return lambda indices: images[send(torch.from_numpy(indices), device)]


def streamed(packed: PackedImages, device: torch.device) -> Pick:
    """Picks batches from the memory-mapped file; copies to a GPU are asynchronous."""
    return lambda indices: send(torch.from_numpy(packed.images[indices]), device)


@lru_cache(maxsize=2)  # a batch may span two epochs
def _epoch_order(num_images: int, seed: int, epoch: int) -> np.ndarray:
    return rng(seed, epoch, "order").permutation(np.arange(num_images, dtype=np.uint32))
