"""Owns the judgement of a generator: its values, the same values of real images, the protocol.

Every value is measured twice, on generated images and on other real images of the same number
against the same reference: the second is the floor, what a perfect generator would get.
Shapes: N images, C channels, H x W pixels; images as uint8 (N, C, H, W).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan.config.settings import DataConfig
from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.metrics import distances
from gan.metrics.inception import SHA256 as INCEPTION_SHA256
from gan.metrics.pyramid import pyramid, sliced_wasserstein
from gan.metrics.reference import (
    Reference,
    choose_network,
    held_out_images,
    is_stacked,
    look,
    make_reference,
)
from gan.sampling import Trained

_NUM_COPIES = 1000  # images whose nearest training image is looked for
_COPY_SIDE = 32  # pixels; larger images are shrunk for that
_POOL_PART = 8192  # training images at a time, for memory


def score(images: np.ndarray, reference: Reference) -> dict[str, float]:
    """Returns every value of images (N, C, H, W) but memorisation, by name.

    Distances in the features of the Inception network are called fid and kid, in those of
    others frechet_distance and kernel_distance.
    """
    seed = reference.seed
    levels = sliced_wasserstein(reference.pyramid, pyramid(images, seed=seed + 1), seed=seed)
    swd = {f"sliced_wasserstein_{level}": value for level, value in levels.items()}
    if reference.network is None or reference.features is None:
        return swd
    real, fake = reference.features, look(reference.network, images, reference.train)
    is_inception = reference.network.sha256 == INCEPTION_SHA256
    frechet, kernel = ("fid", "kid") if is_inception else ("frechet_distance", "kernel_distance")
    mmd = distances.kernel_distance(real.features, fake.features, seed=seed)
    near = distances.precision_recall(real.features, fake.features)
    values = {
        frechet: distances.frechet_distance(real.features, fake.features),
        kernel: mmd.mean,
        f"{kernel}_std": mmd.std,
        "precision": near.precision,
        "recall": near.recall,
        "coverage": distances.coverage(real.features, fake.features),
    }
    if is_inception:
        inception = distances.inception_score(fake.logits, seed=seed)
        values |= {"inception_score": inception.mean, "inception_score_std": inception.std}
    else:
        values |= _class_values(fake.logits, reference)
    return values | swd


def _class_values(logits: Tensor, reference: Reference) -> dict[str, float]:
    """Judges predictions; those of a network with other classes than the data's say nothing."""
    assert reference.network
    train, num_classes = reference.train, len(reference.network.classes)
    if is_stacked(reference.network, train):
        probabilities = logits.unflatten(1, (3, num_classes)).softmax(2)  # (N, 3, K)
        modes = distances.mode_count(
            distances.stack_modes(probabilities.argmax(2)),
            len(train.classes),
            torch.tensor(train.labels),
        )
        sure = distances.confident_share(probabilities.flatten(0, 1))
        return {"modes": modes.num_hit, "modes_kl": modes.kl, "confident_share": sure}
    if train.classes != reference.network.classes:
        return {}
    return {
        "class_balance": distances.mode_count(logits.argmax(1), num_classes).kl,
        "confident_share": distances.confident_share(logits.softmax(1)),
    }


def memorisation(images: np.ndarray, reference: Reference) -> dict[str, float]:
    """Compares the nearest training image of samples with that of real images not among them.

    Distances are root mean squares in grey levels; `near_copies` is the share of samples nearer
    than all but 1 % of the real images are. A smooth image is near many others, so values below
    the floor call for a look at the pairs; they prove nothing by themselves.
    """
    fake, real = (
        _nearest_training(group[:_NUM_COPIES], reference) for group in (images, reference.other)
    )
    limit = real.quantile(0.01)
    return {
        "nearest_training": fake.median().item(),
        "nearest_training_floor": real.median().item(),
        "near_copies": (fake < limit).double().mean().item(),
    }


def _nearest_training(images: np.ndarray, reference: Reference) -> Tensor:
    queries = _rows(images)
    nearest = torch.full((len(queries),), torch.inf)
    for part in np.array_split(reference.pool, len(reference.pool) // _POOL_PART + 1):
        found = distances.nearest_distances(queries, _rows(reference.train.images[part]))
        nearest = torch.minimum(nearest, found)
    return nearest


def _rows(images: np.ndarray) -> Tensor:
    """Returns the images as rows (N, D) whose Euclidean distances are root mean squares."""
    pixels = torch.tensor(images).float()
    height, width = (min(side, _COPY_SIDE) for side in pixels.shape[2:])
    rows = F.adaptive_avg_pool2d(pixels, (height, width)).flatten(1)
    return rows / rows.shape[1] ** 0.5


def evaluate(
    trained: Trained,
    *,
    features: str | Path | None = None,
    num: int = 10_000,
    seed: int = 0,
    device: torch.device,
) -> dict[str, Any]:
    """Judges a generator; returns a record of plain values that says how it was made.

    `features` is as `gan.metrics.reference.choose_network` takes it. Raises ValueError if the data
    or the network is not there.
    """
    data = trained.cfg.data
    network = choose_network(data, device, features)
    packed = pack(open_source(data), data)
    reference = make_reference(packed, held_out_images(data), network, num=num, seed=seed)
    z, labels = trained.latents(reference.num, seed), trained.labels(reference.num, seed)
    images = trained.images(z, labels)
    return {
        "values": score(images, reference),
        "floor": score(reference.other, reference),
        "memorisation": memorisation(images, reference),
        **protocol(reference, data),
        "checkpoint": {
            "file": trained.path.name,
            "sha256": trained.sha256,
            "step": trained.step,
            "images_seen": trained.images_seen,
            "data_checksum": trained.data,
        },
    }


def protocol(reference: Reference, data: DataConfig) -> dict[str, Any]:
    """Returns everything but the generator that the values depend on, as plain values."""
    network = reference.network
    return {
        "network": {"name": network.name, "sha256": network.sha256} if network else None,
        "resize": network.resize if network else "none",
        "num_real": reference.num,
        "num_generated": reference.num,
        "split": reference.split,
        "seed": reference.seed,
        "data": {
            "source": data.source,
            "image_shape": list(data.image_shape),
            "fit": data.fit,
            "checksum": reference.train.checksum,
        },
        "torch": str(torch.__version__),
    }
