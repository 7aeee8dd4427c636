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


LOSSES = {
    "non_saturating": AdversarialLoss(  # Goodfellow et al., 2014
        d=lambda real, fake: softplus(-real).mean() + softplus(fake).mean(),
        g=lambda real, fake: softplus(-fake).mean(),
    ),
    "hinge": AdversarialLoss(  # Lim and Ye, 2017
        d=lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
        g=lambda real, fake: -fake.mean(),
    ),
    "relativistic": AdversarialLoss(  # Jolicoeur-Martineau, 2018, pairwise
        d=lambda real, fake: softplus(fake - real).mean(),
        g=lambda real, fake: softplus(real - fake).mean(),
        g_needs_real=True,
    ),
}


def gradient_penalty(images: Tensor, logits: Tensor) -> Tensor:
    """Returns E |d logits / d images|^2 / 2, differentiable (Mescheder et al., 2018, eq. 9).

    `images` (N, C, H, W) must require gradients; `logits` are computed from them.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)).mean() / 2
