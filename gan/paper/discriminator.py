"""The convolutional layers of D as features, trained and with initial weights.

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

_BATCH, _NORM_IMAGES = 256, 4096
_SIDE = 4  # of each layer after max-pooling


def layers_of_d(
    trained: Trained, real: np.ndarray, initial_seed: int | None = None
) -> nn.Sequential:
    """Returns the layers of D, frozen, or those that a run with `initial_seed` starts from.

    BatchNorm gets the statistics of `real` (N, C, H, W), as in D's step on real images; those in a
    checkpoint mix real and fake ones. Raises ConfigError if there is no D.
    """
    cfg = trained.cfg
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial_seed or 0)
        d = Discriminator(cfg.model, cfg.data.image_shape, len(trained.classes))
    if initial_seed is None:
        if not (weights := trained.checkpoint.d):
            raise ConfigError(
                f"{trained.origin}: has no discriminator; use a run or its checkpoint"
            )
        check_weights(d, weights, "d")
        d.load_state_dict(weights)
    # drawn, because images often come class by class
    rows = np.random.default_rng(0).permutation(len(real))[:_NORM_IMAGES]
    update_bn(_batches(d.features, real[rows]), d.features)
    return d.features.eval().requires_grad_(False)


def to_input(layers: nn.Sequential, images: np.ndarray) -> Tensor:
    """Maps uint8 images (N, C, H, W) to [-1, 1], repeated if D sees several images as one."""
    first = layers[0]
    assert isinstance(first, nn.Conv2d)
    return (
        torch.tensor(images).div(127.5).sub(1).repeat(1, first.in_channels // images.shape[1], 1, 1)
    )


def _batches(layers: nn.Sequential, images: np.ndarray) -> Iterator[Tensor]:
    return (to_input(layers, images[i : i + _BATCH]) for i in range(0, len(images), _BATCH))


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


@torch.no_grad()
def peaks(layers: nn.Sequential, images: np.ndarray) -> Tensor:
    """Maps uint8 images (N, C, H, W) to the maxima (N, F) of the last layer's feature maps."""
    return torch.cat([layers(x).amax((2, 3)) for x in _batches(layers, images)])
