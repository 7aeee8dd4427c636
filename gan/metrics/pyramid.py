"""Owns the sliced Wasserstein distance between Laplacian pyramids; it needs no network.

After Karras et al., 2018 (Progressive GAN, section 5): patches of every level of the pyramid are
compared as sets, so the finest level judges texture and the coarsest one layout. One detail is
ours: both sets are scaled by the real set's mean and deviation, since a scale of its own for each
would hide a wrong contrast. Shapes: N images, C channels, H x W pixels, D numbers of a patch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

PATCH = 7
NUM_PATCHES = 1 << 15  # of each level, over all images
NUM_PROJECTIONS = 128
_SMALLEST_HALF = 14  # so 28 px has two levels, and powers of two end at 16 as in the paper
_BATCH = 512


@dataclass(frozen=True)
class Pyramid:
    """Random patches of a set of images, one tensor (NUM_PATCHES, D) a level, finest first."""

    sides: tuple[int, ...]  # the shorter side of each level
    patches: tuple[Tensor, ...]


def pyramid(images: np.ndarray, *, seed: int) -> Pyramid:
    """Samples patches from uint8 images (N, C, H, W); ValueError if a side is below 16."""
    if min(images.shape[2:]) < 16:
        height, width = images.shape[2:]
        raise ValueError(f"the pyramid needs images of at least 16x16; got {height}x{width}")
    draw = torch.Generator().manual_seed(seed)
    owners = torch.arange(NUM_PATCHES) * len(images) // NUM_PATCHES  # as many from each image
    collected: list[list[Tensor]] = []
    sides: tuple[int, ...] = ()
    for start in range(0, len(images), _BATCH):
        batch = torch.tensor(images[start : start + _BATCH]).float()
        here = owners[(owners >= start) & (owners < start + len(batch))] - start
        levels = list(laplacian_levels(batch))
        sides = tuple(min(level.shape[2:]) for level in levels)
        collected.append([_random_patches(level, here, draw) for level in levels])
    patches = tuple(torch.cat(parts) for parts in zip(*collected, strict=True))
    return Pyramid(sides, patches)


def sliced_wasserstein(real: Pyramid, fake: Pyramid, *, seed: int) -> dict[str, float]:
    """Returns 1000 times the distance of each level, by its side, and their mean."""
    assert real.sides == fake.sides, "pyramids of different image sizes"
    draw = torch.Generator().manual_seed(seed)
    values = {}
    for side, x, y in zip(real.sides, real.patches, fake.patches, strict=True):
        values[str(side)] = 1000 * _sliced_distance(*_scaled(x, y), draw)
    return values | {"mean": sum(values.values()) / len(values)}


def laplacian_levels(images: Tensor) -> Iterator[Tensor]:
    """Yields the levels of images (N, C, H, W), finest first; added up they give the images."""
    while (min(images.shape[2:]) + 1) // 2 >= _SMALLEST_HALF:
        smaller = shrink(images)
        yield images - enlarge(smaller, images.shape[2:])
        images = smaller
    yield images


def shrink(images: Tensor) -> Tensor:
    """Blurs and takes every second pixel: (N, C, H, W) to half of it, rounded up."""
    return _blur(images)[:, :, ::2, ::2]


def enlarge(images: Tensor, size: torch.Size) -> Tensor:
    """Spreads the pixels over `size` (H, W) and blurs the gaps full."""
    spread = images.new_zeros(*images.shape[:2], *size)
    spread[:, :, ::2, ::2] = images
    return 4 * _blur(spread)


def _blur(images: Tensor) -> Tensor:
    """Convolves with the binomial 5x5 kernel, mirrored at the border."""
    kernel = torch.tensor([1, 4, 6, 4, 1], dtype=images.dtype) / 16
    x = F.pad(images, (2, 2, 2, 2), mode="reflect")  # (N, C, H+4, W+4)
    # a convolution of single channels is slower on a CPU
    x = x.unfold(2, 5, 1) @ kernel  # (N, C, H, W+4)
    return x.unfold(3, 5, 1) @ kernel


def _random_patches(level: Tensor, owners: Tensor, draw: torch.Generator) -> Tensor:
    """Cuts one patch from the image of each owner: (len(owners), D)."""
    views = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # (N, C, rows, columns, 7, 7)
    rows, columns = (
        torch.randint(views.shape[axis], owners.shape, generator=draw) for axis in (2, 3)
    )
    return views[owners, :, rows, columns].flatten(1)


def _scaled(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Scales each colour channel by the real patches' mean and deviation."""
    by_channel = real.reshape(len(real), -1, PATCH**2)
    mean = by_channel.mean((0, 2)).repeat_interleave(PATCH**2)
    deviation = by_channel.std((0, 2)).clamp(min=1e-3).repeat_interleave(PATCH**2)
    return (real - mean) / deviation, (fake - mean) / deviation


def _sliced_distance(x: Tensor, y: Tensor, draw: torch.Generator) -> float:
    directions = F.normalize(torch.randn(x.shape[1], NUM_PROJECTIONS, generator=draw), dim=0)
    # on a line the optimal transport pairs the sorted values; numpy sorts them 3 times faster
    ends = [np.sort((directions.T @ patches.T).numpy()) for patches in (x, y)]
    return float(np.abs(ends[0] - ends[1]).mean())
