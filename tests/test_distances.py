"""Distances agree with closed forms, numbers by hand, slow definitions and torchmetrics."""

import math

import pytest
import torch
from torch import Tensor, nn

from gan.analysis.nearest import nearest_neighbours
from gan.metrics.distances import (
    class_divergence,
    confident_share,
    density_coverage,
    frechet_distance,
    inception_score,
    kernel_distance,
    precision_recall,
    stack_modes,
)


def draw(num: int, num_features: int, seed: int) -> Tensor:
    return torch.randn(num, num_features, generator=torch.Generator().manual_seed(seed))


def with_moments(mean: list[float], deviations: list[float], seed: int) -> Tensor:
    """Returns float64 points whose sample mean and covariance are exactly these."""
    points = draw(50, len(mean), seed).double()
    points = points - points.mean(0)
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(points.T @ points / 49), points.T, upper=False
    ).T
    return white * torch.tensor(deviations).double() + torch.tensor(mean).double()


def line(*places: float) -> Tensor:
    return torch.tensor(places, dtype=torch.float32)[:, None]


def test_frechet_distance_of_axis_aligned_gaussians_equals_closed_form() -> None:
    real = with_moments([0, 0, 0], [1, 2, 3], seed=1)
    fake = with_moments([3, 4, 0], [2, 2, 1], seed=2)
    assert frechet_distance(real, fake) == pytest.approx(3**2 + 4**2 + 1 + 0 + 4, rel=1e-9)


def test_frechet_distance_of_rotated_gaussians_equals_closed_form() -> None:
    # covariance diag(1, 9), rotated by 90 degrees: 2 tr (S S')^1/2 = 2 (3 + 3)
    real, fake = with_moments([0, 0], [1, 3], seed=1), with_moments([0, 0], [3, 1], seed=2)
    assert frechet_distance(real, fake) == pytest.approx(10 + 10 - 12, rel=1e-9)
    # rotated by 45 degrees: (tr (S S')^1/2)^2 = tr S S' + 2 sqrt(det S S'), with tr S S' = 50
    turn = torch.tensor([[1, -1], [1, 1]]).double() / math.sqrt(2)
    root = math.sqrt(50 + 2 * 9)
    assert frechet_distance(real, real @ turn.T) == pytest.approx(20 - 2 * root, rel=1e-9)


def test_frechet_distance_of_one_feature_and_of_fewer_images_than_features() -> None:
    real, fake = with_moments([0], [1], seed=1), with_moments([2], [3], seed=2)
    assert frechet_distance(real, fake) == pytest.approx(4 + 4, rel=1e-9)
    few = draw(5, 20, seed=3)
    assert frechet_distance(few, few + 1) == pytest.approx(20, rel=1e-5)


class _Flat(nn.Module):
    num_features = 24

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def test_frechet_distance_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    mix = draw(24, 24, seed=9)
    real, fake = draw(400, 24, seed=1) @ mix, draw(300, 24, seed=2) + 0.3
    theirs = FrechetInceptionDistance(_Flat(), input_img_size=(1, 4, 6)).set_dtype(torch.float64)
    theirs.update(real.reshape(-1, 1, 4, 6).double(), real=True)
    theirs.update(fake.reshape(-1, 1, 4, 6).double(), real=False)
    assert frechet_distance(real, fake) == pytest.approx(theirs.compute().item(), rel=1e-6)


def test_kernel_distance_equals_double_sum_without_diagonal() -> None:
    x, y = draw(4, 3, seed=1).tolist(), draw(4, 3, seed=2).tolist()

    def kernel(a: list[float], b: list[float]) -> float:
        return (sum(p * q for p, q in zip(a, b, strict=True)) / 3 + 1) ** 3

    pairs = [(i, j) for i in range(4) for j in range(4) if i != j]
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs) / 12
    across = sum(kernel(a, b) for a in x for b in y) / 16
    mean = kernel_distance(torch.tensor(x), torch.tensor(y), num_subsets=1)
    assert mean == pytest.approx(within - 2 * across, rel=1e-5)


def test_kernel_distance_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.kid import KernelInceptionDistance

    real, fake = draw(300, 24, seed=1), draw(300, 24, seed=2) * 1.5
    theirs = KernelInceptionDistance(_Flat(), subsets=1, subset_size=300)
    theirs.update(real.reshape(-1, 1, 4, 6), real=True)
    theirs.update(fake.reshape(-1, 1, 4, 6), real=False)
    mean = kernel_distance(real, fake, num_subsets=1)
    assert mean == pytest.approx(theirs.compute()[0].item(), rel=1e-4)


def test_kernel_distance_of_equal_distributions_has_mean_zero() -> None:
    values = [
        kernel_distance(draw(200, 8, seed), draw(200, 8, seed + 100), num_subsets=1)
        for seed in range(40)
    ]
    estimates = torch.tensor(values)
    assert abs(estimates.mean()) < 3 * estimates.std() / math.sqrt(len(values))
    assert estimates.min() < 0 < estimates.max()


