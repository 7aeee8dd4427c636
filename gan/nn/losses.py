"""Owns the adversarial losses on logits, and the gradient penalties.

Each loss is a pair: d(real_logits, fake_logits) and g(real_logits, fake_logits), shapes (N,) to ().
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus


class AdversarialLoss(NamedTuple):
    """What D and G minimise."""

    d: Callable[[Tensor, Tensor], Tensor]
    g: Callable[[Tensor, Tensor], Tensor]
    g_needs_real: bool = False  # G's loss looks at the real logits too


def _non_saturating_d(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-real).mean() + softplus(fake).mean()


def _non_saturating_g(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-fake).mean()


def _hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    return relu(1 - real).mean() + relu(1 + fake).mean()


def _hinge_g(real: Tensor, fake: Tensor) -> Tensor:
    return -fake.mean()


def _relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(fake - real).mean()


def _relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(real - fake).mean()


LOSSES = {
    "non_saturating": AdversarialLoss(_non_saturating_d, _non_saturating_g),  # Goodfellow 2014
    "hinge": AdversarialLoss(_hinge_d, _hinge_g),  # Lim and Ye, 2017
    "relativistic": AdversarialLoss(  # Jolicoeur-Martineau, 2018: pairs, not averages
        _relativistic_d, _relativistic_g, g_needs_real=True
    ),
}


def gradient_penalty(images: Tensor, logits: Tensor) -> Tensor:
    """Returns E |d logits / d images|^2 / 2, differentiable (Mescheder et al., 2018, eq. 9).

    `images` (N, C, H, W) must require gradients and lead to `logits`.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean() / 2
