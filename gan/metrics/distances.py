"""Distances between two sets of image features, and scores of predicted classes.

Shapes: N images, F features, K classes; features (N, F), logits and probabilities (N, K),
labels (N,). Every function is pure and computes on the device of its inputs.
"""

import math
import statistics
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

_NUM_ROWS = 1000  # of a distance matrix at a time: 40 MB against 10,000 columns


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Returns |m - m'|^2 + tr(S + S' - 2 (S S')^1/2) for the means m, m' and covariances S, S' of
    two sets of features, in float64 (Heusel et al., 2017).

    With S = L L^T, the eigenvalues of S S' are those of the symmetric L^T S' L, so no root of a
    non-symmetric matrix is needed. Use more images than features: the bias grows with fewer.
    """
    real_mean, real_cov = _moments(real)
    fake_mean, fake_cov = _moments(fake)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # eigensolvers: 3 times faster on an idle machine, 100 on a busy one
    try:
        eigenvalues, eigenvectors = torch.linalg.eigh(real_cov)
        factor = eigenvectors * eigenvalues.clamp(min=0).sqrt()
        # rounding can make the smallest eigenvalues slightly negative
        roots = torch.linalg.eigvalsh(factor.T @ fake_cov @ factor).clamp(min=0).sqrt()
    finally:
        torch.set_num_threads(threads)
    traces = real_cov.trace() + fake_cov.trace() - 2 * roots.sum()
    return float(((real_mean - fake_mean).square().sum() + traces).clamp(min=0))


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    assert len(features) > 1, "a covariance needs at least two images"
    features = features.double()
    return features.mean(0), torch.cov(features.T).reshape(features.shape[1], -1)


def kernel_distance(
    real: Tensor, fake: Tensor, *, num_subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> float:
    """Returns the unbiased squared MMD between two sets of features with the kernel
    (x.y / F + 1)^3, the mean over random subsets (Binkowski et al., 2018).

    Sets of the same size, at most `subset_size`, are compared once, as a whole.
    """
    size = min(subset_size, len(real), len(fake))
    assert size > 1, "the unbiased estimate needs at least two images"
    if size == len(real) == len(fake):
        num_subsets = 1  # every subset would be the whole set
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(num_subsets):
        x = real[torch.randperm(len(real), generator=generator)[:size]]
        y = fake[torch.randperm(len(fake), generator=generator)[:size]]
        values.append(_squared_mmd(x, y))
    return statistics.mean(values)


def _squared_mmd(x: Tensor, y: Tensor) -> float:
    num = len(x)
    k_xx, k_yy, k_xy = _cubic_kernel(x, x), _cubic_kernel(y, y), _cubic_kernel(x, y)
    # the diagonal compares each image with itself, which would bias the estimate
    within = sum(k.sum() - k.diagonal().sum() for k in (k_xx, k_yy)) / (num * (num - 1))
    return float(within - 2 * k_xy.mean())


def _cubic_kernel(x: Tensor, y: Tensor) -> Tensor:
    # summed in float64, because the MMD is a small difference of large sums
    return ((x @ y.T / x.shape[1] + 1) ** 3).double()


def precision_recall(real: Tensor, fake: Tensor, *, k: int = 3) -> tuple[float, float]:
    """Returns precision, the share of fake images within the k-nearest-neighbour radius of a real
    one, and recall, the same with the roles swapped (Kynkäänniemi et al., 2019, eq. 2)."""
    precision = _share_inside(fake, real, _neighbour_radii(real, k))
    recall = _share_inside(real, fake, _neighbour_radii(fake, k))
    return precision, recall


def density_coverage(real: Tensor, fake: Tensor, *, k: int = 5) -> tuple[float, float]:
    """Returns density, the mean number of real images within whose k-nearest-neighbour radius a
    fake one is, divided by k, and coverage, the share of real images with a fake one within that
    radius (Naeem et al., 2020).

    Density is about 1 for real images and, unlike precision, is not raised by a few outliers.
    """
    radii = _neighbour_radii(real, k)
    counts, covered = [], torch.zeros(len(real), dtype=torch.bool, device=real.device)
    for rows in distance_rows(fake, real):
        inside = rows <= radii
        counts.append(inside.sum(1))
        covered |= inside.any(0)
    return torch.cat(counts).double().mean().item() / k, covered.double().mean().item()


def _share_inside(points: Tensor, centres: Tensor, radii: Tensor) -> float:
    inside = [(rows <= radii).any(1) for rows in distance_rows(points, centres)]
    return torch.cat(inside).double().mean().item()


def _neighbour_radii(features: Tensor, k: int) -> Tensor:
    """Returns the distance (N,) from each point to its k-th nearest neighbour."""
    assert len(features) > k, "each point needs k neighbours"
    # index 0 is the point itself
    rows = distance_rows(features, features)
    return torch.cat([row.topk(k + 1, largest=False).values[:, k] for row in rows])


def distance_rows(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Yields the Euclidean distances (n, M) from n rows of x (N, F) at a time to y (M, F)."""
    # cdist subtracts squared norms, so points far from the origin would lose all precision
    centre = y.mean(0)
    for part in x.split(_NUM_ROWS):
        yield torch.cdist(part - centre, y - centre)


def class_divergence(labels: Tensor, num_classes: int, real_labels: Tensor | None = None) -> float:
    """Returns the Kullback-Leibler divergence, in nats, of the class frequencies of labels (N,)
    from those of `real_labels`, or from the uniform distribution.

    From uniform it is at most log K, when all labels are equal. It is infinite if a label does
    not occur in `real_labels`.
    """
    uniform = torch.arange(num_classes, device=labels.device)
    sets = (labels, uniform if real_labels is None else real_labels)
    p, q = (Categorical(torch.bincount(x, minlength=num_classes).double()) for x in sets)
    return kl_divergence(p, q).item()


def stack_modes(digits: Tensor) -> Tensor:
    """Maps the digits (N, 3) in the channels of Stacked-MNIST images to modes (N,), 0 to 999."""
    return (digits * torch.tensor([100, 10, 1], device=digits.device)).sum(1)


def confident_share(probabilities: Tensor, threshold: float = 0.9) -> float:
    """Returns the share of images whose most likely class has a probability above `threshold`."""
    return (probabilities.amax(1) > threshold).double().mean().item()


def inception_score(logits: Tensor, *, num_splits: int = 10, seed: int = 0) -> float:
    """Returns exp(mean KL(p(class | image) || p(class))), the mean over `num_splits` random parts
    of the images (Salimans et al., 2016, section 4).

    The best possible score is K; it is 1 if all images get the same prediction.
    """
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    scores = []
    for log_p in logits[order].double().log_softmax(1).chunk(num_splits):
        log_marginal = log_p.logsumexp(0) - math.log(len(log_p))
        scores.append((log_p.exp() * (log_p - log_marginal)).sum(1).mean().exp().item())
    return statistics.mean(scores)
