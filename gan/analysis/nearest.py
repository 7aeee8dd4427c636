"""The search for nearest images.

Shapes: N images, F features, C channels, H x W pixels; images as uint8 (N, C, H, W).
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan.data.pack import PackedImages
from gan.metrics.distances import distance_rows

_NUM_SEARCHED = 1000  # images whose nearest training image is searched for
_SEARCH_SIDE = 32  # pixels; larger images are shrunk for the search
_SEARCH_PIXELS = 1 << 21  # of images at once, as floats


def nearest_neighbours(queries: Tensor, parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Returns the Euclidean distance (N,) from each query (N, F) to the nearest row of the parts
    (M, F), and the index (N,) of that one in all parts together."""
    nearest = queries.new_full((len(queries),), torch.inf)
    where = torch.zeros_like(nearest, dtype=torch.long)
    start = 0
    for part in parts:
        found = [rows.min(1) for rows in distance_rows(queries, part)]
        distance = torch.cat([rows.values for rows in found])
        index = torch.cat([rows.indices for rows in found])
        where = torch.where(distance < nearest, index + start, where)
        nearest = torch.minimum(nearest, distance)
        start += len(part)
    return nearest, where


def nearest_training(
    images: np.ndarray, train: PackedImages, rows: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Returns the distances of the first images to the nearest of these training images, and the
    indices of those in `train`."""
    parts = np.array_split(rows, _num_parts(train.images, len(rows)))
    queries = np.arange(min(_NUM_SEARCHED, len(images)))
    shrunk = [_rows(images, p) for p in np.array_split(queries, _num_parts(images, len(queries)))]
    others = (_rows(train.images, p) for p in parts)
    nearest, where = nearest_neighbours(torch.cat(shrunk), others)
    return nearest, torch.from_numpy(rows)[where]


def _num_parts(images: np.ndarray, num: int) -> int:
    return num * images.shape[2] * images.shape[3] // _SEARCH_PIXELS + 1


def _rows(images: np.ndarray, chosen: np.ndarray) -> Tensor:
    """Flattens images to rows (N, D), scaled so that Euclidean distances are root mean squares."""
    pixels = torch.from_numpy(images[chosen]).float()
    height, width = (min(side, _SEARCH_SIDE) for side in pixels.shape[2:])
    rows = F.adaptive_avg_pool2d(pixels, (height, width)).flatten(1)
    return rows / rows.shape[1] ** 0.5
