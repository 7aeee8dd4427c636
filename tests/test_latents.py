"""Random streams: latents, labels, interpolation."""

import pytest
import torch

from gan.analysis.walk import interpolate
from gan.config.settings import ModelConfig
from gan.latents import draw_labels, draw_latents


@pytest.mark.parametrize("dist", ["normal", "uniform"])
def test_first_k_of_n_latents_equal_a_call_with_k(dist: str) -> None:
    many, few = (draw_latents(n, ModelConfig(z_dim=7, z_dist=dist), seed=3) for n in (50, 11))
    assert torch.equal(many[:11], few)


def test_latents_differ_by_seed_step_and_purpose() -> None:
    draws = [
        draw_latents(4, ModelConfig(z_dim=8), seed=seed, step=step, purpose=purpose)
        for seed, step, purpose in [
            (0, 0, "train"),
            (1, 0, "train"),
            (0, 1, "train"),
            (0, 0, "sample"),
        ]
    ]
    for i, one in enumerate(draws):
        assert all((one - other).abs().max() > 0.1 for other in draws[i + 1 :])


def test_latents_have_their_distribution() -> None:
    normal = draw_latents(2000, ModelConfig(z_dim=50), seed=0)
    assert abs(normal.mean()) < 0.013 and abs(normal.std() - 1) < 0.01  # 4 standard errors
    uniform = draw_latents(2000, ModelConfig(z_dim=50, z_dist="uniform"), seed=0)
    assert uniform.min() >= -1 and uniform.max() <= 1
    assert abs(uniform.mean()) < 0.008 and abs(uniform.var() - 1 / 3) < 0.01


def test_labels_cover_all_classes() -> None:
    labels = draw_labels(1000, 10, seed=0)
    assert labels is not None and labels.unique().tolist() == list(range(10))
    assert draw_labels(10, 0, seed=0) is None


def test_slerp_keeps_the_length_and_goes_through_the_middle() -> None:
    start, end = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    path = interpolate(start, end, 4, "normal")
    torch.testing.assert_close(path.norm(dim=1), torch.full((4,), 3.0))
    torch.testing.assert_close(path[0], start)
    torch.testing.assert_close(path[2], torch.tensor([3.0, 3.0]) / 2**0.5)


def test_opposite_latents_are_interpolated_linearly() -> None:
    path = interpolate(torch.tensor([1.0]), torch.tensor([-2.0]), 3, "normal")
    assert path.flatten().tolist() == pytest.approx([1, 0, -1])


def test_uniform_latents_are_interpolated_linearly() -> None:
    path = interpolate(torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 0.0]), 2, "uniform")
    torch.testing.assert_close(path, torch.tensor([[-1.0, 1.0], [0.0, 0.5]]))
