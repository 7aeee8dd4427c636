"""Owns the numbers that compare two sets of features, or judge one set of predictions.

Shapes: N images, F features, K classes; features (N, F), probabilities (N, K), labels (N,).
Everything is a pure function on the tensors' own device.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

_ROWS = 1000  # of a distance matrix at a time: 40 MB against 10,000 columns


class Spread(NamedTuple):
    """A mean over subsets and its standard deviation."""

    mean: float
    std: float


class PrecisionRecall(NamedTuple):
    """Shares of fake images near real ones, and of real images near fake ones."""

    precision: float
    recall: float


class Modes(NamedTuple):
    """How many modes were hit, and the divergence of their shares from the real ones, in nats."""

    num_hit: int
    kl: float


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Returns |m - m'|^2 + tr(S + S' - 2 (S S')^1/2) of two sets, in float64 (Heusel et al., 2017).

    With S = L L^T, S S' has the eigenvalues of the symmetric L^T S' L, so no root of a
    non-symmetric matrix is needed. Each set needs more images than features to mean much.
    """
    real_mean, real_cov = _moments(real)
    fake_mean, fake_cov = _moments(fake)
    with _one_thread():
        eigenvalues, eigenvectors = torch.linalg.eigh(real_cov)
        factor = eigenvectors * eigenvalues.clamp(min=0).sqrt()
        # rounding makes the smallest eigenvalues a hair negative
        roots = torch.linalg.eigvalsh(factor.T @ fake_cov @ factor).clamp(min=0).sqrt()
    traces = real_cov.trace() + fake_cov.trace() - 2 * roots.sum()
    return float(((real_mean - fake_mean).square().sum() + traces).clamp(min=0))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Spares an eigenproblem the threads' waits: alone 3 times faster, 100 on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    assert len(features) > 1, "a covariance needs two images"
    features = features.double()
    return features.mean(0), torch.cov(features.T).reshape(features.shape[1], -1)


def kernel_distance(
    real: Tensor, fake: Tensor, *, num_subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> Spread:
    """Returns the unbiased squared MMD with the kernel (x.y / F + 1)^3 (Binkowski et al., 2018).

    Mean and deviation over random subsets; sets of at most `subset_size` are taken whole, once.
    """
    size = min(subset_size, len(real), len(fake))
    assert size > 1, "the unbiased estimate needs two images"
    if size == len(real) == len(fake):
        num_subsets = 1  # every subset is the whole set
    draw = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(num_subsets):
        x, y = (
            features[torch.randperm(len(features), generator=draw)[:size].to(features.device)]
            for features in (real, fake)
        )
        values.append(_mmd(x, y))
    distances = torch.tensor(values, dtype=torch.float64)
    return Spread(distances.mean().item(), distances.std(correction=0).item())


def _mmd(x: Tensor, y: Tensor) -> float:
    k_xx, k_yy, k_xy = _cubic_kernel(x, x), _cubic_kernel(y, y), _cubic_kernel(x, y)
    num = len(x)
    # without the diagonal, where an image meets itself: that makes the estimate unbiased;
    # sums in float64, since the result is a small difference of large ones
    within = sum(
        k.sum(dtype=torch.float64) - k.diagonal().sum(dtype=torch.float64) for k in (k_xx, k_yy)
    ) / (num * (num - 1))
    return float(within - 2 * k_xy.mean(dtype=torch.float64))


def _cubic_kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 3) -> PrecisionRecall:
    """Returns the shares inside the other set's k-nearest-neighbour balls (Kynkäänniemi, 2019)."""
    return PrecisionRecall(
        precision=_share_inside(fake, real, _neighbour_radii(real, k)),
        recall=_share_inside(real, fake, _neighbour_radii(fake, k)),
    )


def coverage(real: Tensor, fake: Tensor, *, k: int = 5) -> float:
    """Returns the share of real images with a fake one closer than the k-th nearest other real one
    (Naeem et al., 2020)."""
    nearest = nearest_distances(real, fake)
    return (nearest <= _neighbour_radii(real, k)).double().mean().item()


def nearest_distances(queries: Tensor, others: Tensor) -> Tensor:
    """Returns the Euclidean distance (N,) of each query to the nearest of the others.

    Samples nearer to the training images than held-out images are speak of memorisation.
    """
    return torch.cat([rows.amin(1) for rows in _distance_rows(queries, others)])


def _share_inside(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    inside = [(rows <= radii).any(1) for rows in _distance_rows(points, centres)]
    return torch.cat(inside).double().mean().item()


def _neighbour_radii(features: Tensor, k: int) -> Tensor:
    """Returns the distance (N,) of each point to its k-th nearest other one."""
    assert len(features) > k, "fewer points than neighbours"
    # the nearest is the point itself
    rows = _distance_rows(features, features)
    return torch.cat([row.topk(k + 1, largest=False).values[:, k] for row in rows])


def _distance_rows(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    # cdist subtracts squared norms from each other; far from the origin that leaves rounding only
    centre = y.mean(0)
    for part in x.split(_ROWS):
        yield torch.cdist(part - centre, y - centre)


def mode_count(labels: Tensor, num_modes: int, real_labels: Tensor | None = None) -> Modes:
    """Counts the modes that occur and compares their shares with the real ones, or with uniform.

    The divergence (Kullback-Leibler, nats) from uniform is 0 when all K modes are equally frequent,
    log K when only one is there. A mode that is absent from `real_labels` and hit by a sample gives
    an infinite one.
    """
    shares = _shares(labels, num_modes)
    wanted = _uniform(num_modes, labels.device)
    if real_labels is not None:
        wanted = _shares(real_labels, num_modes)
    return Modes(int((shares > 0).sum()), _divergence(shares, wanted))


def stack_modes(labels: Tensor) -> Tensor:
    """Maps the digits (N, 3) of Stacked-MNIST's channels to modes (N,) from 0 to 999."""
    return (labels * torch.tensor([100, 10, 1], device=labels.device)).sum(1)


def _shares(labels: Tensor, num_classes: int) -> Tensor:
    return torch.bincount(labels, minlength=num_classes).double() / len(labels)


def _uniform(num_classes: int, device: torch.device) -> Tensor:
    return torch.full((num_classes,), 1 / num_classes, dtype=torch.float64, device=device)


def _divergence(shares: Tensor, wanted: Tensor) -> float:
    hit = shares > 0  # 0 log 0 is 0
    return float((shares[hit] * (shares[hit] / wanted[hit]).log()).sum())


def confident_share(probabilities: Tensor, threshold: float = 0.9) -> float:
    """Returns the share of images whose likeliest class is more than `threshold` likely."""
    return (probabilities.amax(1) > threshold).double().mean().item()


def inception_score(logits: Tensor, *, num_splits: int = 10, seed: int = 0) -> Spread:
    """Returns exp of the mean divergence of p(class | image) from p(class) (Salimans et al., 2016).

    Mean and deviation over `num_splits` random parts; K at best, 1 when every image looks alike.
    """
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    parts = logits[order.to(logits.device)].double().log_softmax(1).chunk(num_splits)
    scores = torch.tensor([_split_score(log_p) for log_p in parts], dtype=torch.float64)
    return Spread(scores.mean().item(), scores.std(correction=0).item())


def _split_score(log_p: Tensor) -> float:
    log_marginal = log_p.logsumexp(0) - math.log(len(log_p))
    return float((log_p.exp() * (log_p - log_marginal)).sum(1).mean().exp())
