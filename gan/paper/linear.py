"""Linear classifiers: logistic regression, and an SVM with squared hinge loss.

The SVM tells each class from the others, with the objective of scikit-learn's LinearSVC, which
needs 16 bytes for each feature of each image (6 GB for CIFAR-10) and more time than L-BFGS.
Shapes: N rows, F features, K classes or attributes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_CHOICES = (0.01, 0.1, 1.0, 10.0)  # of C, for rows of length about 1
_MAX_TO_CHOOSE = 5_000  # rows that C is chosen on
_PENALTY = 10.0  # of the squared weights in logistic regression, for standardised features


class Targets(NamedTuple):
    """What to predict."""

    signs: Tensor  # (N, K) of -1 and 1
    exclusive: bool  # whether exactly one of the K is 1: classes, not attributes

    def rows(self, rows: Tensor | np.ndarray) -> "Targets":
        """Returns those of some rows."""
        return Targets(self.signs[rows], self.exclusive)

    def accuracy(self, scores: Tensor) -> float:
        """Returns the share of right answers of scores (N, K); of attributes, over all K."""
        if self.exclusive:
            return (scores.argmax(1) == self.signs.argmax(1)).float().mean().item()
        return ((scores > 0) == (self.signs > 0)).float().mean().item()


def fit_and_score(rows: Tensor, targets: Targets, asked: Tensor) -> Tensor:
    """Trains an SVM on features `rows` (N, F) and returns the scores (M, K) of `asked` (M, F).

    The features are centred and divided by one number, so that rows have a length of about 1. C is
    the one with the best accuracy: on every fifth of few rows, on one fifth of many.
    """
    mean = rows.mean(0)
    x = rows - mean
    scale = max(float(x.square().sum(1).mean().sqrt()), 1e-12)
    x = F.pad(x.div_(scale), (0, 1), value=1.0)  # (N, F + 1), for the bias
    num = min(len(x), _MAX_TO_CHOOSE)
    parts = torch.arange(num) * 5 // num
    right = dict.fromkeys(_CHOICES, 0.0)
    for part in range(5 if num < 1000 else 1):
        tested, used = (torch.where(is_in)[0] for is_in in (parts == part, parts != part))
        weight = None
        for c in _CHOICES:
            weight = fit_svm(x[used], targets.signs[used], c, weight)
            right[c] += targets.rows(tested).accuracy(x[tested] @ weight)
    weight = fit_svm(x, targets.signs, max(right, key=lambda c: right[c]))
    return (asked - mean) @ weight[:-1] / scale + weight[-1]


def fit_svm(x: Tensor, signs: Tensor, c: float, start: Tensor | None = None) -> Tensor:
    """Returns the weight (F, K) that minimises |w|^2 / 2 + c sum max(0, 1 - sign w x)^2 for each
    column; the search starts at `start`."""

    def loss(weight: Tensor) -> Tensor:
        short = (1 - signs * (x @ weight)).clamp(min=0)  # of the margin
        # divided by c N, so that the tolerance means the same for any of them
        return (weight.square().sum() / (2 * c) + short.square().sum()) / len(x)

    # with a tolerance of 1e-9, accuracies change by 0.2 points at most
    weight = torch.zeros(x.shape[1], signs.shape[1]) if start is None else start.clone()
    return _minimise(loss, weight, 100, 1e-6, 1e-4)


def logistic_regression(x: Tensor, has: Tensor) -> Tensor:
    """Returns the weights (F,) that tell from `x` (N, F) whether a sample has a concept (N,).

    They are for x as it is, but the penalty is on those for standardised x.
    """
    std = x.std(0).clamp(min=1e-6)
    rows = F.pad((x - x.mean(0)) / std, (0, 1), value=1.0)  # (N, F + 1), for the bias

    def loss(weights: Tensor) -> Tensor:
        penalty = _PENALTY / 2 * weights[:-1].square().sum() / len(rows)
        return F.binary_cross_entropy_with_logits(rows @ weights, has.float()) + penalty

    return _minimise(loss, torch.zeros(rows.shape[1]), 200, 1e-7, 1e-9)[:-1] / std


def _minimise(
    loss: Callable[[Tensor], Tensor], weight: Tensor, steps: int, gradient: float, change: float
) -> Tensor:
    """Returns the weight with the least loss, by L-BFGS from `weight`, with two tolerances."""
    search = torch.optim.LBFGS(
        [weight.requires_grad_()], max_iter=steps, tolerance_grad=gradient,
        tolerance_change=change, history_size=10, line_search_fn="strong_wolfe",
    )  # fmt: skip

    def objective() -> float:
        search.zero_grad()
        value = loss(weight)
        value.backward()
        return value.item()

    search.step(objective)
    return weight.detach()
