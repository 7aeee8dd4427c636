"""The output size of a transposed convolution, compared to PyTorch's for many settings."""

import itertools

import pytest
import torch
from torch.nn import functional

from gan.nn.transposed_conv import conv_transpose2d, output_size


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_output_size_equals_pytorchs_for_every_setting(stride: int, dilation: int) -> None:
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


def test_the_shape_is_restored_if_output_padding_is_the_remainder_of_the_stride() -> None:
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
        small, remainder = torch.empty(1, 1, size, size), (n + 2 * p - k) % s
        back = conv_transpose2d(small, weight, stride=s, padding=p, output_padding=remainder)
        if back.shape[2] != n:
            unrestored.append((n, k, s, p))
    assert failing == [(n, k, s, p) for n, k, s, p in fitting if (n + 2 * p - k) % s]
    assert (len(failing), len(fitting)) == (664, 1388)
    assert unrestored == []
