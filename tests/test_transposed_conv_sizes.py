"""The sizes and overlaps of a transposed convolution, by enumeration and by hand."""

import itertools

import pytest
import torch
from torch.nn import functional

from gan.nn.transposed_conv import (
    conv_transpose2d,
    output_padding_for,
    output_size,
    overlap_counts,
)


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_size_formula_is_pytorchs_for_every_setting(stride: int, dilation: int) -> None:
    wrong, num_settings = [], 0
    for n, k, p, e in itertools.product(
        range(1, 8), range(1, 7), range(4), range(max(stride, dilation))
    ):
        predicted = output_size(n, k, stride=stride, padding=p, output_padding=e, dilation=dilation)
        if predicted < 1:
            continue
        num_settings += 1
        x, weight = torch.empty(1, 1, n), torch.empty(1, 1, k)
        true = functional.conv_transpose1d(x, weight, None, stride, p, e, 1, dilation).shape[2]
        if predicted != true:
            wrong.append((n, k, p, e))
    assert num_settings > 100
    assert wrong == []


def test_same_settings_restore_the_shape_unless_the_stride_leaves_a_remainder() -> None:
    fitting = [
        (n, k, s, p)
        for n, k, s, p in itertools.product(range(3, 17), range(1, 6), range(1, 5), range(5))
        if k <= n + 2 * p
    ]
    failing, unrestored = [], []
    for n, k, s, p in fitting:
        image, weight = torch.empty(1, 1, n, n, device="meta"), torch.empty(1, 1, k, k)
        size = functional.conv2d(image, weight.to("meta"), stride=s, padding=p).shape[2]
        if output_size(size, k, stride=s, padding=p) != n:
            failing.append((n, k, s, p))
        extra = output_padding_for(size, n, kernel=k, stride=s, padding=p)
        back = conv_transpose2d(
            torch.empty(1, 1, size, size), weight, stride=s, padding=p, output_padding=extra
        )
        if back.shape[2] != n or extra != (n + 2 * p - k) % s:
            unrestored.append((n, k, s, p))
    assert failing == [(n, k, s, p) for n, k, s, p in fitting if (n + 2 * p - k) % s]
    assert (len(failing), len(fitting)) == (664, 1388)
    assert unrestored == []


@pytest.mark.parametrize("wanted", [3, 6])
def test_output_padding_for_names_the_lengths_that_can_be_had(wanted: int) -> None:
    with pytest.raises(ValueError, match=f"from 4 to 5 for an input of 2; got {wanted}"):
        output_padding_for(2, wanted, kernel=4, stride=2, padding=1)


@pytest.mark.parametrize(("kernel", "counts"), [(3, {1, 2, 4}), (4, {4}), (5, {4, 6, 9}), (6, {9})])
def test_overlap_at_stride_2_takes_the_known_values_inside(kernel: int, counts: set) -> None:
    inside = overlap_counts(kernel, 2, input_size=10)[kernel:-kernel, kernel:-kernel]
    assert set(inside.flatten().tolist()) == counts


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"kernel": (1, 3), "stride": (1, 2), "input_size": (1, 3)}, [[1, 1, 2, 1, 2, 1, 1]]),
        (
            {"kernel": (1, 4), "stride": (1, 2), "input_size": (1, 3), "padding": (0, 1)},
            [[1, 2, 2, 2, 2, 1]],
        ),
    ],
)
def test_overlap_is_counted_up_to_the_border(arguments: dict, expected: list) -> None:
    assert overlap_counts(**arguments).tolist() == expected
