"""The paper's test of a conditional generator: a 1-NN classifier trained on samples."""

import numpy as np
import torch

from gan.analysis.evaluate import require_own_classes
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.errors import ConfigError
from gan.paper.nearest import find_nearest
from gan.paper.result import Result
from gan.pretrained.trained import Trained
from gan.sampling import grid

_COLUMNS = 10  # of the figure


def run(trained: Trained, *, num: int, seed: int) -> Result:
    """Trains on `num` samples, and on as many and all training images; tests on test images."""
    if not (num_classes := trained.generator.num_classes):
        raise ConfigError(f"{trained.origin}: was trained without classes; use a run with "
                          "model.conditional true")  # fmt: skip
    data = trained.cfg.data
    train, test = (pack(open_source(data, split), data) for split in ("train", "test"))
    require_own_classes(trained, train)
    assert train.labels is not None  # it has classes
    labels = torch.arange(num) % num_classes
    samples = trained.images(trained.latents(num, seed), labels)
    order = np.random.default_rng(seed).permutation(len(train))  # images may come class by class
    known = {"samples": (samples, labels.numpy()),
             "training images": (train.images[order], train.labels[order])}  # fmt: skip
    error = {name: {count: error_of(test, images[:count], classes[:count])
                    for count in sorted({min(num // 5, len(images)), min(num, len(images)),
                                         len(images)})}
             for name, (images, classes) in known.items()}  # fmt: skip
    curves = {name: ([*found], [*found.values()]) for name, found in error.items()}
    labels = torch.arange(num_classes).repeat_interleave(_COLUMNS)
    z = trained.latents(_COLUMNS, seed).repeat(len(labels) // _COLUMNS, 1)
    axes = {"xlabel": "images that 1-NN is trained on", "ylim": (0, None)}
    figure = [{"a class a row, a latent a column": grid(trained.images(z, labels), _COLUMNS),
               "error on test images": (curves, axes)}]  # fmt: skip
    return figure, {"num_test": len(test), "error": error}


def error_of(test: PackedImages, images: np.ndarray, labels: np.ndarray) -> float:
    """Returns the test error of 1-NN in pixels that knows images (N, C, H, W), labels (N,)."""
    return float((labels[find_nearest(test.images, images)[1]] != test.labels).mean())
