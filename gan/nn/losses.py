"""Adversarial losses on logits: d(real_logits, fake_logits) and g(fake_logits), (N,) to ()."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import relu, softplus


class AdversarialLoss(NamedTuple):
    """The losses that D and G minimise."""

    d: Callable[[Tensor, Tensor], Tensor]
    g: Callable[[Tensor], Tensor]


LOSSES = {
    "non_saturating": AdversarialLoss(  # Goodfellow et al., 2014
        d=lambda real, fake: softplus(-real).mean() + softplus(fake).mean(),
        g=lambda fake: softplus(-fake).mean(),
    ),
    "hinge": AdversarialLoss(  # Lim and Ye, 2017
        d=lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
        g=lambda fake: -fake.mean(),
    ),
}
