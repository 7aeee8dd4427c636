"""`conv_transpose2d` compared to PyTorch's function, to hand-written numbers and to the adjoint."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from gan.nn.transposed_conv import conv_transpose2d

EXACT = {"atol": 1e-12, "rtol": 0}
sweep = settings(max_examples=250, deadline=None, derandomize=True, database=None)
small = st.integers(1, 3)


@st.composite
def calls(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor | None, dict]:
    """Draws (x, weight, bias, arguments) that PyTorch accepts, covering every argument."""
    groups, batch = draw(small), draw(small)
    size, kernel = draw(pairs(1, 5)), draw(pairs(1, 5))
    stride, dilation = draw(pairs(1, 4)), draw(pairs(1, 3))
    extra = tuple(
        draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
    )
    full = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, k, s, d, e in zip(size, kernel, stride, dilation, extra, strict=True)
    ]
    padding = tuple(draw(st.integers(0, min(4, (n - 1) // 2))) for n in full)
    torch.manual_seed(draw(st.integers(0, 2**31)))
    num_in, num_out = groups * draw(small), draw(small)
    x = torch.randn(batch, num_in, *size, dtype=torch.float64)
    weight = torch.randn(num_in, num_out, *kernel, dtype=torch.float64)
    bias = torch.randn(groups * num_out, dtype=torch.float64) if draw(st.booleans()) else None
    arguments = {
        "stride": stride,
        "padding": padding,
        "output_padding": extra,
        "groups": groups,
        "dilation": dilation,
    }
    return x[0] if draw(st.booleans()) else x, weight, bias, arguments


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@sweep
@given(calls())
def test_forward_and_gradients_equal_pytorch_in_float64(call: tuple) -> None:
    x, weight, bias, arguments = call
    leaves = [t.requires_grad_() for t in (x, weight, bias) if t is not None]
    ours = conv_transpose2d(x, weight, bias, **arguments)
    theirs = functional.conv_transpose2d(x, weight, bias, **arguments)
    torch.testing.assert_close(ours, theirs, **EXACT)
    upstream = torch.randn_like(theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, leaves, upstream),
        torch.autograd.grad(theirs, leaves, upstream),
        **EXACT,
    )


@sweep
@given(calls())
def test_result_is_the_adjoint_of_the_convolution_with_the_same_weight(call: tuple) -> None:
    z, weight, _, arguments = call
    z = z[None] if z.ndim == 3 else z
    up = conv_transpose2d(z, weight, **arguments)
    x = torch.randn_like(up)
    del arguments["output_padding"]
    down = functional.conv2d(x, weight, **arguments)
    # an output_padding of a whole stride or more adds windows that have no element in z
    down = down[:, :, : z.shape[2], : z.shape[3]]
    torch.testing.assert_close((down * z).sum(), (x * up).sum(), atol=1e-11, rtol=0)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"stride": 2, "padding": 1},
        {"stride": (2, 3), "padding": (0, 1), "output_padding": (1, 0), "groups": 2},
        {"stride": 2, "dilation": (3, 2), "output_padding": (2, 1), "padding": 2},
    ],
)
def test_first_and_second_derivatives_equal_finite_differences(arguments: dict) -> None:
    torch.manual_seed(0)
    x, weight, bias = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 2, 2, 3), (2, 1, 3, 2), (arguments.get("groups", 1),))
    )
    call = (lambda *tensors: conv_transpose2d(*tensors, **arguments)), (x, weight, bias)
    assert torch.autograd.gradcheck(*call)
    assert torch.autograd.gradgradcheck(*call)


X = torch.tensor([[0, 1], [2, 3]])
ONES = torch.ones(2, 2, dtype=torch.int64)
EYE = torch.eye(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [[0, 0, 1], [0, 4, 6], [4, 12, 9]]),
        ({"padding": 1}, [[4]]),
        ({"padding": (0, 1)}, [[0], [4], [12]]),
        ({"stride": 2}, [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]]),
        ({"stride": (1, 2)}, [[0, 0, 0, 1], [0, 2, 2, 6], [4, 6, 6, 9]]),
        ({"dilation": 2}, [[0, 0, 0, 1], [0, 0, 2, 3], [0, 2, 0, 3], [4, 6, 6, 9]]),
        (
            {"stride": 2, "padding": 1, "output_padding": 1},
            [[0, 2, 3], [2, 0, 3], [6, 6, 9]],
        ),
        ({"bias": torch.tensor([10])}, [[10, 10, 11], [10, 14, 16], [14, 22, 19]]),
    ],
)
def test_one_channel_gives_the_hand_written_numbers(arguments: dict, expected: list) -> None:
    assert conv_transpose2d(X, X, **arguments).tolist() == expected


def test_output_padding_without_padding_adds_zeros_at_the_far_ends() -> None:
    expected = [[0, 0, 0, 1, 0], [0, 0, 2, 3, 0], [0, 2, 0, 3, 0], [4, 6, 6, 9, 0], [0] * 5]
    assert conv_transpose2d(X, X, stride=2, output_padding=1).tolist() == expected


def test_two_channels_give_the_hand_written_numbers() -> None:
    x = torch.stack([X, EYE])
    weight = torch.stack([torch.stack([X, ONES]), torch.stack([ONES, X])])
    assert conv_transpose2d(x, weight).tolist() == [
        [[1, 1, 1], [1, 6, 7], [4, 13, 10]],
        [[0, 2, 1], [4, 9, 5], [2, 7, 6]],
    ]


def test_groups_are_computed_independently() -> None:
    x, weight = torch.stack([X, EYE]), torch.stack([X, ONES])[:, None]
    assert conv_transpose2d(x, weight, groups=2).tolist() == [
        [[0, 0, 1], [0, 4, 6], [4, 12, 9]],
        [[1, 1, 0], [1, 2, 1], [0, 1, 1]],
    ]


W = torch.zeros(4, 2, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": 0}, "stride must be an int or a pair of ints >= 1; got 0"),
        ({"stride": (2, 2, 2)}, "stride must be an int or a pair"),
        ({"stride": 2.0}, "stride must be an int or a pair"),
        ({"padding": -1}, "padding must be an int or a pair of ints >= 0; got -1"),
        ({"padding": (0, 3)}, "padding must be at most 2, because the .* has length 5; got 3"),
        ({"output_padding": 1}, "output_padding must be smaller than stride 1 or dilation 1"),
        ({"output_padding": -1}, "output_padding must be an int or a pair of ints >= 0"),
        ({"dilation": 0}, "dilation must be an int or a pair of ints >= 1; got 0"),
        ({"groups": 3}, "groups must divide the 4 input channels; got 3"),
        ({"groups": 0}, "groups must divide"),
        ({"bias": torch.zeros(3)}, r"bias must be \(2,\); got \(3,\)"),
        ({"weight": W[0]}, r"weight must be a non-empty \(C, F/groups, K, L\); got"),
        ({"weight": W[:, :, :0]}, "weight must be a non-empty"),
        ({"weight": W[:2]}, "x must have 2 channels, like weight"),
        ({"weight": W.double()}, "weight must have x's dtype torch.float32; got torch.float64"),
        ({"x": torch.zeros(3, 3)}, r"x must be \(N, C, H, W\), \(C, H, W\), or .* got 2 dim"),
        ({"x": torch.zeros(1, 4, 0, 3)}, "a height and width of at least 1"),
    ],
)
def test_error_names_the_argument_and_the_allowed_values(arguments: dict, message: str) -> None:
    arguments = {"x": torch.zeros(1, 4, 3, 3), "weight": W} | arguments
    with pytest.raises(ValueError, match=message):
        conv_transpose2d(**arguments)
    with pytest.raises((RuntimeError, TypeError)):
        functional.conv_transpose2d(arguments.pop("x"), **arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_other_dtypes_equal_pytorch_within_their_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 4, 4, dtype=dtype), torch.randn(3, 2, 4, 4, dtype=dtype)
    ours = conv_transpose2d(x, weight, stride=2, padding=1)
    theirs = functional.conv_transpose2d(x, weight, stride=2, padding=1)
    assert ours.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(ours, theirs, atol=32 * eps, rtol=8 * eps)
