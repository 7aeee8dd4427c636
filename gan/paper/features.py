"""The features of D: its layers, trained or initial, and what they respond to (figure 5).

Shapes: N images, C channels, H x W pixels, F features or feature maps of the last layer.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from gan.checkpoint import check_weights
from gan.errors import ConfigError
from gan.machine.precision import autocast
from gan.nn.discriminator import Discriminator
from gan.paper.nearest import spaces_of
from gan.paper.result import Result, Sheet
from gan.sampling import Trained

_BATCH, _NORM_IMAGES = 256, 4096
_FEATURES, _SHOWN = 6, 5  # rows of the figure, and images of each
_STRONGEST = 9  # images that a feature is described by


def run(trained: Trained, *, num: int, seed: int) -> Result:
    """Shows which of `num` samples excite the first features most, and which of their pixels do.

    Measures over all features how alike the samples are that excite a feature: their mean distance,
    in shipped features or in pixels, divided by that of all samples.
    """
    samples = trained.images(trained.latents(num, seed), trained.labels(num, seed))
    *_, (space, rows_of) = spaces_of(trained).items()
    rows, sheets = rows_of(samples), []
    numbers = {"num_samples": num, "alike_in": space.removeprefix("features of network ")}
    lines = []
    for name, initial_seed in (("trained", None), ("random", seed)):
        layers = layers_of_d(trained, samples, initial_seed)
        peaks = torch.cat([layers(x).amax((2, 3)) for x in _batches(layers, samples)])  # (N, F)
        strongest = peaks.T.topk(_STRONGEST).indices  # (F, 9)
        numbers[f"spread_{name}"] = spread = float(spreads(rows, strongest).mean())
        pairs = []
        for feature, chosen in enumerate(strongest[:_FEATURES, :_SHOWN]):
            gradient = guided_gradient(layers, to_input(layers, samples[chosen]), feature)
            gradient = gradient[:, : samples.shape[1]]  # of the first, if D sees several as one
            peak = gradient.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
            pairs += [samples[chosen], (gradient / peak * 127 + 128).byte().numpy()]
        title = f"{name} D: samples that excite a feature (a row), and where"
        sheets.append(Sheet(title, np.concatenate(pairs), 2 * _SHOWN))
        lines.append(f"{name} D: the distance between the {_STRONGEST} samples that excite a "
                     f"feature most is {spread:.2f} of that between any samples")  # fmt: skip
    return Result([[*sheets]], numbers, lines)


def layers_of_d(trained: Trained, real: np.ndarray, initial_seed: int | None) -> nn.Sequential:
    """Returns the layers of D, frozen, or those that a run with `initial_seed` starts from.

    BatchNorm gets the statistics of `real` (N, C, H, W), as in D's step on real images; those in a
    checkpoint mix real and fake ones. Raises ConfigError if there is no D.
    """
    cfg, weights = trained.cfg, trained.checkpoint.d
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial_seed or 0)
        d = Discriminator(cfg.model, cfg.data.image_shape, len(trained.classes))
    if initial_seed is None:
        if not weights:
            raise ConfigError(f"{trained.origin}: has no discriminator; use a run's checkpoint")
        check_weights(d, weights, f"{trained.checkpoint.path}: d")
        d.load_state_dict(weights)
    layers = d.features.requires_grad_(False)
    # drawn, because images often come class by class
    rows = np.random.default_rng(0).permutation(len(real))[:_NORM_IMAGES]
    update_bn(_batches(layers, real[rows]), layers)
    return layers.eval()


def to_input(layers: nn.Sequential, images: np.ndarray) -> Tensor:
    """Maps uint8 images (N, C, H, W) to [-1, 1], repeated if D sees several images as one."""
    first = layers[0]
    assert isinstance(first, nn.Conv2d)
    x = torch.tensor(images).div(127.5).sub(1)
    return x.repeat(1, first.in_channels // images.shape[1], 1, 1)


def _batches(layers: nn.Sequential, images: np.ndarray) -> Iterator[Tensor]:
    return (to_input(layers, images[i : i + _BATCH]) for i in range(0, len(images), _BATCH))


def pooled(layers: nn.Sequential, images: np.ndarray, trained: Trained) -> Tensor:
    """Maps uint8 images (N, C, H, W) to features (N, F): all layers, max-pooled to 4x4."""
    rows = []
    for x in _batches(layers, images):
        maps = []
        with autocast(trained.precision, x.device):
            for layer in layers:
                x = layer(x)
                if isinstance(layer, nn.LeakyReLU):
                    maps.append(F.adaptive_max_pool2d(x.float(), 4).flatten(1))
        rows.append(torch.cat(maps, 1))
    return torch.cat(rows)


class _Guided(torch.autograd.Function):
    """LeakyReLU; its gradient passes where it is positive and the input was positive."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x > 0)
        return F.leaky_relu(x, 0.2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].clamp(min=0) * ctx.saved_tensors[0]


def guided_gradient(layers: nn.Sequential, x: Tensor, feature: int) -> Tensor:
    """Returns the guided gradient (N, C, H, W) of a feature's strongest activation in each image,
    with respect to its pixels (Springenberg et al., 2014)."""
    y = x = x.clone().requires_grad_()
    for layer in layers:
        y = _Guided.apply(y) if isinstance(layer, nn.LeakyReLU) else layer(y)  # (N, F, H', W')
    return torch.autograd.grad(y[:, feature].amax((1, 2)).sum(), x)[0]


def spreads(rows: Tensor, strongest: Tensor) -> Tensor:
    """Returns the mean distance (F,) of the chosen rows of each feature, relative to all rows."""
    typical = torch.pdist(rows[:1000]).mean()
    return torch.stack([torch.pdist(rows[chosen]).mean() for chosen in strongest]) / typical
