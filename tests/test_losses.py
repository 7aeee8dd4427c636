"""Adversarial losses and the gradient penalty against numbers computed by hand."""

import math

import pytest
import torch

from gan.nn.losses import LOSSES, gradient_penalty

REAL, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -3.0])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("name", "d", "g"),
    [
        (
            "non_saturating",
            (softplus(-2) + softplus(1)) / 2 + (softplus(0.5) + softplus(-3)) / 2,
            (softplus(-0.5) + softplus(3)) / 2,
        ),
        ("hinge", (0 + 2) / 2 + (1.5 + 0) / 2, -(0.5 - 3) / 2),
        (
            "relativistic",
            (softplus(0.5 - 2) + softplus(-3 + 1)) / 2,
            (softplus(2 - 0.5) + softplus(-1 + 3)) / 2,
        ),
    ],
)
def test_losses_equal_their_formulas(name: str, d: float, g: float) -> None:
    assert abs(LOSSES[name].d(REAL, FAKE) - d) < 1e-6
    assert abs(LOSSES[name].g(REAL, FAKE) - g) < 1e-6


def test_non_saturating_equals_cross_entropy_on_probabilities() -> None:
    ones, zeros = torch.ones(2), torch.zeros(2)
    bce = torch.nn.functional.binary_cross_entropy
    expected = bce(REAL.sigmoid(), ones) + bce(FAKE.sigmoid(), zeros)
    assert abs(LOSSES["non_saturating"].d(REAL, FAKE) - expected) < 1e-6


def test_penalty_of_a_linear_critic_is_half_its_squared_slope() -> None:
    slope = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1)
    images = torch.randn(5, 2, 1, 1, requires_grad=True)
    penalty = gradient_penalty(images, (images * slope).sum((1, 2, 3)))
    assert abs(penalty - 12.5) < 1e-6


def test_penalty_has_the_gradient_of_its_formula() -> None:
    slope = torch.tensor(3.0, requires_grad=True)
    images = torch.randn(4, 1, 2, 2, requires_grad=True)
    gradient_penalty(images, slope * images.sum((1, 2, 3))).backward()
    assert abs(slope.grad - 12) < 1e-5  # d/ds of 4 s^2 / 2
