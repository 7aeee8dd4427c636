"""Memorisation: nearest training images of samples, beside those of real images never trained on.

Shapes: N images, M others, C channels, H x W pixels, D numbers of an image.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.errors import ConfigError
from gan.metrics.distances import nearest_neighbours
from gan.metrics.reference import choose_network, held_out_images
from gan.paper.result import Chart, Result, Sheet
from gan.sampling import Trained

_SHOWN = 8
_RARE = 0.01  # share of the held-out images that are as near by chance
CHUNK = 10_000  # images at once, because memory does not hold all as floats

RowsOf = Callable[[np.ndarray], Tensor]  # uint8 (N, C, H, W) -> (N, D)


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
    numbers: dict[str, Any] = {"num": num}
    panels: list[list[Sheet | Chart]] = []
    lines = []
    for name, rows_of in spaces_of(trained).items():
        both = np.concatenate([samples, others])
        distance, rows = find_nearest(both, train, rows_of, mirrored=data.flip)
        numbers[name] = scores = compare(distance[:num], distance[num:])
        lines.append(
            f"{name}: {scores['share_too_near']:.1%} of the samples (of held-out images: "
            f"{_RARE:.1%}) are nearer than {scores['threshold']:.3g} to a training image; median "
            f"{scores['median_of_samples']:.3g}, held out {scores['median_of_held_out']:.3g}"
        )
        order, middle = distance[:num].argsort(), num // 2 - _SHOWN // 2
        pairs = [images for shown in (order[:_SHOWN], order[middle : middle + _SHOWN])
                 for images in (samples[shown], train[rows[shown]])]  # fmt: skip
        title = f"{name}: the nearest samples, and median ones"
        bins = np.histogram_bin_edges(distance.numpy(), 40)
        curves = {of: (bins[:-1], np.histogram(values.numpy(), bins)[0]) for of, values in
                  (("samples", distance[:num]), ("held-out images", distance[num:]))}  # fmt: skip
        panels.append([Sheet(title, np.concatenate(pairs), _SHOWN),
                       Chart("images at each distance", curves,
                             {"xlabel": "distance to the nearest training image"})])  # fmt: skip
    return Result(panels, numbers, lines)


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
) -> tuple[Tensor, Tensor]:
    """Returns the distance (N,) of each image or, if `mirrored`, of it or its mirror image, to the
    nearest of `train`, and the index (N,) of that one."""
    ways = [images, images[..., ::-1].copy()] if mirrored else [images]
    chunks = (rows_of(train[start : start + CHUNK]) for start in range(0, len(train), CHUNK))
    *_, (_, distance, rows) = nearest_so_far(torch.cat([rows_of(way) for way in ways]), chunks)
    distance, way = distance.view(-1, len(images)).min(0)  # (N,), 1 if the mirror image is nearer
    return distance, rows.view(-1, len(images)).gather(0, way[None])[0]


def nearest_so_far(
    wanted: Tensor, chunks: Iterable[Tensor]
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yields after each chunk (M, D) the number of rows so far, and for each of `wanted` (N, D) the
    distance (N,) to the nearest of them and its index (N,)."""
    best, found = torch.full((len(wanted),), torch.inf), torch.zeros(len(wanted)).long()
    count = 0
    for rows in chunks:
        distance, index = nearest_neighbours(wanted, rows)
        found = torch.where(distance < best, index + count, found)
        best = torch.minimum(best, distance)
        count += len(rows)
        yield count, best, found


def compare(samples: Tensor, held_out: Tensor) -> dict[str, float]:
    """Compares distances (N,) to the nearest training images.

    A generator that memorises has samples nearer than almost all held-out images. `nearer` is the
    probability that a sample is nearer than a held-out image: 1/2 if it is like new data.
    """
    threshold = held_out.quantile(_RARE)
    order = torch.searchsorted(held_out.sort().values, samples)
    return {"threshold": float(threshold),
            "share_too_near": float((samples < threshold).float().mean()),
            "nearer": float(1 - order.float().mean() / len(held_out)),
            "median_of_samples": float(samples.median()),
            "median_of_held_out": float(held_out.median())}  # fmt: skip
