"""Sliced Wasserstein distance between the Laplacian pyramids of images; it needs no network.

After Karras et al., 2018 (Progressive GAN, section 5): patches are compared level by level, so
fine levels measure texture and coarse ones layout. Unlike the paper, both sets are normalised by
the mean and deviation of the real one: normalising each by its own would hide a wrong contrast.
Shapes: N images, M patches, C channels, H x W pixels.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

PATCH = 7
NUM_PATCHES = 1 << 15  # per level, over all images
NUM_PROJECTIONS = 128
_MIN_SIDE = 14  # of a coarser level: 28 px has two levels, powers of two end at 16 as in the paper
_BATCH, _MAX_PIXELS = 512, 1 << 23  # of a batch, which takes 11 times its memory


def sample_patches(images: np.ndarray, *, seed: int) -> dict[int, Tensor]:
    """Cuts random patches (M, C, 7, 7) from each level of the pyramid of uint8 images (N, C, H, W).

    Keys are the shorter sides of the levels, finest first. Raises ValueError if a side is below 16.
    """
    height, width = images.shape[2:]
    if min(height, width) < 16:
        raise ValueError(
            f"the sliced Wasserstein distance needs images of at least 16x16; got {height}x{width}"
        )
    generator = torch.Generator().manual_seed(seed)
    owners = torch.arange(NUM_PATCHES) * len(images) // NUM_PATCHES  # equally many per image
    parts: dict[int, list[Tensor]] = {}
    size = max(1, min(_BATCH, _MAX_PIXELS // (height * width)))
    for start in range(0, len(images), size):
        batch = torch.tensor(images[start : start + size]).float()
        local = owners[(owners >= start) & (owners < start + len(batch))] - start
        for level in laplacian_levels(batch):
            patches = _random_patches(level, local, generator)
            parts.setdefault(min(level.shape[2:]), []).append(patches)
    return {side: torch.cat(patches) for side, patches in parts.items()}


def sliced_wasserstein(
    real: dict[int, Tensor], fake: dict[int, Tensor], *, seed: int
) -> dict[str, float]:
    """Returns 1000 times the distance between the patches of each level, by side, and their mean.

    Both sets of patches come from `sample_patches`.
    """
    assert real.keys() == fake.keys(), "images of different sizes"
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for side, x in real.items():
        mean = x.mean((0, 2, 3), keepdim=True)
        # at least a grey level, or an almost constant channel would outweigh the others
        deviation = x.std((0, 2, 3), keepdim=True).clamp(min=1)
        x, y = (((patches - mean) / deviation).flatten(1) for patches in (x, fake[side]))
        values[str(side)] = 1000 * _sliced_distance(x, y, generator)
    return values | {"mean": sum(values.values()) / len(values)}


def laplacian_levels(images: Tensor) -> Iterator[Tensor]:
    """Yields the levels of images (N, C, H, W), finest first.

    Each coarser level, enlarged and added to the next finer one, gives the images back.
    """
    while (min(images.shape[2:]) + 1) // 2 >= _MIN_SIDE:
        smaller = shrink(images)
        yield images - enlarge(smaller, images.shape[2:])
        images = smaller
    yield images


def shrink(images: Tensor) -> Tensor:
    """Blurs images (N, C, H, W) and keeps every second pixel; odd sides are rounded up."""
    return _blur(images)[:, :, ::2, ::2]


def enlarge(images: Tensor, size: torch.Size) -> Tensor:
    """Doubles images (N, C, H', W') to `size` (H, W): inserts zeros between pixels, then blurs."""
    spread = images.new_zeros(*images.shape[:2], *size)
    spread[:, :, ::2, ::2] = images
    return 4 * _blur(spread)


def _blur(images: Tensor) -> Tensor:
    """Convolves with the binomial 5x5 kernel, mirrored at the border."""
    kernel = torch.tensor([1, 4, 6, 4, 1], dtype=images.dtype) / 16
    x = F.pad(images, (2, 2, 2, 2), mode="reflect")  # (N, C, H+4, W+4)
    # faster on a CPU than a convolution of single channels
    x = x.unfold(2, 5, 1) @ kernel  # (N, C, H, W+4)
    return x.unfold(3, 5, 1) @ kernel


def _random_patches(level: Tensor, owners: Tensor, generator: torch.Generator) -> Tensor:
    """Cuts a patch from the image of each index in `owners` (M,): (M, C, 7, 7)."""
    views = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # (N, C, rows, columns, 7, 7)
    rows = torch.randint(views.shape[2], owners.shape, generator=generator)
    columns = torch.randint(views.shape[3], owners.shape, generator=generator)
    return views[owners, :, rows, columns]


def _sliced_distance(x: Tensor, y: Tensor, generator: torch.Generator) -> float:
    """Returns the mean distance of two sets (M, D) projected on random lines."""
    directions = F.normalize(torch.randn(x.shape[1], NUM_PROJECTIONS, generator=generator), dim=0)
    # in one dimension, optimal transport pairs the sorted values; NumPy sorts 3 times faster
    x_sorted, y_sorted = (np.sort((directions.T @ patches.T).numpy()) for patches in (x, y))
    return float(np.abs(x_sorted - y_sorted).mean())
