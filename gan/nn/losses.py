"""Adversarial losses on logits, and the gradient penalty.

Each loss is a pair of functions, d(real_logits, fake_logits) and g(real_logits, fake_logits), from
shapes (N,) to ().
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus


class AdversarialLoss(NamedTuple):
    """The losses that D and G minimise."""

    d: Callable[[Tensor, Tensor], Tensor]
    g: Callable[[Tensor, Tensor], Tensor]
    g_needs_real: bool = False  # g() uses the real logits too


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
    "relativistic": AdversarialLoss(  # Jolicoeur-Martineau, 2018, pairwise
        _relativistic_d, _relativistic_g, g_needs_real=True
    ),
}


def gradient_penalty(images: Tensor, logits: Tensor) -> Tensor:
    """Returns E |d logits / d images|^2 / 2, differentiable (Mescheder et al., 2018, eq. 9).

    `images` (N, C, H, W) must require gradients; `logits` are computed from them.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean() / 2
