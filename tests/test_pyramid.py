"""Pyramid levels add up to the image; sliced Wasserstein distances grow with corruption."""

import math

import numpy as np
import pytest
import torch

from gan.metrics.pyramid import (
    enlarge,
    laplacian_levels,
    sample_patches,
    shrink,
    sliced_wasserstein,
)

CORRUPTIONS = {
    "noise": lambda images, amount: images + amount * 40 * np.random.default_rng(5).normal(
        size=images.shape
    ),
    "blur": lambda images, amount: images + amount * (_blurred(images) - images),
    "contrast": lambda images, amount: images * (1 - amount / 2),
    "shift": lambda images, amount: images + amount * 60,
}  # fmt: skip


def _blurred(images: np.ndarray) -> np.ndarray:
    for axis in (2, 3):
        images = (np.roll(images, 1, axis) + images + np.roll(images, -1, axis)) / 3
    return images


def squares(num: int, channels: int, height: int, width: int, seed: int) -> np.ndarray:
    """Draws uint8 images (N, C, H, W) of one filled square each, on grey noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(60, 90, (num, channels, height, width))
    for image in images:
        top, left = rng.integers(2, height - 8), rng.integers(2, width - 8)
        image[:, top : top + 6, left : left + 6] = rng.integers(150, 190, (channels, 1, 1))
    return images.astype(np.uint8)


def distance(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    return sliced_wasserstein(sample_patches(real, seed=1), sample_patches(fake, seed=1), seed=0)


@pytest.mark.parametrize(
    ("height", "width", "sides"),
    [
        (16, 16, [16]),
        (17, 40, [17]),
        (28, 28, [28, 14]),
        (32, 32, [32, 16]),
        (27, 33, [27, 14]),
        (64, 96, [64, 32, 16]),
        (128, 128, [128, 64, 32, 16]),
    ],
)
def test_levels_add_up_to_the_image(height: int, width: int, sides: list[int]) -> None:
    images = torch.rand(2, 3, height, width, dtype=torch.float64)
    levels = list(laplacian_levels(images))
    assert [min(level.shape[2:]) for level in levels] == sides
    whole = levels[-1]
    for level in reversed(levels[:-1]):
        whole = level + enlarge(whole, level.shape[2:])
    torch.testing.assert_close(whole, images)


def test_shrink_averages_with_binomial_weights() -> None:
    image = torch.zeros(1, 1, 17, 17, dtype=torch.float64)
    image[0, 0, 8, 8] = 256
    expected = torch.zeros(9, 9, dtype=torch.float64)
    # of the kernel [1 4 6 4 1] x [1 4 6 4 1] the even places, around pixel (4, 4) of the half
    expected[3:6, 3:6] = torch.tensor([[1, 6, 1], [6, 36, 6], [1, 6, 1]])
    torch.testing.assert_close(shrink(image)[0, 0], expected)


def test_constant_image_stays_constant_up_to_its_border() -> None:
    plain = torch.full((1, 3, 30, 21), 7.0)
    torch.testing.assert_close(shrink(plain), torch.full((1, 3, 15, 11), 7.0))
    torch.testing.assert_close(enlarge(shrink(plain), plain.shape[2:]), plain)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 17, 23), (1, 28, 28), (3, 32, 48)])
def test_equal_sets_have_distance_zero_and_other_samples_a_small_one(
    shape: tuple[int, int, int],
) -> None:
    real, other = squares(200, *shape, seed=1), squares(200, *shape, seed=2)
    assert set(distance(real, real).values()) == {0.0}
    assert 0 < distance(real, other)["mean"] < distance(real, 255 - real)["mean"] / 5


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_distance_grows_with_the_corruption(name: str, channels: int) -> None:
    real = squares(300, channels, 28, 28, seed=1)
    values = [
        distance(real, CORRUPTIONS[name](real, amount).clip(0, 255).astype(np.uint8))["mean"]
        for amount in (0.25, 0.5, 1.0)
    ]
    assert values == sorted(values)
    assert values[-1] > 2 * values[0] > 0


def test_distance_of_shifted_patches_equals_closed_form() -> None:
    # all D = 49 values shifted by c deviations: c E|sum of a random unit vector of D numbers|
    real = torch.randn(4000, 1, 7, 7, generator=torch.Generator().manual_seed(1))
    real = (real - real.mean()) / real.std()
    one = sliced_wasserstein({16: real}, {16: real + 0.5}, seed=0)
    mean_sum = 7 * math.gamma(24.5) / (math.sqrt(math.pi) * math.gamma(25))
    assert one["mean"] == pytest.approx(1000 * 0.5 * mean_sum, rel=0.15)
    two = sliced_wasserstein({16: real}, {16: real + 1}, seed=0)
    assert two["mean"] == pytest.approx(2 * one["mean"], rel=1e-4)


def test_fine_levels_measure_texture_and_coarse_ones_layout() -> None:
    real = squares(300, 1, 32, 32, seed=1)
    checkered = (real + 20 * (np.indices((32, 32)).sum(0) % 2) - 10).astype(np.uint8)
    texture, layout = distance(real, checkered), distance(real, real + 40)
    assert texture["32"] > 2 * texture["16"]
    assert layout["16"] > 2 * layout["32"]


def test_an_almost_constant_channel_does_not_outweigh_the_others() -> None:
    opaque = np.full((300, 1, 32, 32), 255, np.uint8)
    real, fake = (squares(300, 3, 32, 32, seed=seed) for seed in (1, 2))
    with_alpha = [np.concatenate([real, opaque], 1), np.concatenate([fake, opaque - 1], 1)]
    assert distance(*with_alpha)["mean"] < 2 * distance(real, fake)["mean"] + 1000


def test_images_below_16_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 16x16; got 15x20"):
        sample_patches(np.zeros((4, 1, 15, 20), np.uint8), seed=0)
