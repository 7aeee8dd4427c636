"""What D's features respond to: guided back-propagation, as in the paper's figure 5.

Shapes: N images, C channels, H x W pixels, F feature maps of the last layer.
"""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from gan.metrics.reference import choose_network
from gan.paper.discriminator import layers_of_d, peaks, to_input
from gan.paper.neighbours import as_rows
from gan.paper.result import Result
from gan.sampling import Trained, grid

_FEATURES, _SHOWN = 6, 5  # rows of the figure, and images of each
_STRONGEST = 9  # images that a feature is described by


class _Guided(torch.autograd.Function):
    """LeakyReLU; its gradient passes where it is positive and the input was positive."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x > 0)
        return leaky_relu(x, 0.2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (is_positive,) = ctx.saved_tensors
        return gradients[0].clamp(min=0) * is_positive


def run(trained: Trained, *, num: int, seed: int) -> Result:
    """Shows which of `num` samples excite the first features most, and which of their pixels do.

    Measures over all features how alike the samples are that excite a feature: their mean distance,
    in shipped features or in pixels, divided by that of all samples.
    """
    samples = trained.images(trained.latents(num, seed), trained.labels(num, seed))
    network = choose_network(trained.cfg.data, next(trained.generator.parameters()).device)
    rows = network(samples).features if network else as_rows(samples)
    figure = Figure(figsize=(11, 3.7), layout="constrained")
    numbers: dict[str, Any] = {
        "num_samples": num,
        "alike_in": network.name if network else "pixels",
    }
    lines = []
    panels = zip(("trained", "random"), (None, seed), figure.subplots(1, 2), strict=True)
    for name, initial_seed, axis in panels:
        layers = layers_of_d(trained, samples, initial_seed)
        strongest = peaks(layers, samples).T.topk(_STRONGEST).indices  # (F, 9)
        numbers[f"spread_{name}"] = spread = float(spreads(rows, strongest).mean())
        axis.imshow(_sheet(layers, samples, strongest), cmap="gray")
        axis.set(title=f"{name} D: samples that excite a feature, and where",
                 ylabel="a feature a row", xticks=[], yticks=[])  # fmt: skip
        lines.append(
            f"{name} D: the distance between the {_STRONGEST} samples that excite a feature most "
            f"is {spread:.2f} of that between any samples"
        )
    return Result(figure, numbers, lines)


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


def _sheet(layers: nn.Sequential, samples: np.ndarray, strongest: Tensor) -> np.ndarray:
    images = []
    for feature, chosen in enumerate(strongest[:_FEATURES]):
        shown = samples[chosen[:_SHOWN]]
        gradient = guided_gradient(layers, to_input(layers, shown), feature)[:, : shown.shape[1]]
        peak = gradient.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
        images += [shown, (gradient / peak * 127 + 128).byte().numpy()]
    return grid(np.concatenate(images), 2 * _SHOWN).squeeze()
