"""Nearest neighbours among more images than memory holds as floats.

Shapes: N images to ask about, M others, D numbers of each, such as C H W pixels.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

CHUNK = 10_000  # images at once


def as_rows(images: np.ndarray) -> Tensor:
    """Maps uint8 images (N, C, H, W) to float32 rows (N, D) in 0..1."""
    return torch.tensor(images).flatten(1).float().div(255)


def in_chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yields parts of an array, in its order."""
    return (array[start : start + CHUNK] for start in range(0, len(array), CHUNK))


def nearest_so_far(
    wanted: Tensor, chunks: Iterable[Tensor]
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yields after each chunk (M, D) how many rows it and the earlier ones have, and for each of
    `wanted` (N, D) the distance (N,) to the nearest of them and its index (N,)."""
    best = torch.full((len(wanted),), torch.inf)
    found = torch.zeros(len(wanted), dtype=torch.int64)
    count = 0
    for rows in chunks:
        distance, index = _nearest(wanted, rows)
        found = torch.where(distance < best, index + count, found)
        best = torch.minimum(best, distance)
        count += len(rows)
        yield count, best, found


def _nearest(wanted: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    squares = (rows * rows).sum(1)
    # (N, M) less |wanted|^2, a thousand of N at once
    parts = [torch.addmm(squares, part, rows.T, alpha=-2).min(1) for part in wanted.split(1000)]
    nearest, index = (torch.cat(values) for values in zip(*parts, strict=True))
    return (nearest + (wanted * wanted).sum(1)).clamp(min=0).sqrt(), index
