"""Latents to images, and images to grids and GIFs.

Shapes: N images, C channels, H x W pixels; images as uint8 (N, C, H, W).
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan.data.decode import on_white
from gan.errors import NonFinite
from gan.files import replacing
from gan.machine.precision import Precision, autocast, send
from gan.machine.replay import Replay
from gan.nn.generator import Generator

_BATCH, _GPU_BATCH = 64, 512  # images per forward pass
_GAP = 2  # pixels between the images of a grid


@torch.no_grad()
def generate(
    generator: Generator,
    z: Tensor,
    labels: Tensor | None,
    precision: Precision,
    replay: Replay | None = None,
) -> np.ndarray:
    """Maps latents (N, Z) to uint8 images (N, C, H, W), in eval mode; restores the mode.

    Raises NonFinite if a pixel is not finite.
    """
    device = next(generator.parameters()).device
    size = _GPU_BATCH if device.type == "cuda" else _BATCH

    def draw(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        with autocast(precision, device):
            images = generator(**inputs)
            return {"images": to_uint8(images), "finite": images.isfinite().all()}

    images = []
    was_training = generator.training
    generator.eval()
    try:
        for start in range(0, len(z), size):
            given = {"z": z} if labels is None else {"z": z, "labels": labels}
            inputs = {k: send(v[start : start + size], device) for k, v in given.items()}
            drawn = replay(draw, inputs) if replay else draw(inputs)
            images.append(drawn["images"].cpu().numpy())
            if not drawn["finite"]:
                raise NonFinite("the generator's images are not finite")
    finally:
        generator.train(was_training)
    return np.concatenate(images)


def to_uint8(images: Tensor) -> Tensor:
    """Maps [-1, 1] to 0..255."""
    return images.float().add(1).mul(127.5).round().clamp(0, 255).byte()


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Arranges uint8 images (N, C, H, W) in rows as one (H', W', C); by default a square."""
    num, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(num))
    rows = math.ceil(num / columns)
    shape = rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, channels
    sheet = np.zeros(shape, np.uint8)
    for i, image in enumerate(images):
        top = _GAP + (i // columns) * (height + _GAP)
        left = _GAP + (i % columns) * (width + _GAP)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return sheet


def to_pil(pixels: np.ndarray) -> Image.Image:
    """Converts uint8 pixels (H, W, C) with 1, 3 or 4 channels to a Pillow image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def save_gif(frames: Sequence[Image.Image], path: Path, frame_ms: int, last_ms: int = 0) -> None:
    """Writes a looping GIF, on white; `last_ms` is the duration of the last frame."""
    frames = [on_white(frame) for frame in frames]
    durations = [frame_ms] * (len(frames) - 1) + [last_ms or frame_ms]
    with replacing(path) as part:
        frames[0].save(part, save_all=True, append_images=frames[1:], duration=durations, loop=0)
