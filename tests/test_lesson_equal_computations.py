"""The lesson's other ways to compute a transposed convolution, compared to PyTorch's function."""

import pytest
import torch
from lesson_equal_computations import (
    by_matrix,
    by_pixel_shuffle,
    by_zero_insertion,
    convolution_matrix,
    insert_zeros,
)
from torch import Tensor
from torch.nn import functional

EXACT = {"atol": 1e-12, "rtol": 0}
SETTINGS = [
    {},
    {"stride": (2, 2), "padding": (1, 1)},
    {"stride": (3, 1), "output_padding": (2, 0)},
    {"stride": (2, 3), "dilation": (3, 1), "padding": (1, 2), "output_padding": (1, 2)},
    {"stride": (4, 4), "padding": (5, 4), "output_padding": (3, 1)},
]


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("settings", SETTINGS)
def test_zero_insertion_equals_pytorch(settings: dict, groups: int) -> None:
    x, weight = random(2, 4, 4, 5), random(4, 3, 3, 4, seed=1)
    theirs = functional.conv_transpose2d(x, weight, **settings, groups=groups)
    ours = by_zero_insertion(x, weight, **settings, groups=groups)
    torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("settings", SETTINGS)
def test_transposed_matrix_equals_pytorch(settings: dict) -> None:
    x, weight = random(2, 4, 4, 5), random(4, 3, 3, 4, seed=1)
    theirs = functional.conv_transpose2d(x, weight, **settings)
    torch.testing.assert_close(by_matrix(x, weight, **settings), theirs, **EXACT)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_matrix_computes_the_convolution(stride: int) -> None:
    image, weight = random(2, 3, 5, 6), random(4, 3, 3, 2, seed=1)
    matrix = convolution_matrix(weight, (5, 6), stride=(stride, stride), padding=(1, 0))
    theirs = functional.conv2d(image, weight, stride=stride, padding=(1, 0))
    torch.testing.assert_close(image.flatten(1) @ matrix.T, theirs.flatten(1), **EXACT)


def test_matrix_rejects_output_padding_that_adds_a_window() -> None:
    with pytest.raises(ValueError, match="output_padding must be less than stride"):
        by_matrix(random(1, 1, 2, 2), random(1, 1, 2, 2), dilation=(3, 3), output_padding=(1, 1))


def test_pixel_shuffle_equals_pytorch() -> None:
    x, weight = random(2, 5, 3, 4), random(5, 3, 4, 4, seed=1)
    theirs = functional.conv_transpose2d(x, weight, stride=2, padding=1)
    torch.testing.assert_close(by_pixel_shuffle(x, weight), theirs, **EXACT)


def test_pixel_shuffle_rejects_other_kernel_sizes() -> None:
    with pytest.raises(ValueError, match=r"weight must be \(C, F, 4, 4\); got \(1, 1, 3, 3\)"):
        by_pixel_shuffle(random(1, 1, 2, 2), random(1, 1, 3, 3))


def test_zeros_are_inserted_between_the_elements() -> None:
    x = torch.tensor([[[[1, 2], [3, 4]]]])
    expected = [[1, 0, 0, 2], [0, 0, 0, 0], [3, 0, 0, 4]]
    assert insert_zeros(x, (2, 3))[0, 0].tolist() == expected