def test_kernel_distance_is_a_function_of_its_seed() -> None:
    real, fake = draw(90, 8, seed=1), draw(80, 8, seed=2)
    how = {"num_subsets": 5, "subset_size": 40}
    first, again, other = (kernel_distance(real, fake, seed=seed, **how) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize(
    "distance", [frechet_distance, lambda x, y: kernel_distance(x, y, num_subsets=5)]
)
def test_distances_grow_with_noise(distance) -> None:
    real, noise = draw(500, 16, seed=1), draw(500, 16, seed=2)
    values = [distance(real, real + amount * noise) for amount in (0.2, 0.4, 0.8, 1.6)]
    assert values == sorted(values)
    assert values[-1] > 4 * abs(values[0]) > 0


def test_equal_sets_have_distance_zero() -> None:
    real = draw(200, 16, seed=1)
    assert abs(frechet_distance(real, real)) < 1e-6
    assert precision_recall(real, real) == (1, 1)
    assert density_coverage(real, real)[1] == 1
    assert nearest_neighbours(real, [real])[0].abs().max() < 1e-2


def test_precision_and_recall_by_hand() -> None:
    # nearest-neighbour radii of real: 1, 1, 4, 4: [-1, 1] [0, 2] [6, 14] [10, 18] cover 1.5, 7, 13
    real, fake = line(0, 1, 10, 14), line(1.5, 4, 7, 13)
    # radii of fake: 2.5, 2.5, 3, 6: [-1, 4] [1.5, 6.5] [4, 10] [7, 19] cover all real points
    assert precision_recall(real, fake, k=1) == (0.75, 1.0)


def test_missing_mode_lowers_recall_and_coverage_but_not_precision() -> None:
    real = torch.cat([draw(200, 2, seed=1), draw(200, 2, seed=2) + 50])
    fake = draw(400, 2, seed=3)
    precision, recall = precision_recall(real, fake)
    assert precision > 0.9
    assert 0.4 < recall <= 0.5
    assert 0.4 < density_coverage(real, fake)[1] <= 0.5


def test_coverage_by_hand() -> None:
    # distances to the nearest other real point: 1, 1, 4, 4; to the nearest fake: 3, 2, 3, 1
    # radii 1, 1, 4, 4: only 13 is within those of 10 and 14
    assert density_coverage(line(0, 1, 10, 14), line(3, 13), k=1) == (1.0, 0.5)


def test_nearest_neighbours_across_blocks_of_rows() -> None:
    grid = torch.cartesian_prod(torch.arange(50.0), torch.arange(50.0)) + 1000  # (2500, 2)
    beside = grid + torch.tensor([0.25, 0])
    assert density_coverage(grid, beside, k=1)[1] == 1
    assert precision_recall(grid, beside, k=1) == (1, 1)
    found, index = nearest_neighbours(grid, beside.split(700))
    assert index.tolist() == list(range(2500))
    torch.testing.assert_close(found, torch.full((2500,), 0.25), atol=1e-3, rtol=0)


def test_nearest_neighbours_by_hand() -> None:
    queries, others = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[3.0, 4.0], [6.0, 8.0]])
    found, index = nearest_neighbours(queries, others.split(1))
    torch.testing.assert_close(found, torch.tensor([5.0, 0.0]))
    assert index.tolist() == [0, 0]


def test_class_divergence_from_uniform_by_hand() -> None:
    assert class_divergence(torch.tensor([0, 1, 2, 3] * 5), 4) == pytest.approx(0, abs=1e-12)
    assert class_divergence(torch.zeros(9, dtype=torch.long), 4) == pytest.approx(math.log(4))
    three_to_one = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert class_divergence(torch.tensor([1, 0, 0, 0]), 2) == pytest.approx(three_to_one)


def test_stacked_modes_and_their_divergence_by_hand() -> None:
    labels = stack_modes(torch.tensor([[0, 0, 7], [0, 0, 7], [9, 9, 9], [1, 2, 3]]))
    assert labels.tolist() == [7, 7, 999, 123]
    assert class_divergence(labels, 1000) == pytest.approx(
        0.5 * math.log(500) + 2 * 0.25 * math.log(250)
    )
    real = torch.tensor([7, 999, 123, 123])
    against_real = 0.5 * math.log(2) + 0.25 * math.log(1) + 0.25 * math.log(0.5)
    assert class_divergence(labels, 1000, real) == pytest.approx(against_real)
    assert class_divergence(torch.arange(1000), 1000) == pytest.approx(0, abs=1e-12)
    assert class_divergence(labels, 1000, real[:1]) == math.inf


def test_confident_share_by_hand() -> None:
    probabilities = torch.tensor([[0.95, 0.05], [0.5, 0.5], [0.1, 0.9], [0.0, 1.0]])
    assert confident_share(probabilities) == 0.5
    assert confident_share(probabilities, threshold=0.4) == 1


def test_inception_score_is_k_at_best_and_one_at_worst() -> None:
    sure = 100 * torch.eye(7).repeat(10, 1)
    assert inception_score(sure, num_splits=1) == pytest.approx(7)
    assert inception_score(sure[:1].expand(70, 7)) == pytest.approx(1)


def test_inception_score_agrees_with_torchmetrics() -> None:
    from torchmetrics.image.inception import InceptionScore

    theirs = InceptionScore(_Flat(), splits=1)
    logits = 2 * draw(200, 24, seed=1)
    theirs.update(logits.reshape(-1, 1, 4, 6))
    mean = inception_score(logits, num_splits=1)
    assert mean == pytest.approx(theirs.compute()[0].item(), rel=1e-5)
