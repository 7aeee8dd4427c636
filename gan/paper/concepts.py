"""Concepts that a classifier or a simple measure sees in images: there the score is positive."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gan.errors import ConfigError
from gan.metrics.features import Features
from gan.metrics.reference import choose_network
from gan.pretrained.trained import Trained

CLEARLY = 1.0  # the score that an example has at least; for a classifier, a probability of 0.73

Scores = dict[str, np.ndarray]  # of each concept (N,)
Measure = Callable[[np.ndarray], np.ndarray]  # uint8 (N, C, H, W) -> (N,)


class Pool:
    """The images of latents z (N, Z), and what is seen in them. A call sees other images."""

    def __init__(self, trained: Trained, z: Tensor) -> None:
        """Raises ConfigError if the run has classes, or if no classifier ships for its data."""
        if trained.generator.num_classes:
            raise ConfigError(f"{trained.origin}: was trained with classes; use a run without them "
                              "(model.conditional false)")  # fmt: skip
        network = choose_network(trained.cfg.data, next(trained.generator.parameters()).device)
        if network is None or not network.classes or network.per_channel:
            raise ConfigError(f"no classifier ships for data.source {trained.cfg.data.source}; use "
                              "a run on mnist, fashion_mnist, cifar10 or celeba")  # fmt: skip
        self.trained, self.network = trained, network
        self.z, self.images = z, trained.images(z)
        self.has_attributes = network.metadata.get("learned") == "attributes"  # or classes
        self._measures: dict[str, Measure] = {"thick": thickness, "slanted": slant}
        if self.images.shape[1] > 1:
            self._measures = {"turned": asymmetry(self.images)}
        *_, self.pose = self._measures
        self._thirds = {name: np.quantile(measure(self.images), [1 / 3, 1 / 2, 2 / 3])
                        for name, measure in self._measures.items()}  # fmt: skip
        self.seen, self.scores = self(self.images)

    def __call__(self, images: np.ndarray) -> tuple[Features, Scores]:
        """Sees uint8 images. The score of an attribute is its logit, of a class the log-odds; a
        third of the pool has more than 1 of a measure, and a third less than -1."""
        seen = self.network(images)
        columns = seen.logits if self.has_attributes else seen.logits.double().softmax(1).logit()
        scores = dict(zip(self.network.classes, columns.T.numpy(), strict=True))
        for name, measure in self._measures.items():
            low, middle, high = self._thirds[name]
            scores[name] = (measure(images) - middle) / max((high - low) / 2, 1e-6)
        return seen, scores


def shows(scores: Scores, concept: str, least: float = 0.0) -> np.ndarray:
    """Returns whether each image (N,) shows a concept, "NAME" or "not NAME", at least so much."""
    name = concept.removeprefix("not ")
    if name not in scores:
        raise ConfigError(f"unknown concept {concept!r}; choose NAME or 'not NAME' of "
                          f"{', '.join(scores)}")  # fmt: skip
    return (scores[name] if name == concept else -scores[name]) > least


def thickness(images: np.ndarray) -> np.ndarray:
    """Returns the width of strokes (N,) in pixels: twice the area by the length of the outline."""
    ink = images[:, 0] / 255.0
    outline = np.hypot(*np.gradient(ink, axis=(1, 2))).sum((1, 2))
    return 2 * ink.sum((1, 2)) / outline.clip(1)


def slant(images: np.ndarray) -> np.ndarray:
    """Returns the slant (N,), the shear that undoes it; positive means to the right, as in "/"."""
    places = np.indices(images.shape[2:]).reshape(2, -1)
    found = np.array([np.cov(places, aweights=image.ravel() + 1e-6) for image in images])
    return -found[:, 0, 1] / found[:, 0, 0].clip(1e-6)


def asymmetry(images: np.ndarray) -> Measure:
    """Returns a measure of which way aligned faces look: the first principal component of how they
    differ from their mirror images, without the light. The sign is arbitrary."""
    halves = _less_mirrored(images)
    component = torch.linalg.eigh(halves.T @ halves).eigenvectors[:, -1]
    return lambda images: (_less_mirrored(images) @ component).numpy()


def _less_mirrored(images: np.ndarray) -> Tensor:
    """Returns the middle of images less their mirror images, relative to their neighbourhood."""
    x = torch.from_numpy(images.mean(1, dtype=np.float32, keepdims=True)) / 255
    height, width = x.shape[2:]
    mean = partial(avg_pool2d, kernel_size=2 * (width // 10) + 1, stride=1, padding=width // 10,
                   count_include_pad=False)  # fmt: skip
    x = x - mean(x)
    x = x / (mean(x * x).sqrt() + 0.03)
    x = (x - x.flip(3))[:, 0, round(0.31 * height) : round(0.87 * height)]
    return x[:, :, round(0.19 * width) : round(0.81 * width)].flatten(1)
