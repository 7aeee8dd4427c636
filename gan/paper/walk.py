"""Walks between latents: how evenly images change, where memorised images would jump.

Shapes: N frames of the closed path, P latents on it.
"""

from typing import Any

import numpy as np
from torch import Tensor

from gan.analysis.walk import path_ends
from gan.analysis.walk import walk as walk_between
from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.paper.nearest import RowsOf, as_rows, find_nearest, spaces_of
from gan.paper.result import Chart, Result, Sheet
from gan.sampling import Trained

_FINER = 4  # times as many frames
_PAIRS = 200  # of random samples, whose median distance is the unit


def run(trained: Trained, *, seed: int, points: int, steps: int, nearest: bool) -> Result:
    """Visits `points` latents in `steps` frames each, and again in four times as many.

    With `nearest`, finds the training images that are nearest to the images of these latents.
    """
    ends, labels = path_ends(trained, points=points, seed=seed)
    walks = {"G": walk_between(trained, ends, labels, steps=steps),
             "G, finer": walk_between(trained, ends, labels, steps=_FINER * steps)}  # fmt: skip
    walks |= {name.replace("G", "a table"): table(walks[name], points) for name in [*walks]}
    z = trained.latents(points + 2 * _PAIRS, seed)[points:]
    others = trained.images(z, None if labels is None else labels[:1].expand(len(z)))
    steps_of = {name: step_sizes(walks, others, rows_of)
                for name, rows_of in spaces_of(trained).items()}  # fmt: skip
    numbers: dict[str, Any] = {name: {key: largest(sizes, points) for key, sizes in found.items()}
                               for name, found in steps_of.items()}  # fmt: skip
    lines = [
        f"{name}: the largest step is {found[key]:.2f} of the distance of two samples, with "
        f"{_FINER} times as many frames {found[f'{key}, finer']:.2f} ({key})"
        for name, found in numbers.items() for key in ("G", "a table")
    ]  # fmt: skip
    columns = [*walks["G"].reshape(points, steps, *others.shape[1:]).swapaxes(0, 1)]
    title = "a leg a row"
    if nearest:
        data = trained.cfg.data
        train = pack(open_source(data), data).images
        distance, rows = find_nearest(columns[0], train, as_rows, mirrored=data.flip)
        numbers["nearest_in_pixels"] = distance.tolist()
        columns = [train[rows.numpy()], *columns]
        title = "nearest training image | a leg of the walk"
    images = np.stack(columns, 1).reshape(-1, *others.shape[1:])
    charts = [Chart(f"distance to the next frame, in {name}; 1: two samples",
                    {key: (range(points * steps), found[key]) for key in ("a table", "G")},
                    {"xlabel": "frame", "ylim": (0, None)})
              for name, found in steps_of.items()]  # fmt: skip
    return Result([[Sheet(title, images, len(columns))], [*charts]], numbers, lines)


def table(frames: np.ndarray, points: int) -> np.ndarray:
    """Returns the frames of a generator that knows the images at the ends of the legs alone.

    Each of the frames (N, C, H, W) becomes that of the nearer end.
    """
    steps = len(frames) // points
    nearer = (np.arange(len(frames)) + steps // 2) // steps % points
    return frames[nearer * steps]


def step_sizes(
    walks: dict[str, np.ndarray], others: np.ndarray, rows_of: RowsOf
) -> dict[str, Tensor]:
    """Returns for each walk the distances (N,) from a frame to the next, the first after the last.

    The unit is the median distance of two random samples, of `others` (2M, C, H, W).
    """
    first, second = rows_of(others).chunk(2)
    unit = (first - second).norm(dim=1).median().clamp(min=1e-6)
    rows = {name: rows_of(frames) for name, frames in walks.items()}
    return {name: (x.roll(-1, 0) - x).norm(dim=1) / unit for name, x in rows.items()}


def largest(sizes: Tensor, points: int) -> float:
    """Returns the largest step of a leg, the median over the legs."""
    return float(sizes.view(points, -1).max(1).values.median())
