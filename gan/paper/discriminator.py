"""The discriminator of a run as a feature extractor, and the same network with initial weights.

Shapes: N images, C channels, H x W pixels, F features.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d
from torch.optim.swa_utils import update_bn

from gan.checkpoint import check_weights
from gan.errors import ConfigError
from gan.machine.precision import autocast
from gan.nn.discriminator import Discriminator
from gan.sampling import Trained

_BATCH = 256
_NORM_IMAGES = 4096  # that BatchNorm statistics are estimated from
_SIDE = 4  # of each layer after max-pooling


def trained_layers(trained: Trained, real: np.ndarray) -> nn.Sequential:
    """Returns the convolutional layers of D, frozen; `real` (N, C, H, W) are training images.

    BatchNorm has the statistics of real images, as in D's step on them; those in a checkpoint mix
    real and fake ones. Raises ConfigError if there is no D, as in a generator that ships.
    """
    if not (weights := trained.checkpoint.d):
        raise ConfigError(f"{trained.origin}: has no discriminator; use a run or its checkpoint")
    d = _build(trained)
    check_weights(d, weights, "d")
    d.load_state_dict(weights)
    return _freeze(d.features, real)


def initial_layers(trained: Trained, real: np.ndarray, seed: int) -> nn.Sequential:
    """Returns the same layers with initial weights, and BatchNorm statistics of real images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _freeze(_build(trained).features, real)


def _build(trained: Trained) -> Discriminator:
    cfg = trained.cfg
    return Discriminator(cfg.model, cfg.data.image_shape, len(trained.classes))


def _freeze(layers: nn.Sequential, real: np.ndarray) -> nn.Sequential:
    # drawn, because images often come class by class
    rows = np.random.default_rng(0).permutation(len(real))[:_NORM_IMAGES]
    update_bn(_batches(layers, real[rows]), layers)
    return layers.eval().requires_grad_(False)


def _batches(layers: nn.Sequential, images: np.ndarray) -> Iterator[Tensor]:
    for start in range(0, len(images), _BATCH):
        yield to_input(layers, images[start : start + _BATCH])


def to_input(layers: nn.Sequential, images: np.ndarray) -> Tensor:
    """Maps uint8 images (N, C, H, W) to [-1, 1], repeated if D sees several images as one."""
    x = torch.tensor(images).float().div(127.5).sub(1)
    first = layers[0]
    assert isinstance(first, nn.Conv2d)
    return x.repeat(1, first.in_channels // x.shape[1], 1, 1)


@torch.no_grad()
def pooled(layers: nn.Sequential, images: np.ndarray, trained: Trained) -> Tensor:
    """Maps uint8 images (N, C, H, W) to features (N, F): all layers, max-pooled to 4x4."""
    rows = []
    for x in _batches(layers, images):
        maps = []
        with autocast(trained.precision, x.device):
            for layer in layers:
                x = layer(x)
                if isinstance(layer, nn.LeakyReLU):
                    maps.append(adaptive_max_pool2d(x.float(), _SIDE).flatten(1))
        rows.append(torch.cat(maps, 1))
    return torch.cat(rows)
