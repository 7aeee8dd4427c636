"""Concepts that are seen in images without a person: by a classifier, or by a simple measure.

Shapes: N images, C channels, H x W pixels. A score is positive where the concept is seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gan.errors import ConfigError
from gan.metrics.features import FeatureNetwork, Features
from gan.metrics.reference import choose_network
from gan.sampling import Trained

CLEARLY = 1.0  # the score that an example has at least; for a classifier, a probability of 0.73
_NOT = "not "
_FACE_ROWS, _FACE_COLUMNS = (0.31, 0.87), (0.19, 0.81)  # of an aligned image of a face

Scores = dict[str, np.ndarray]  # of each concept (N,)
Measure = Callable[[np.ndarray], np.ndarray]  # uint8 (N, C, H, W) -> (N,)


@dataclass(frozen=True)
class Concepts:
    """What can be seen in images."""

    network: FeatureNetwork  # with classes or attributes
    measures: dict[str, Measure]

    @property
    def pose(self) -> str:
        """The measure that stands for a pose."""
        return list(self.measures)[-1]

    @property
    def has_attributes(self) -> bool:
        """Whether the outputs of the network are attributes, and not classes."""
        return self.network.metadata.get("learned") == "attributes"

    def scores(self, seen: Features, images: np.ndarray) -> Scores:
        """Returns the scores of uint8 images (N, C, H, W) and of what the network saw in them.

        Of an attribute the logit, of a class the log-odds; of a measure the distance from the
        median, in units that put about a third of the samples above 1 and a third below -1.
        """
        columns = (seen.logits if self.has_attributes else log_odds(seen.logits)).T.numpy()
        found = dict(zip(self.network.classes, columns, strict=True))
        return found | {name: measure(images) for name, measure in self.measures.items()}


class Pool(NamedTuple):
    """Samples, and what is seen in them."""

    z: Tensor  # (N, Z)
    images: np.ndarray  # uint8 (N, C, H, W)
    features: Tensor  # (N, F)
    scores: Scores
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
    concepts = make_concepts(network, images)
    seen = network(images)
    return Pool(z, images, seen.features, concepts.scores(seen, images), concepts)


def make_concepts(network: FeatureNetwork, images: np.ndarray) -> Concepts:
    """Returns what a network and measures see; the measures are scaled by samples `images`."""
    if images.shape[1] == 1:
        measures: dict[str, Measure] = {"thick": thickness, "slanted": slant}
    else:
        measures = {"turned": asymmetry(images)}
    return Concepts(network, {key: _scaled(value, images) for key, value in measures.items()})


def shows(scores: Scores, concept: str, least: float = 0.0) -> np.ndarray:
    """Returns whether each image (N,) shows a concept, "NAME" or "not NAME", at least so much.

    Raises ConfigError for an unknown name.
    """
    name = concept.removeprefix(_NOT)
    if name not in scores:
        raise ConfigError(f"unknown concept {concept!r}; choose NAME or 'not NAME' of "
                          f"{', '.join(scores)}")  # fmt: skip
    return (-scores[name] if concept.startswith(_NOT) else scores[name]) > least


def opposite(concept: str) -> str:
    """Returns "not NAME" for "NAME", and the reverse."""
    return concept.removeprefix(_NOT) if concept.startswith(_NOT) else _NOT + concept


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
    mass = ink.sum((1, 2)).clip(1)[:, None]
    y, x = (np.arange(size) - ink.sum(other) @ np.arange(size)[:, None] / mass
            for size, other in ((ink.shape[1], 2), (ink.shape[2], 1)))  # fmt: skip
    both = np.einsum("nij,ni,nj->n", ink, y, x)
    return -both / np.einsum("nij,ni->n", ink, y * y).clip(1e-6)


def asymmetry(images: np.ndarray) -> Measure:
    """Finds how faces differ from their mirror images most, and returns a measure of it.

    In aligned faces this is which way they look: the first principal component of `images` less
    their mirror images. Pixels are relative to their neighbourhood, which removes the light.
    The sign is arbitrary.
    """
    halves = _less_mirrored(images)
    _, vectors = torch.linalg.eigh(halves.T @ halves)
    component = vectors[:, -1]
    return lambda images: (_less_mirrored(images) @ component).numpy()


def _less_mirrored(images: np.ndarray) -> Tensor:
    x = torch.from_numpy(_grey(images))[:, None]
    height, width = x.shape[2:]
    reach = width // 10  # of the neighbourhood, to each side
    x = x - avg_pool2d(x, 2 * reach + 1, 1, reach, count_include_pad=False)
    x = x / (avg_pool2d(x * x, 2 * reach + 1, 1, reach, count_include_pad=False).sqrt() + 0.03)
    rows, columns = (slice(round(size * low), round(size * high)) for size, (low, high)
                     in ((height, _FACE_ROWS), (width, _FACE_COLUMNS)))  # fmt: skip
    return (x - x.flip(3))[:, 0, rows, columns].flatten(1)


def _grey(images: np.ndarray) -> np.ndarray:
    """Maps uint8 images (N, C, H, W) to 0..1 (N, H, W), on the mean over the channels."""
    return images.astype(np.float32).mean(1) / 255


def _scaled(measure: Measure, images: np.ndarray) -> Measure:
    low, middle, high = np.quantile(measure(images), [1 / 3, 1 / 2, 2 / 3])
    unit = max((high - low) / 2, 1e-6)
    return lambda images: (measure(images) - middle) / unit
