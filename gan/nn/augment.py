"""What D sees: images that are shifted (Zhao et al., 2020), and noise on their colours.

Real and fake images are changed alike, so G does not learn to draw changed images.
Shapes: N images (N, C, H, W); draws (5, N), the random numbers of each image.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gan.config.settings import TrainConfig
from gan.config.sizes import largest_translation

_FIELD = 512  # the side of the field that all noise is taken from


def draw_augmentation(
    num: int,
    image_shape: tuple[int, int, int],
    rng: np.random.Generator,
    share: float = 1.0,
    translate_pixels: int | None = None,
    noise: float = 0.0,
) -> Tensor:
    """Returns float32 (5, N): two shifts in pixels, where the noise starts, and its deviation.

    On average, a share of the images has draws that change it; the others stay the same. The shifts
    are by up to translate_pixels, or an eighth of a side. `noise` is in grey levels.
    """
    _, *sides = image_shape
    reaches = [translate_pixels or largest_translation(side) for side in sides]
    is_changed = rng.random(num) < share
    shifts = [rng.integers(-reach, reach + 1, num) * is_changed for reach in reaches]
    starts = rng.integers(_FIELD, size=(2, num))
    stds = is_changed * (noise / 127.5)
    return torch.from_numpy(np.stack([*shifts, *starts, stds]).astype(np.float32))


def translate(images: Tensor, draws: Tensor) -> Tensor:
    """Shifts images (N, C, H, W), each by its column of (5, N), at most by an eighth of a side,
    rounded.

    The border is black, which shows D the contrast, as `model.d_border` does.
    """
    num, _, height, width = images.shape
    down, across = draws[:2].long()[:, :, None, None]  # (N, 1, 1) each
    above, left = largest_translation(height), largest_translation(width)
    padded = pad(images, (left, left, above, above), value=-1.0)
    image = torch.arange(num, device=images.device)[:, None, None]
    rows = above + down + torch.arange(height, device=images.device)[:, None]
    columns = left + across + torch.arange(width, device=images.device)
    return padded.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 3, 1, 2)


def add_noise(images: Tensor, draws: Tensor) -> Tensor:
    """Adds Gaussian noise to the colours of images (N, C, H, W) and not to their brightness.

    JPEG stores colours at half of the resolution, and D recognises samples by their finer colours.
    Each image gets a part of one fixed field of noise, by its column of the draws (5, N). New
    noise would have to come from a generator on the device, whose state a resumed run does not
    have. Grey images stay the same, as does opacity.
    """
    channels, height, width = images.shape[1:]
    if channels == 1:
        return images
    down, across = draws[2:4].long()[:, :, None, None]  # (N, 1, 1) each
    rows = down + torch.arange(height, device=images.device)[:, None]
    columns = across + torch.arange(width, device=images.device)
    noise = _noise(channels, images.device)[rows % _FIELD, columns % _FIELD]  # (N, H, W, C)
    return images + draws[4][:, None, None, None] * noise.permute(0, 3, 1, 2)


@cache
def _noise(channels: int, device: torch.device) -> Tensor:
    """Returns the field (512, 512, C): noise of deviation 1 in Cb and Cr of JPEG's colours."""
    field = np.random.default_rng(0).standard_normal((_FIELD, _FIELD, 2), dtype=np.float32)
    colours = np.zeros((2, channels), np.float32)
    colours[:, :3] = (0, -0.344136, 1.772), (1.402, -0.714136, 0)  # RGB of a unit of Cb, of Cr
    return torch.from_numpy(field @ colours).to(device)


AUGMENTATIONS = {"translate": translate}


def as_d_sees(images: Tensor, draws: Tensor, train: TrainConfig) -> Tensor:
    """Returns images (N, C, H, W) augmented and with noise, if the config says so."""
    if train.augment:
        images = AUGMENTATIONS[train.augment](images, draws)
    return add_noise(images, draws) if train.colour_noise else images
