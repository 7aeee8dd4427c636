"""Owns differentiable augmentation (Zhao et al., 2020): colour, translation, cutout.

Applied alike to all that D sees, so that G is not led to draw augmented images.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad


def diffaugment(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Augments images (N, C, H, W), each by its own draw; differentiable in the images."""
    num = len(images)
    brightness, saturation, contrast = torch.from_numpy(
        rng.random((3, num, 1, 1, 1), dtype=np.float32)
    ).to(images.device)
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (saturation * 2) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * (contrast + 0.5) + mean
    return _cut_out(_translate(images, rng), rng)


def _translate(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Shifts by up to an eighth of a side, filling with zeros."""
    num, _, height, width = images.shape
    reach = (round(height / 8), round(width / 8))
    shifts = [torch.from_numpy(rng.integers(0, 2 * r + 1, num)).to(images.device) for r in reach]
    padded = pad(images, (reach[1], reach[1], reach[0], reach[0]))
    image = torch.arange(num, device=images.device)[:, None, None]
    rows = shifts[0][:, None, None] + torch.arange(height, device=images.device)[:, None]
    columns = shifts[1][:, None, None] + torch.arange(width, device=images.device)
    return padded.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 3, 1, 2)


def _cut_out(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Sets a square of half a side, anywhere, to zero."""
    num, _, height, width = images.shape
    inside = []
    for side, axis in ((height, 2), (width, 3)):
        centre = torch.from_numpy(rng.integers(0, side + 1, num)).to(images.device)
        place = torch.arange(side, device=images.device)
        distance = (place - centre[:, None]).abs() * 4 < side  # (N, side)
        inside.append(distance[:, None, :, None] if axis == 2 else distance[:, None, None, :])
    return images * ~(inside[0] & inside[1])  # (N, 1, H, W)
