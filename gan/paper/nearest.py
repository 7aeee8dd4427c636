"""Memorisation: nearest training images of samples, and of real images never trained on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan.analysis.nearest import nearest_neighbours
from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.errors import ConfigError
from gan.metrics.reference import choose_network, held_out_images
from gan.paper.result import Result
from gan.pretrained.trained import Trained
from gan.sampling import grid

_SHOWN = 8
_RARE = 0.01  # share of the held-out images that are as near by chance
_CHUNK = 10_000  # images at once, because memory does not hold all as floats

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
    figure, columns = [], min(_SHOWN, num)
    for name, rows_of in spaces_of(trained).items():
        distance, rows = find_nearest(np.concatenate([samples, others]), train, rows_of, data.flip)
        near, far = distance.split(num)
        numbers[name] = compare(near, far)
        order, middle = near.argsort(), (num - columns) // 2
        pairs = [images for shown in (order[:columns], order[middle : middle + columns])
                 for images in (samples[shown], train[rows[shown]])]  # fmt: skip
        curves = {of: (distances.sort().values, np.linspace(0, 1, num))
                  for of, distances in (("samples", near), ("held-out images", far))}  # fmt: skip
        figure.append({f"nearest samples in {name}, and median ones":
                       grid(np.concatenate(pairs), columns),
                       "share of images with a training image":
                       (curves, {"xlabel": "nearer than this distance"})})  # fmt: skip
    return figure, numbers


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
    images: np.ndarray, train: np.ndarray, rows_of: RowsOf = as_rows, mirrored: bool = False
) -> tuple[Tensor, Tensor]:
    """Returns the distance (N,) of each image or, if `mirrored`, of it or its mirror image, to the
    nearest of `train`, and the index (N,) of that one."""
    wanted = torch.cat([rows_of(images[..., ::way].copy()) for way in (1, -1)[: 1 + mirrored]])
    parts = (rows_of(train[at : at + _CHUNK]) for at in range(0, len(train), _CHUNK))
    best, index = nearest_neighbours(wanted, parts)
    best, way = best.view(-1, len(images)).min(0)  # (N,), 1 if the mirror image is nearer
    return best, index.view(-1, len(images)).gather(0, way[None])[0]


def compare(samples: Tensor, held_out: Tensor) -> dict[str, float]:
    """Compares distances (N,) to the nearest training images: their medians, and the share of
    samples that are nearer than almost all held-out images, which is large if G memorises."""
    threshold = held_out.quantile(_RARE)
    near = float((samples < threshold).float().mean())
    return {"threshold": float(threshold), "share_too_near": near,
            "samples": float(samples.median()), "held_out": float(held_out.median())}  # fmt: skip
