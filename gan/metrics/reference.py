"""Owns the real images that generators are compared with, and what a network says of them.

Shapes: N images, C channels, H x W pixels; images as uint8 (N, C, H, W).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gan.config.settings import DataConfig
from gan.data.datasets import NothingHeldOut, open_source
from gan.data.pack import PackedImages, Progress, pack
from gan.latents import rng
from gan.metrics.features import FeatureNetwork, Features, load_features
from gan.metrics.pyramid import Pyramid, pyramid

NONE = "none"
_SHIPPED = {
    "mnist": "mnist",
    "mnist5k": "mnist",
    "stacked_mnist": "mnist",
    "fashion_mnist": "fashion_mnist",
    "cifar10": "cifar10",
    "celeba": "cifar10",  # the only one that knows photographs
}
_FEWEST = 10


@dataclass(frozen=True)
class Reference:
    """What evaluation needs of the real images; made once, used at every evaluation."""

    network: FeatureNetwork | None
    features: Features | None  # of the real images
    pyramid: Pyramid
    train: PackedImages
    other: np.ndarray  # real images (N, C, H, W) that are not among the reference's own
    pool: np.ndarray  # positions in `train` of the images that a sample could be a copy of
    split: dict[str, str]
    num: int
    seed: int


def default_network(source: str) -> str:
    """Returns the name of the shipped network for a data source, or none."""
    return _SHIPPED.get(source, NONE)


def choose_network(
    cfg: DataConfig, device: torch.device, name: str | Path | None = None
) -> FeatureNetwork | None:
    """Loads the network of a name or file (gan.metrics.features.load_features), else the one that
    ships for the data, if there is one and it sees the images' colours; `none` is none."""
    chosen = name or default_network(cfg.source)
    if chosen == NONE:
        return None
    network = load_features(chosen, device)
    is_blind = network.channels < cfg.channels and cfg.source != "stacked_mnist"
    return None if is_blind and not name else network


def held_out_images(cfg: DataConfig, progress: Progress | None = None) -> PackedImages | None:
    """Returns the packed held-out images of a source that has them."""
    try:
        return pack(open_source(cfg, "test"), cfg, progress)
    except NothingHeldOut:
        return None


def make_reference(
    train: PackedImages,
    held_out: PackedImages | None,
    network: FeatureNetwork | None,
    *,
    num: int,
    seed: int,
) -> Reference:
    """Prepares `num` training images, or as many as there are, to be compared with.

    The floor is measured on held-out images, else on training images beside the reference's own.
    """
    most = min(len(train), len(held_out)) if held_out else len(train) // 2
    num = min(num, most)
    if num < _FEWEST:
        raise ValueError(f"an evaluation needs at least {_FEWEST} images; got {num} to compare")
    order = rng(seed, 0, "real").permutation(len(train))
    if held_out:
        other = held_out.images[rng(seed, 1, "real").permutation(len(held_out))[:num]]
        pool, floor = np.arange(len(train)), "test"
    else:
        other = train.images[order[num : 2 * num]]
        pool, floor = np.setdiff1d(np.arange(len(train)), order[num : 2 * num]), "train, others"
    real = train.images[order[:num]]
    return Reference(
        network=network,
        features=look(network, real, train) if network else None,
        pyramid=pyramid(real, seed=seed),
        train=train,
        other=other,
        pool=pool,
        split={"real": "train", "floor": floor},
        num=num,
        seed=seed,
    )


def look(network: FeatureNetwork, images: np.ndarray, train: PackedImages) -> Features:
    """Runs the network; on Stacked-MNIST a grey one sees each channel as an image of its own."""
    if not is_stacked(network, train):
        return network(images)
    height, width = images.shape[2:]
    seen = network(images.reshape(-1, 1, height, width))  # (3N, 1, H, W)
    return Features(
        *(part.unflatten(0, (-1, 3)).flatten(1) for part in (seen.features, seen.logits))
    )


def is_stacked(network: FeatureNetwork, train: PackedImages) -> bool:
    return (network.channels, train.images.shape[1], len(train.classes)) == (1, 3, 1000)
