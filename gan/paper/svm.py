"""A linear SVM with squared hinge loss, each class against the others, its C chosen by validation.

The objective is that of scikit-learn's LinearSVC, which needs 16 bytes for each feature of each
image (6 GB for CIFAR-10) and more time than L-BFGS on all classes at once.
Shapes: N rows, F features, K classes or attributes.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

_CHOICES = (0.01, 0.1, 1.0, 10.0)  # of C, for rows of length about 1
_MAX_STEPS, _TOLERANCE = 100, 1e-4  # with 1e-9, accuracies change by 0.2 points at most
_MAX_TO_CHOOSE = 5_000  # rows that C is chosen on


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
    """Trains on features `rows` (N, F) and returns the scores (M, K) of `asked` (M, F).

    The features are centred and divided by one number, so that rows have a length of about 1.
    """
    mean = rows.mean(0)
    x = rows - mean
    scale = max(float(x.square().sum(1).mean().sqrt()), 1e-12)
    x = pad(x.div_(scale), (0, 1), value=1.0)  # (N, F + 1), for the bias
    weight = fit_svm(x, targets.signs, _choose_c(x, targets))
    return (asked - mean) @ weight[:-1] / scale + weight[-1]


def _choose_c(x: Tensor, targets: Targets) -> float:
    """Returns the C with the best accuracy: on every fifth of few rows, on one fifth of many."""
    num = min(len(x), _MAX_TO_CHOOSE)
    parts = torch.arange(num) * 5 // num
    right = dict.fromkeys(_CHOICES, 0.0)
    for part in range(5 if num < 1000 else 1):
        (tested,), (used,) = (
            (parts == part).nonzero(as_tuple=True),
            (parts != part).nonzero(as_tuple=True),
        )
        weight = None
        for c in _CHOICES:
            weight = fit_svm(x[used], targets.signs[used], c, weight)
            right[c] += targets.rows(tested).accuracy(x[tested] @ weight)
    return max(right, key=lambda c: right[c])


def fit_svm(x: Tensor, signs: Tensor, c: float, start: Tensor | None = None) -> Tensor:
    """Returns the weight (F, K) that minimises |w|^2 / 2 + c sum max(0, 1 - sign w x)^2 for each
    column; the search starts at `start`."""
    weight = torch.zeros(x.shape[1], signs.shape[1]) if start is None else start.clone()
    search = torch.optim.LBFGS(
        [weight.requires_grad_()], max_iter=_MAX_STEPS, tolerance_grad=1e-6,
        tolerance_change=_TOLERANCE, history_size=10, line_search_fn="strong_wolfe",
    )  # fmt: skip

    @torch.no_grad()
    def objective() -> float:
        short = (1 - signs * (x @ weight)).clamp(min=0)  # of the margin
        # divided by c N, so that the tolerances mean the same for any of them
        weight.grad = weight / (c * len(x)) - 2 / len(x) * ((signs * short).T @ x).T
        return float(weight.square().sum() / (2 * c) + short.square().sum()) / len(x)

    search.step(objective)
    return weight.detach()
