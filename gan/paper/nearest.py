"""Memorisation: nearest training images of samples, beside those of real images never trained on.

Shapes: N images, M others, C channels, H x W pixels, D numbers of an image.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.errors import ConfigError
from gan.metrics.distances import nearest_neighbours
from gan.metrics.reference import choose_network, held_out_images
from gan.paper.result import Result, show
from gan.sampling import Trained

_SHOWN = 8
_RARE = 0.01  # share of the held-out images that are as near by chance
CHUNK = 10_000  # images at once, because memory does not hold all as floats

RowsOf = Callable[[np.ndarray], Tensor]  # uint8 (N, C, H, W) -> (N, D)


class Nearest(NamedTuple):
    """The nearest training image of each image."""

    distance: Tensor  # (N,)
    rows: Tensor  # (N,), its index


def run(trained: Trained, *, num: int, seed: int) -> Result:
    """Compares `num` samples with as many held-out images, in pixels and in shipped features."""
    data = trained.cfg.data
    train, held_out = pack(open_source(data), data).images, held_out_images(data)
    if held_out is None:
        raise ConfigError("data: no images are held out, which samples are compared with; for "
                          "source folder, train with data.hold_out")  # fmt: skip
    num = min(num, len(held_out))
    samples = trained.images(trained.latents(num, seed), trained.labels(num, seed))
    others = held_out.images[np.random.default_rng(seed).permutation(len(held_out))[:num]]
    spaces = spaces_of(trained)
    figure = Figure(figsize=(10, 3.6 * len(spaces)), layout="constrained")
    numbers: dict[str, Any] = {"num": num}
    lines = []
    parts = figure.subfigures(len(spaces), 1, squeeze=False)[:, 0]
    for (name, rows_of), part in zip(spaces.items(), parts, strict=True):
        both = np.concatenate([samples, others])
        found = find_nearest(both, train, rows_of, mirrored=data.flip)
        near, calibration = Nearest(*(f[:num] for f in found)), found.distance[num:]
        numbers[name] = scores = compare(near.distance, calibration)
        lines.append(
            f"{name}: {scores['share_too_near']:.1%} of the samples (of held-out images: "
            f"{_RARE:.1%}) are nearer than {scores['threshold']:.3g} to a training image; median "
            f"{scores['median_of_samples']:.3g}, held out {scores['median_of_held_out']:.3g}"
        )
        _draw(part, name, samples, train, near, calibration)
    return Result(figure, numbers, lines)


def as_rows(images: np.ndarray) -> Tensor:
    """Maps uint8 images (N, C, H, W) to float32 rows (N, D) in 0..1."""
    return torch.tensor(images).flatten(1).float().div(255)


def spaces_of(trained: Trained) -> dict[str, RowsOf]:
    """Returns where images are compared: pixels, and features if a network ships for the data."""
    network = choose_network(trained.cfg.data, next(trained.generator.parameters()).device)
    if network is None:
        return {"pixels": as_rows}
    features = f"features of network {network.name}"
    return {"pixels": as_rows, features: lambda images: network(images).features}


def find_nearest(
    images: np.ndarray, train: np.ndarray, rows_of: RowsOf, *, mirrored: bool
) -> Nearest:
    """Finds the nearest of `train` for each image or, if `mirrored`, for it or its mirror image."""
    ways = [images, images[..., ::-1].copy()] if mirrored else [images]
    chunks = (rows_of(train[start : start + CHUNK]) for start in range(0, len(train), CHUNK))
    *_, (_, found) = nearest_so_far(torch.cat([rows_of(way) for way in ways]), chunks)
    distance, way = found.distance.view(-1, len(images)).min(0)  # (N,), 1 if the mirror is nearer
    return Nearest(distance, found.rows.view(-1, len(images)).gather(0, way[None])[0])


def nearest_so_far(wanted: Tensor, chunks: Iterable[Tensor]) -> Iterator[tuple[int, Nearest]]:
    """Yields after each chunk (M, D) the number of rows so far, and the nearest of them to each of
    `wanted` (N, D)."""
    best, found = torch.full((len(wanted),), torch.inf), torch.zeros(len(wanted)).long()
    count = 0
    for rows in chunks:
        distance, index = nearest_neighbours(wanted, rows)
        found = torch.where(distance < best, index + count, found)
        best = torch.minimum(best, distance)
        count += len(rows)
        yield count, Nearest(best, found)


def compare(samples: Tensor, held_out: Tensor) -> dict[str, float]:
    """Compares distances (N,) to the nearest training images.

    A generator that memorises has samples nearer than almost all held-out images. `nearer` is the
    probability that a sample is nearer than a held-out image: 1/2 if it is like new data.
    """
    threshold = held_out.quantile(_RARE)
    order = torch.searchsorted(held_out.sort().values, samples)
    return {
        "threshold": float(threshold),
        "share_too_near": float((samples < threshold).float().mean()),
        "nearer": float(1 - order.float().mean() / len(held_out)),
        "median_of_samples": float(samples.median()),
        "median_of_held_out": float(held_out.median()),
    }


def _draw(
    figure: SubFigure, name: str, samples: np.ndarray, train: np.ndarray, near: Nearest,
    held_out: Tensor,
) -> None:  # fmt: skip
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    order = near.distance.argsort()
    middle = len(order) // 2 - _SHOWN // 2
    shown = order[:_SHOWN], order[middle : middle + _SHOWN]
    pairs = np.concatenate([images for o in shown for images in (samples[o], train[near.rows[o]])])
    show(left, pairs, _SHOWN, f"{name}: samples, and their nearest training images")
    left.set_ylabel("median  |  nearest", fontsize=8)
    bins = np.histogram_bin_edges(torch.cat([near.distance, held_out]).numpy(), 40)
    for values, label in ((near.distance, "samples"), (held_out, "held-out images")):
        right.hist(values.numpy(), list(bins), histtype="step", label=label)
    right.set(xlabel="distance to the nearest training image", yticks=[])
    right.legend()
