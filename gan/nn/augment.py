"""Differentiable augmentation (Zhao et al., 2020): colour, translation, cutout.

Real and fake images are augmented alike, so G does not learn to draw augmented images.
Shapes: N images (N, C, H, W); draws (7, N), the random numbers of each image.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gan.config.sizes import largest_translation


def draw_augmentation(
    num: int,
    image_shape: tuple[int, int, int],
    rng: np.random.Generator,
    share: float = 1.0,
    translate_pixels: int | None = None,
) -> Tensor:
    """Returns float32 (7, N): brightness, saturation and contrast in [0, 1), two shifts in pixels,
    two centres of the cutout.

    On average, a share of the images has draws that change it; the others stay the same. The shifts
    are by up to translate_pixels, or an eighth of a side.
    """
    _, *sides = image_shape
    reaches = [translate_pixels or largest_translation(side) for side in sides]
    draws = [
        *rng.random((3, num), dtype=np.float32),
        *(rng.integers(-reach, reach + 1, num) for reach in reaches),
        *(rng.integers(0, side + 1, num) for side in sides),
    ]
    found = np.stack(draws, dtype=np.float32, casting="unsafe")
    unchanged = [*[0.5] * 3, 0, 0, *(-side for side in sides)]
    found[:, rng.random(num) >= share] = np.array(unchanged, np.float32)[:, None]
    return torch.from_numpy(found)


def translate(images: Tensor, draws: Tensor, fill: float = -1.0) -> Tensor:
    """Shifts images (N, C, H, W), each by its column of (7, N), at most by an eighth of a side,
    rounded.

    The border has the value `fill`. Black shows D the contrast, as `model.d_border` does.
    """
    num, _, height, width = images.shape
    down, across = draws[3:5].long()[:, :, None, None]  # (N, 1, 1) each
    above, left = largest_translation(height), largest_translation(width)
    padded = pad(images, (left, left, above, above), value=fill)
    image = torch.arange(num, device=images.device)[:, None, None]
    rows = above + down + torch.arange(height, device=images.device)[:, None]
    columns = left + across + torch.arange(width, device=images.device)
    return padded.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 3, 1, 2)


def diffaugment(images: Tensor, draws: Tensor) -> Tensor:
    """Changes the colours of images (N, C, H, W), shifts them and cuts out a square, each by its
    column of the draws (7, N)."""
    brightness, saturation, contrast = draws[:3, :, None, None, None]
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (saturation * 2) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * (contrast + 0.5) + mean
    return _cut_out(translate(images, draws, fill=0.0), draws[5:])


def _cut_out(images: Tensor, centres: Tensor) -> Tensor:
    """Sets a square of half a side around each centre (2, N) to zero."""
    rows, columns = (
        (torch.arange(side, device=images.device) - centre[:, None]).abs() * 4 < side  # (N, side)
        for side, centre in zip(images.shape[2:], centres, strict=True)
    )
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])  # (N, 1, H, W)


AUGMENTATIONS = {"translate": translate, "diffaugment": diffaugment}
