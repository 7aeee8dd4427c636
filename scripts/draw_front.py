"""Draws docs/figures/front.png, the README's first picture, from the shipped generators.

python scripts/draw_front.py
"""

from pathlib import Path

import numpy as np
from PIL import Image

import gan
from gan.pretrained.shipped import shipped_names

SIDE, GAP, ROWS = 64, 2, 4  # pixels of an image, pixels between images, rows
COLUMNS = {"celeba64": 6, "cifar10": 4, "fashion_mnist": 3, "mnist": 3}


def block(name: str, columns: int) -> np.ndarray:
    """Returns the first samples of a generator as one picture (H, W, 3), black around each."""
    images = gan.load(name, device="cpu").sample(ROWS * columns, seed=0)  # (N, H, W, C)
    images = images.repeat(SIDE // images.shape[1], axis=1).repeat(SIDE // images.shape[2], axis=2)
    images = np.broadcast_to(images, (*images.shape[:3], 3))
    images = np.pad(images, ((0, 0), (GAP, GAP), (GAP, GAP), (0, 0)))
    rows = [np.concatenate(row, axis=1) for row in images.reshape(ROWS, columns, *images.shape[1:])]
    return np.concatenate(rows)


def main() -> None:
    blocks = [block(name, columns) for name, columns in COLUMNS.items() if name in shipped_names()]
    Image.fromarray(np.concatenate(blocks, axis=1)).save(Path("docs/figures/front.png"))


if __name__ == "__main__":
    main()
