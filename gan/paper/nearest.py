"""Memorisation: nearest training images of samples, beside those of real images never trained on.

Shapes: N images, C channels, H x W pixels, D numbers of an image.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.errors import ConfigError
from gan.metrics.reference import choose_network, held_out_images
from gan.paper.neighbours import as_rows, in_chunks, nearest_so_far
from gan.paper.result import Result
from gan.sampling import Trained, grid

_SHOWN = 8
_RARE = 0.01  # share of the held-out images that are as near by chance

RowsOf = Callable[[np.ndarray], Tensor]  # uint8 (N, C, H, W) -> (N, D)


class Nearest(NamedTuple):
    """The nearest training image of each image."""

    distance: Tensor  # (N,)
    rows: Tensor  # (N,), its index


def run(trained: Trained, *, num: int, seed: int) -> Result:
    """Compares `num` samples with as many held-out images, in pixels and in shipped features."""
    data, device = trained.cfg.data, next(trained.generator.parameters()).device
    train, held_out = pack(open_source(data), data), held_out_images(data)
    if held_out is None:
        raise ConfigError(
            "data: no images are held out, which samples are compared with; for source folder, "
            "train with data.hold_out"
        )
    num = min(num, len(held_out))
    samples = trained.images(trained.latents(num, seed), trained.labels(num, seed))
    others = held_out.images[np.random.default_rng(seed).permutation(len(held_out))[:num]]
    network = choose_network(data, device)
    spaces: dict[str, RowsOf] = {"pixels": as_rows}
    if network:
        spaces[f"features of network {network.name}"] = lambda images: network(images).features
    figure = Figure(figsize=(10, 3.6 * len(spaces)), layout="constrained")
    numbers: dict[str, Any] = {"num": num}
    lines = []
    parts = figure.subfigures(len(spaces), 1, squeeze=False)[:, 0]
    for (name, rows_of), part in zip(spaces.items(), parts, strict=True):
        both = np.concatenate([samples, others])
        found = find_nearest(both, train.images, rows_of, mirrored=data.flip)
        near, calibration = Nearest(*(f[:num] for f in found)), found.distance[num:]
        numbers[name] = scores = compare(near.distance, calibration)
        lines.append(
            f"{name}: {scores['share_too_near']:.1%} of the samples (of held-out images: "
            f"{_RARE:.1%}) are nearer than {scores['threshold']:.3g} to a training image; median "
            f"{scores['median_of_samples']:.3g}, held out {scores['median_of_held_out']:.3g}"
        )
        _draw(part, name, samples, train.images, near, calibration)
    return Result(figure, numbers, lines)


def find_nearest(
    images: np.ndarray, train: np.ndarray, rows_of: RowsOf, *, mirrored: bool
) -> Nearest:
    """Finds the nearest of `train` for each image or, if `mirrored`, for it or its mirror image."""
    wanted = rows_of(images)
    if mirrored:
        wanted = torch.cat([wanted, rows_of(images[..., ::-1].copy())])
    *_, (_, distance, index) = nearest_so_far(wanted, map(rows_of, in_chunks(train)))
    distance, way = distance.view(-1, len(images)).min(0)  # (N,), whether the mirror is nearer
    return Nearest(distance, index.view(-1, len(images)).gather(0, way[None])[0])


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
    pairs = []
    for shown in (order[:_SHOWN], order[middle : middle + _SHOWN]):
        pairs += [samples[shown], train[near.rows[shown]]]
    left.imshow(grid(np.concatenate(pairs), _SHOWN).squeeze(), cmap="gray")
    left.set(title=f"{name}: samples, and their nearest training images", xticks=[], yticks=[])
    left.set_ylabel("median  |  nearest", fontsize=8)
    bins = np.histogram_bin_edges(torch.cat([near.distance, held_out]).numpy(), 40)
    for values, label in ((near.distance, "samples"), (held_out, "held-out images")):
        right.hist(values.numpy(), list(bins), histtype="step", label=label)
    right.set(xlabel="distance to the nearest training image", yticks=[])
    right.legend()
