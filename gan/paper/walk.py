"""Walks between latents: how evenly images change, where memorised images would jump."""

from typing import Any

import numpy as np
from torch import Tensor

from gan.analysis.walk import path_ends, walk
from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.paper.nearest import RowsOf, find_nearest, spaces_of
from gan.paper.result import Result
from gan.pretrained.trained import Trained
from gan.sampling import grid

_FINER = 4  # times as many frames
_PAIRS = 200  # of random samples, whose median distance is the unit


def run(trained: Trained, *, seed: int, points: int, steps: int, nearest: bool) -> Result:
    """Visits `points` latents in `steps` frames each, in four times as many, and in one: by so much
    a table of memorised images would jump. Shows their nearest training images if asked."""
    ends, labels = path_ends(trained, points=points, seed=seed)
    walks = {name: walk(trained, ends, labels, steps=count) for name, count in
             (("G", steps), ("G, finer", _FINER * steps), ("a table", 1))}  # fmt: skip
    z = trained.latents(points + 2 * _PAIRS, seed)[points:]
    others = trained.images(z, None if labels is None else labels[:1].expand(len(z)))
    numbers: dict[str, Any] = {}
    charts = {}
    for space, rows_of in spaces_of(trained).items():
        sizes = {name: step_sizes(frames, others, rows_of).view(points, -1)
                 for name, frames in walks.items()}  # fmt: skip
        # the largest of a leg
        numbers[space] = {name: float(x.max(1).values.median()) for name, x in sizes.items()}
        curves = {name: (np.arange(x.numel()) * points * steps / x.numel(), x.flatten())
                  for name, x in sizes.items()}  # fmt: skip
        charts[f"distance to the next frame, in {space}; 1: two samples"] = (
            curves, {"xlabel": "frame", "ylim": (0, None)})  # fmt: skip
    columns = [*walks["G"].reshape(points, steps, *others.shape[1:]).swapaxes(0, 1)]
    if nearest:
        data = trained.cfg.data
        train = pack(open_source(data), data).images
        distance, rows = find_nearest(columns[0], train, mirrored=data.flip)
        numbers["nearest_in_pixels"] = distance.tolist()
        columns = [train[rows.numpy()], *columns]
    title = "nearest training image | a leg of the walk" if nearest else "a leg a row"
    images = np.stack(columns, 1).reshape(-1, *others.shape[1:])
    return [{title: grid(images, len(columns))}, charts], numbers


def step_sizes(frames: np.ndarray, others: np.ndarray, rows_of: RowsOf) -> Tensor:
    """Returns the distances (N,) from a frame to the next, the first after the last; the unit is
    the median distance of two random samples, of `others` (2M, C, H, W)."""
    first, second = rows_of(others).chunk(2)
    unit = (first - second).norm(dim=1).median().clamp(min=1e-6)
    rows = rows_of(frames)
    return (rows.roll(-1, 0) - rows).norm(dim=1) / unit
