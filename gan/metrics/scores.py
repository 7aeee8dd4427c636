"""Scores of images: distances to real images, and what a classifier says of them.

Shapes: N images, C channels, H x W pixels; images as uint8 (N, C, H, W).
"""

import numpy as np
import torch
from torch import Tensor

from gan.data.pack import PackedImages
from gan.metrics import distances
from gan.metrics.features import FeatureNetwork
from gan.metrics.pyramid import sample_patches, sliced_wasserstein
from gan.metrics.reference import Reference


def score(images: np.ndarray, reference: Reference) -> dict[str, float]:
    """Returns all scores of images (N, C, H, W) except memorisation, by name.

    Distances between Inception features are named fid and kid, between those of other networks
    frechet_distance and kernel_distance. Without a network only sliced_wasserstein_* is measured.
    """
    seed = reference.seed
    patches = sample_patches(images, seed=seed + 1)
    levels = sliced_wasserstein(reference.patches, patches, seed=seed)
    swd = {f"sliced_wasserstein_{level}": value for level, value in levels.items()}
    network, real = reference.network, reference.features
    if network is None or real is None:
        return swd
    fake, logits = network(images)
    is_inception = network.is_inception
    frechet, kernel = ("fid", "kid") if is_inception else ("frechet_distance", "kernel_distance")
    precision, recall = distances.precision_recall(real, fake)
    density, coverage = distances.density_coverage(real, fake)
    values = {
        frechet: distances.frechet_distance(real, fake),
        kernel: distances.kernel_distance(real, fake, seed=seed),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
    }
    if is_inception:
        return values | {"inception_score": distances.inception_score(logits, seed=seed)} | swd
    return values | _class_scores(logits, network, reference.train) | swd


def _class_scores(logits: Tensor, network: FeatureNetwork, train: PackedImages) -> dict[str, float]:
    """Scores predicted classes; returns nothing if the network was trained on other classes."""
    if network.per_channel:
        probabilities = logits.unflatten(1, (3, -1)).softmax(2)  # (N, 3, K)
        modes = distances.stack_modes(probabilities.argmax(2))
        real_modes = torch.tensor(train.labels)
        return {
            "modes": len(modes.unique()),
            "modes_kl": distances.class_divergence(modes, len(train.classes), real_modes),
            "confident_share": distances.confident_share(probabilities.flatten(0, 1)),
        }
    if not network.classes or train.classes != network.classes:
        return {}
    return {
        "class_balance": distances.class_divergence(logits.argmax(1), len(train.classes)),
        "confident_share": distances.confident_share(logits.softmax(1)),
    }
