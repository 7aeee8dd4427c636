"""Concepts that are seen in images without a person: by a classifier, or by a simple measure.

Shapes: N images, C channels, H x W pixels. A score is positive where the concept is seen.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gan.errors import ConfigError
from gan.metrics.features import FeatureNetwork
from gan.metrics.reference import choose_network
from gan.sampling import Trained

CLEARLY = 1.0  # the score that an example has at least; for a classifier, a probability of 0.73

Scores = dict[str, np.ndarray]  # of each concept (N,)
Measure = Callable[[np.ndarray], np.ndarray]  # uint8 (N, C, H, W) -> (N,)


class Seen(NamedTuple):
    """What is seen in images."""

    features: Tensor  # (N, F)
    logits: Tensor  # (N, K)
    scores: Scores


class Concepts:
    """Scores images with a network and with measures, which are scaled by samples `images`."""

    def __init__(self, network: FeatureNetwork, images: np.ndarray) -> None:
        self.classes, self._network = network.classes, network
        self.has_attributes = network.metadata.get("learned") == "attributes"  # or classes
        grey: dict[str, Measure] = {"thick": thickness, "slanted": slant}
        self._measures = grey if images.shape[1] == 1 else {"turned": asymmetry(images)}
        *_, self.pose = self._measures
        self._thirds = {name: np.quantile(measure(images), [1 / 3, 1 / 2, 2 / 3])
                        for name, measure in self._measures.items()}  # fmt: skip

    def measure(self, name: str, images: np.ndarray) -> np.ndarray:
        """Returns a measure (N,) less its median, in units that put about a third of the samples
        above 1 and a third below -1."""
        low, middle, high = self._thirds[name]
        return (self._measures[name](images) - middle) / max((high - low) / 2, 1e-6)

    def __call__(self, images: np.ndarray) -> Seen:
        """Sees uint8 images; the score of an attribute is its logit, of a class the log-odds."""
        features, logits = self._network(images)
        columns = (logits if self.has_attributes else log_odds(logits)).T.numpy()
        scores = dict(zip(self.classes, columns, strict=True))
        return Seen(features, logits, scores | {k: self.measure(k, images) for k in self._measures})


class Pool(NamedTuple):
    """Samples, and what is seen in them."""

    z: Tensor  # (N, Z)
    images: np.ndarray  # uint8 (N, C, H, W)
    seen: Seen
    concepts: Concepts


def make_pool(trained: Trained, z: Tensor) -> Pool:
    """Draws the images of latents (N, Z), and scores them.

    Raises ConfigError if the run has classes, or if no classifier ships for its data.
    """
    if trained.generator.num_classes:
        raise ConfigError(f"{trained.origin}: was trained with classes; use a run without them "
                          "(model.conditional false)")  # fmt: skip
    network = choose_network(trained.cfg.data, next(trained.generator.parameters()).device)
    if network is None or not network.classes or network.per_channel:
        raise ConfigError(f"no classifier ships for data.source {trained.cfg.data.source}; use a "
                          "run on mnist, fashion_mnist, cifar10 or celeba")  # fmt: skip
    images = trained.images(z)
    concepts = Concepts(network, images)
    return Pool(z, images, concepts(images), concepts)


def shows(scores: Scores, concept: str, least: float = 0.0) -> np.ndarray:
    """Returns whether each image (N,) shows a concept, "NAME" or "not NAME", at least so much.

    Raises ConfigError for an unknown name.
    """
    name = concept.removeprefix("not ")
    if name not in scores:
        raise ConfigError(f"unknown concept {concept!r}; choose NAME or 'not NAME' of "
                          f"{', '.join(scores)}")  # fmt: skip
    return (scores[name] if name == concept else -scores[name]) > least


def log_odds(logits: Tensor) -> Tensor:
    """Maps logits (N, K) of classes to log p - log(1 - p) of each."""
    rest = [logits.roll(-k, 1)[:, 1:].logsumexp(1) for k in range(logits.shape[1])]
    return logits - torch.stack(rest, 1)


def thickness(images: np.ndarray) -> np.ndarray:
    """Returns the width of strokes (N,) in pixels: twice the area by the length of the outline."""
    ink = _grey(images)
    outline = np.hypot(*np.gradient(ink, axis=(1, 2))).sum((1, 2))
    return 2 * ink.sum((1, 2)) / outline.clip(1)


def slant(images: np.ndarray) -> np.ndarray:
    """Returns the slant (N,), the shear that undoes it; positive means to the right, as in "/"."""
    ink = _grey(images)
    mass = ink.sum((1, 2), keepdims=True).clip(1)
    y, x = (places - (ink * places).sum((1, 2), keepdims=True) / mass
            for places in np.indices(ink.shape[1:]))  # fmt: skip
    return -(ink * x * y).sum((1, 2)) / (ink * y * y).sum((1, 2)).clip(1e-6)


def asymmetry(images: np.ndarray) -> Measure:
    """Finds how faces differ from their mirror images most, and returns a measure of it.

    In aligned faces this is which way they look: the first principal component of `images` less
    their mirror images. Pixels are relative to their neighbourhood, which removes the light.
    The sign is arbitrary.
    """
    halves = _less_mirrored(images)
    component = torch.linalg.eigh(halves.T @ halves).eigenvectors[:, -1]
    return lambda images: (_less_mirrored(images) @ component).numpy()


def _less_mirrored(images: np.ndarray) -> Tensor:
    x = torch.from_numpy(_grey(images))[:, None]
    height, width = x.shape[2:]
    reach = width // 10  # of the neighbourhood, to each side
    mean = partial(avg_pool2d, kernel_size=2 * reach + 1, stride=1, padding=reach,
                   count_include_pad=False)  # fmt: skip
    x = x - mean(x)
    x = x / (mean(x * x).sqrt() + 0.03)
    # the face in an aligned image
    x = (x - x.flip(3))[:, 0, round(0.31 * height) : round(0.87 * height)]
    return x[:, :, round(0.19 * width) : round(0.81 * width)].flatten(1)


def _grey(images: np.ndarray) -> np.ndarray:
    """Maps uint8 images (N, C, H, W) to 0..1 (N, H, W), on the mean over the channels."""
    return images.astype(np.float32).mean(1) / 255
