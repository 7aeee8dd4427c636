"""The features of D: its layers, trained or initial, and what they respond to (figure 5)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from gan.checkpoint import check_tensors
from gan.errors import ConfigError
from gan.machine.precision import autocast
from gan.nn.discriminator import Discriminator
from gan.paper.nearest import spaces_of
from gan.paper.result import Result
from gan.pretrained.trained import Trained
from gan.sampling import grid

_BATCH, _NORM_IMAGES = 256, 4096
_FEATURES, _SHOWN = 6, 5  # rows of the figure, and images of each
_STRONGEST = 9  # images that a feature is described by


def run(trained: Trained, *, num: int, seed: int) -> Result:
    """Shows which of `num` samples excite a feature most, by which pixels, and how alike these are
    in shipped features, or in pixels."""
    samples = trained.images(trained.latents(num, seed), trained.labels(num, seed))
    *_, (space, rows_of) = spaces_of(trained).items()
    numbers: dict[str, Any] = {"num_samples": num, "alike_in": space}
    sheets = {}
    for name, initial_seed in (("trained", None), ("random", seed)):
        layers = layers_of_d(trained, samples, initial_seed)
        peaks = torch.cat([layers(x).amax((2, 3)) for x in batches(samples)])  # (N, F)
        strongest = peaks.T.topk(_STRONGEST).indices  # (F, 9)
        numbers[f"spread_{name}"] = float(spreads(rows_of(samples), strongest).mean())
        pairs = []
        for feature, chosen in enumerate(strongest[:_FEATURES, :_SHOWN]):
            (x,) = batches(samples[chosen])
            gradient = guided_gradient(layers, x, feature)
            peak = gradient.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
            pairs += [samples[chosen], (gradient / peak * 127 + 128).byte().numpy()]
        title = f"{name} D: samples that excite a feature (a row), and where"
        sheets[title] = grid(np.concatenate(pairs), 2 * _SHOWN)
    return [sheets], numbers


def layers_of_d(trained: Trained, real: np.ndarray, initial_seed: int | None) -> nn.Sequential:
    """Returns the layers of D, frozen, or those that a run with `initial_seed` starts from; with
    BatchNorm statistics of `real` (N, C, H, W), because those in a checkpoint are of fakes too."""
    cfg, weights = trained.cfg, trained.checkpoint.d
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial_seed or 0)
        d = Discriminator(cfg.model, cfg.data.image_shape, len(trained.classes))
    if initial_seed is None:
        if not weights:
            raise ConfigError(f"{trained.origin}: has no discriminator; use a run's checkpoint")
        check_tensors(d.state_dict(), weights, f"{trained.checkpoint.path}: d")
        d.load_state_dict(weights)
    layers = d.features.requires_grad_(False)
    # drawn, because images often come class by class
    rows = np.random.default_rng(0).permutation(len(real))[:_NORM_IMAGES]
    update_bn(batches(real[rows]), layers)
    return layers.eval()


def batches(images: np.ndarray) -> Iterator[Tensor]:
    """Yields uint8 images (N, C, H, W) as [-1, 1]."""
    for part in np.array_split(images, -(-len(images) // _BATCH)):
        yield torch.tensor(part).div(127.5).sub(1)


def pooled(trained: Trained, layers: nn.Sequential, images: np.ndarray) -> Tensor:
    """Maps uint8 images (N, C, H, W) to features (N, F): all layers, max-pooled to 4x4."""
    rows = []
    for x in batches(images):
        maps = []
        with autocast(trained.precision, x.device):
            for layer in layers:
                x = layer(x)
                if isinstance(layer, nn.LeakyReLU):
                    maps.append(F.adaptive_max_pool2d(x.float(), 4).flatten(1))
        rows.append(torch.cat(maps, 1))
    return torch.cat(rows)


def guided_gradient(layers: nn.Sequential, x: Tensor, feature: int) -> Tensor:
    """Returns the guided gradient (N, C, H, W) of a feature's strongest activation in each image:
    it passes a LeakyReLU where it and the input are positive (Springenberg et al., 2014)."""
    y = x = x.clone().requires_grad_()
    for layer in layers:
        if isinstance(layer, nn.LeakyReLU):
            y = y.relu() + F.leaky_relu(y.clamp(max=0).detach(), layer.negative_slope)
            y.register_hook(lambda gradient: gradient.clamp(min=0))
        else:
            y = layer(y)  # (N, F, H', W')
    return torch.autograd.grad(y[:, feature].amax((1, 2)).sum(), x)[0]


def spreads(rows: Tensor, strongest: Tensor) -> Tensor:
    """Returns the mean distance (F,) of the chosen rows of each feature, relative to all rows."""
    typical = torch.pdist(rows[:1000]).mean()
    return torch.stack([torch.pdist(rows[chosen]).mean() for chosen in strongest]) / typical
