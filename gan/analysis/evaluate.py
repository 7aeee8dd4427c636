"""Evaluates a generator: its scores, the same scores of real images, and how they were measured.

Every score is measured twice against the same reference: for generated images and for as many
real ones. The latter is the floor: the score of a perfect generator.
Shapes: N images, C channels, H x W pixels; images as uint8 (N, C, H, W).
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan.analysis.inception import load_inception
from gan.analysis.nearest import nearest_training
from gan.checkpoint import Checkpoint
from gan.config.settings import DataConfig
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.errors import ConfigError
from gan.metrics.features import FeatureNetwork
from gan.metrics.reference import Reference, choose_network, held_out_images, make_reference
from gan.metrics.scores import score
from gan.pretrained.trained import Trained


def memorisation(images: np.ndarray, reference: Reference) -> dict[str, float]:
    """Compares the distances from samples, and from floor images, to the nearest training image.

    Distances are root mean squares in grey levels, to the same training images for both: without
    held-out images, those that are no floor images. `near_copies` is the share of samples that are
    nearer than 99 % of the floor images. Smooth images are near many others, so a value below the
    floor proves nothing by itself: look at the pairs.
    """
    everything = np.arange(len(reference.train))
    others = np.setdiff1d(everything, [] if reference.floor_rows is None else reference.floor_rows)
    fake, _ = nearest_training(images, reference.train, others)
    real, _ = nearest_training(reference.floor_images, reference.train, others)
    return {
        "nearest_training": fake.median().item(),
        "nearest_training_floor": real.median().item(),
        "near_copies": (fake < real.quantile(0.01)).double().mean().item(),
    }


def evaluate(
    trained: Trained,
    *,
    features: str | Path | None = None,
    num: int = 10_000,
    seed: int = 0,
    draws: int = 3,
    device: torch.device,
) -> dict[str, Any]:
    """Evaluates a generator on `num` images, several times; returns a JSON-serialisable record.

    It holds the means of the scores over the draws of latents and real images, their standard
    deviations, the same for the floor, memorisation, and everything that they depend on.
    `features` is the `name` of `choose_network`, "inception", or its .pth file. Raises ValueError
    if the data or the network is missing, or if there are fewer than 10 images.
    """
    data, checkpoint = trained.cfg.data, trained.checkpoint
    network = _network(data, device, features)
    packed, held_out = pack(open_source(data), data), held_out_images(data)
    require_own_classes(trained, packed)
    values, floors = [], []
    for draw in range(seed, seed + draws):
        reference = make_reference(packed, held_out, network, num=num, seed=draw)
        labels = reference.labels(trained.generator.num_classes)
        images = trained.images(trained.latents(reference.num, draw), labels)
        values.append(score(images, reference))
        floors.append(score(reference.floor_images, reference))
    return {
        **_over_draws("values", "deviation", values),
        **_over_draws("floor", "floor_deviation", floors),
        "memorisation": memorisation(images, reference),  # of the last draw
        "network": {"name": network.name, "sha256": network.sha256} if network else None,
        "resize": network.resize if network else "none",
        "num_real": reference.num,
        "num_generated": reference.num,
        "split": {"real": "train", "floor": "test" if held_out else "train, others"},
        "seed": seed,
        "draws": draws,
        "data": {
            "source": data.source,
            "image_shape": list(data.image_shape),
            "fit": data.fit,
            "checksum": packed.checksum,
        },
        "torch": str(torch.__version__),
        "checkpoint": _origin(checkpoint),
    }


def require_own_classes(trained: Trained, packed: PackedImages) -> None:
    """Raises ConfigError if the images have other classes than a generator with classes."""
    if trained.generator.num_classes and packed.classes != trained.classes:
        raise ConfigError(
            f"data.root: these images have other classes ({_brief(packed.classes)}) than "
            f"{trained.origin} ({_brief(trained.classes)}); give the images that it was trained on"
        )


def _brief(classes: Sequence[str]) -> str:
    names = [*classes[:5], "..."] if len(classes) > 6 else classes
    return f"{len(classes)}: {', '.join(names)}" if classes else "none"


def _network(
    cfg: DataConfig, device: torch.device, name: str | Path | None
) -> FeatureNetwork | None:
    if name == "inception" or str(name).endswith(".pth"):
        return load_inception(None if name == "inception" else Path(str(name)), device)
    return choose_network(cfg, device, name)


def _over_draws(
    mean: str, deviation: str, scores: list[dict[str, float]]
) -> dict[str, dict[str, float]]:
    """Returns {mean: {score: its mean}, deviation: {score: its standard deviation}}.

    The deviation of one draw is not known: empty.
    """
    columns = {name: [row[name] for row in scores] for name in scores[0]}
    several = columns if len(scores) > 1 else {}
    return {
        mean: {name: statistics.mean(column) for name, column in columns.items()},
        deviation: {name: statistics.stdev(column) for name, column in several.items()},
    }


def _origin(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "file": checkpoint.path.name,
        "sha256": checkpoint.sha256,
        "step": checkpoint.step,
        "images_seen": checkpoint.images_seen,
        "data_checksum": checkpoint.data,
    }
