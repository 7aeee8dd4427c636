"""Adversarial losses against numbers computed by hand."""

import math

import pytest
import torch

from gan.nn.losses import LOSSES

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
    ],
)
def test_losses_equal_their_formulas(name: str, d: float, g: float) -> None:
    assert abs(LOSSES[name].d(REAL, FAKE) - d) < 1e-6
    assert abs(LOSSES[name].g(FAKE) - g) < 1e-6


def test_non_saturating_equals_cross_entropy_on_probabilities() -> None:
    ones, zeros = torch.ones(2), torch.zeros(2)
    bce = torch.nn.functional.binary_cross_entropy
    expected = bce(REAL.sigmoid(), ones) + bce(FAKE.sigmoid(), zeros)
    assert abs(LOSSES["non_saturating"].d(REAL, FAKE) - expected) < 1e-6
