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
    "celeba": "faces",
    "folder": "photos",
}
_MIN_IMAGES = 10


@dataclass(frozen=True)
class Reference:
    """Real images, prepared once for every evaluation; the reference images are training images."""

    network: FeatureNetwork | None
    features: Tensor | None  # of the reference images (num, F), if there is a network
    patches: dict[int, Tensor]  # of the reference images; see sample_patches
    train: PackedImages
    rows: np.ndarray  # indices of the reference images in `train` (num,)
    floor_images: np.ndarray  # other real images (num, C, H, W), for the floor
    floor_rows: np.ndarray | None  # their indices in `train`, None if they are held out
    seed: int

    @property
    def num(self) -> int:
        """The number of reference images, of floor images, and of samples to compare."""
        return len(self.rows)

    def labels(self, num_classes: int) -> Tensor | None:
        """Returns the labels (num,) of the reference images, for samples with equal class shares.

        None for a generator without classes, where `num_classes` is 0.
        """
        if self.train.labels is None or not num_classes:
            return None
        return torch.from_numpy(self.train.labels[self.rows])


def choose_network(
    cfg: DataConfig, device: torch.device, name: str | Path | None = None
) -> FeatureNetwork | None:
    """Loads a network by name or file (see `load_features`); "none" gives None.

    Without a name, loads the one that ships for the data, or gives None if there is none or it is
    for grey images and the data are in colour. For Stacked-MNIST, a grey network is applied
    channel by channel.
    """
    chosen = name or _DEFAULT_NETWORKS.get(cfg.source, _NONE)
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


def num_comparable(train: PackedImages, held_out: PackedImages | None, num: int) -> int:
    """Returns how many images, at most `num`, can be the reference, and as many others the floor.

    Raises ValueError if there are fewer than 10.
    """
    num = min(num, len(train), len(held_out)) if held_out else min(num, len(train) // 2)
    if num < _MIN_IMAGES:
        raise ValueError(
            f"evaluation needs at least {_MIN_IMAGES} images; the data and data.hold_out allow "
            f"only {num}"
        )
    return num


def make_reference(
    train: PackedImages,
    held_out: PackedImages | None,
    network: FeatureNetwork | None,
    *,
    num: int,
    seed: int,
) -> Reference:
    """Draws `num` training images as the reference, fewer if the data set is too small.

    As many floor images are drawn from `held_out`, or without it from the other training images,
    in the class shares of these. Both sets have equally many images of each class. Raises
    ValueError if there are fewer than 10.
    """
    num = num_comparable(train, held_out, num)
    rows = rng(seed, 0, "real").permutation(len(train))
    if held_out:
        order = rng(seed, 1, "real").permutation(len(held_out))
        floor = _in_class_shares(order, held_out.labels)[:num]
    else:
        floor, rows = np.split(_in_class_shares(rows, train.labels), [num])
    floor_source = held_out or train
    if train.labels is None or floor_source.labels is None:
        rows = rows[:num]
    else:
        rows = _with_classes(rows, train.labels, floor_source.labels[floor])
    real = train.images[rows]
    return Reference(
        network=network,
        features=network(real).features if network else None,
        patches=sample_patches(real, seed=seed),
        train=train,
        rows=rows,
        floor_images=floor_source.images[floor],
        floor_rows=None if held_out else floor,
        seed=seed,
    )


def _in_class_shares(order: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """Reorders indices so that the first n have the class shares of all, for any n, to one image.

    An image comes at the place that its number within its class has in the class.
    """
    if labels is None:
        return order
    places = np.empty(len(order))
    for label in np.unique(labels):
        (found,) = np.nonzero(labels[order] == label)
        places[found] = (np.arange(len(found)) + 0.5) / len(found)
    return order[np.argsort(places, kind="stable")]


def _with_classes(rows: np.ndarray, labels: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Takes the first rows whose labels are `wanted`, in any order; others where there are too few.

    `labels` are those of all training images, `wanted` (num,) those of the images to take.
    """
    keep = np.zeros(len(rows), bool)
    for label, count in zip(*np.unique(wanted, return_counts=True), strict=True):
        (found,) = np.nonzero(labels[rows] == label)
        keep[found[:count]] = True
    keep[np.flatnonzero(~keep)[: len(wanted) - keep.sum()]] = True
    return rows[keep]
