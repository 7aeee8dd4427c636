"""Removes a concept from a generator: the feature maps that draw it are found and set to zero.

Shapes: N samples, M feature maps of a layer, Z latent, C channels, H x W pixels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from gan.errors import ConfigError
from gan.paper.arithmetic import make_pool
from gan.paper.concepts import Concepts, shows
from gan.paper.result import Result
from gan.sampling import Trained, generate, grid

_SHARES = (16, 8, 4)  # an n-th of a layer's maps is dropped
_DRAWS = 5  # of random maps
_NUM_TESTED = 1000
_SHOWN = 16
_PENALTY = 10.0  # of the squared weights, for standardised activations


def run(trained: Trained, *, seed: int, num: int, concept: str | None, layer: int) -> Result:
    """Finds the maps of hidden layer `layer` on `num` samples; drops them in others."""
    concept = concept or ("Smiling" if trained.cfg.data.source == "celeba" else "0")
    layers = [module for module in trained.generator.layers if isinstance(module, nn.ReLU)]
    if layer > len(layers):
        raise ConfigError(f"--layer {layer}: this generator has {len(layers)} hidden layers")
    chosen = layers[layer - 1]
    pool = make_pool(trained, trained.latents(num + _NUM_TESTED, seed))
    has = shows(pool.scores, concept)
    if has[:num].sum() < 20 or not has[num:].any() or has.all():
        raise ValueError(f"only {has.sum()} of {len(has):,} samples show {concept}; raise --num, "
                         "or choose another concept")  # fmt: skip
    activations = mean_activations(trained, chosen, pool.z)
    weights = logistic_regression(activations[:num], torch.from_numpy(has[:num]))
    # by what each adds to the logit of samples with the concept: dropping it takes that away
    gains = weights * activations[:num][torch.from_numpy(has[:num])].mean(0)
    order = gains.argsort(descending=True)
    test = pool.images[num:], pool.z[num:], has[num:]
    stream = np.random.default_rng(seed)
    counts = sorted({max(len(order) // share, 1) for share in _SHARES} | {int((gains > 0).sum())})
    found, by_chance, drawn = [], [], {}
    for count in counts:
        made, rates = drop(trained, chosen, order[:count], test, pool.concepts, concept)
        drawn[count] = made
        found.append(rates)
        draws = [drop(trained, chosen, torch.from_numpy(stream.permutation(len(order))[:count]),
                      test, pool.concepts, concept) for _ in range(_DRAWS)]  # fmt: skip
        by_chance.append({key: float(np.mean([r[key] for _, r in draws])) for key in rates})
    numbers = {...}
