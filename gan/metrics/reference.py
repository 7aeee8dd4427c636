"""The real images that generators are compared with, prepared once: their features and patches.

Shapes: N images, C channels, H x W pixels; images as uint8 (N, C, H, W).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan.config.settings import DataConfig
from gan.data.datasets import NothingHeldOut, open_source
from gan.data.pack import PackedImages, pack
from gan.latents import rng
from gan.metrics.features import FeatureNetwork, load_features
from gan.metrics.pyramid import sample_patches

_NONE = "none"
_DEFAULT_NETWORKS = {
    "mnist": "mnist",
    "mnist5k": "mnist",
    "stacked_mnist": "mnist",
    "fashion_mnist": "fashion_mnist",
    "cifar10": "cifar10",
    "celeba": "cifar10",  # the only one trained on photographs
}
_MIN_IMAGES = 10


@dataclass(frozen=True)
class Reference:
    """Real images, prepared once for every evaluation; the reference images are training images."""

    network: FeatureNetwork | None
    features: Tensor | None  # of the reference images (num, F), if there is a network
    patches: dict[int, Tensor]  # of the reference images; see sample_patches
    train: PackedImages
    floor_images: np.ndarray  # other real images (num, C, H, W), for the floor
    pool: np.ndarray  # indices of all training images that are not floor images
    split: dict[str, str]
    num: int
    seed: int


def default_network(source: str) -> str:
    """Returns the name of the network that ships for a data source, or "none"."""
    return _DEFAULT_NETWORKS.get(source, _NONE)


def choose_network(
    cfg: DataConfig, device: torch.device, name: str | Path | None = None
) -> FeatureNetwork | None:
    """Loads a network by name or file (see `load_features`); "none" gives None.

    Without a name, loads the one that ships for the data, or gives None if there is none or it is
    for grey images and the data are in colour. For Stacked-MNIST, a grey network is applied
    channel by channel.
    """
    chosen = name or default_network(cfg.source)
    if chosen == _NONE:
        return None
    network = load_features(chosen, device)
    lacks_colour = network.channels < cfg.channels
    if cfg.source == "stacked_mnist":
        return replace(network, per_channel=lacks_colour)
    return None if lacks_colour and not name else network


def held_out_images(cfg: DataConfig) -> PackedImages | None:
    """Returns the packed test images of a source, or None if it has none."""
    try:
        return pack(open_source(cfg, "test"), cfg)
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
    """Draws `num` training images as the reference, fewer if the data set is too small.

    As many floor images are drawn from `held_out`, or without it from the other training images.
    Raises ValueError if that is fewer than 10.
    """
    num = min(num, len(train), len(held_out)) if held_out else min(num, len(train) // 2)
    if num < _MIN_IMAGES:
        raise ValueError(
            f"evaluation needs at least {_MIN_IMAGES} images; --num and the data allow only {num}"
        )
    order = rng(seed, 0, "real").permutation(len(train))
    real, others = train.images[order[:num]], order[num : 2 * num]
    if held_out:
        floor_images = held_out.images[rng(seed, 1, "real").permutation(len(held_out))[:num]]
        pool, floor = np.arange(len(train)), "test"
    else:
        floor_images = train.images[others]
        pool, floor = np.setdiff1d(np.arange(len(train)), others), "train, others"
    return Reference(
        network=network,
        features=network(real).features if network else None,
        patches=sample_patches(real, seed=seed),
        train=train,
        floor_images=floor_images,
        pool=pool,
        split={"real": "train", "floor": floor},
        num=num,
        seed=seed,
    )
