"""Transposed convolution by definition, its output size, and a layer that uses it.

Each input element multiplies the whole kernel, which gives a scaled copy of the kernel. The output
is the sum of all copies, each at its own position. PyTorch's function computes the same, faster.

Shapes: N batch, C channels in, F channels out, G groups, H x W input, K x L kernel, H' x W' output.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Pair = int | Sequence[int]


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """Maps (N, C, H, W) with a weight (C, F/G, K, L) and a bias (F,) to (N, F, H', W').

    Also accepts (C, H, W), or (H, W) with a weight (K, L); the result has as many dimensions as x.
    Raises ValueError, naming the argument, where `torch.nn.functional.conv_transpose2d` fails.
    """
    if x.ndim == weight.ndim == 2:
        batch, kernels = x[None, None], weight[None, None]
    else:
        batch, kernels = x[None] if x.ndim == 3 else x, weight
    _check_tensors(batch, kernels, bias, groups)
    stride, dilation = _pair("stride", stride, 1), _pair("dilation", dilation, 1)
    padding, extra = _pair("padding", padding, 0), _pair("output_padding", output_padding, 0)
    axes = zip(batch.shape[2:], kernels.shape[2:], stride, padding, extra, dilation, strict=True)
    height, width = (_full_size(*axis) for axis in axes)

    products = _multiply(batch, kernels, groups)  # (N, F, K, L, H, W)
    full = _scatter(products, (height, width), stride, dilation)  # (N, F, H' + 2p, W' + 2p)
    out = full[:, :, padding[0] : height - padding[0], padding[1] : width - padding[1]]
    if bias is not None:
        # under autocast the products are in half precision, the bias is not
        out = out + bias.to(out.dtype)[:, None, None]
    out = out.contiguous()  # so that .view() works, as on PyTorch's result
    return out.reshape(out.shape[4 - x.ndim :])


def output_size(
    size: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> int:
    """Returns the output's length along one axis (Dumoulin & Visin, 2016, relationship 14).

    The last copy of the kernel starts at (size - 1) * stride and is dilation * (kernel - 1) + 1
    long; padding removes elements at both ends, output_padding appends some at the far end.
    """
    last_start, copy_length = (size - 1) * stride, dilation * (kernel - 1) + 1
    return last_start + copy_length - 2 * padding + output_padding


class TransposedConv2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` computed by `conv_transpose2d` above: same arguments, same parameters.

    Calling it with `output_size` is not supported; pass `output_padding` to the constructor.
    """

    padding: tuple[int, int]  # nn.ConvTranspose2d's type also admits a string

    def forward(self, input: Tensor) -> Tensor:  # type: ignore[override]
        """Maps (N, C, H, W) or (C, H, W) to (N, F, H', W') or (F, H', W')."""
        return conv_transpose2d(
            input,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            groups=self.groups,
            dilation=self.dilation,
        )


def _multiply(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Multiplies every element of (N, C, H, W) by every kernel of its channel.

    Also sums over the input channels of a group: their products belong to the same output element.
    """
    x = x.unflatten(1, (groups, -1))  # (N, G, C/G, H, W)
    weight = weight.unflatten(0, (groups, -1))  # (G, C/G, F/G, K, L)
    return torch.einsum("ngchw,gcfkl->ngfklhw", x, weight).flatten(1, 2)


def _scatter(
    products: Tensor, size: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> Tensor:
    """Adds up products (N, F, K, L, H, W) to the output before padding, (N, F, *size).

    Element (i, j) times tap (k, m) belongs at (i * stride + k * dilation, j * stride + m *
    dilation). The loop runs over the few taps and places all elements of the image at once.
    """
    num_rows, num_columns, height, width = products.shape[2:]
    full = products.new_zeros((*products.shape[:2], *size))
    for k in range(num_rows):
        for m in range(num_columns):
            places = full[:, :, k * dilation[0] :: stride[0], m * dilation[1] :: stride[1]]
            places[:, :, :height, :width].add_(products[:, :, k, m])
    return full


def _pair(name: str, value: Pair, at_least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2 or not all(type(v) is int and v >= at_least for v in pair):
        raise ValueError(f"{name} must be an int or a pair of ints >= {at_least}; got {value!r}")
    return pair


def _full_size(
    size: int, kernel: int, stride: int, padding: int, output_padding: int, dilation: int
) -> int:
    """Returns the output's length along one axis before padding removes its ends."""
    if output_padding >= max(stride, dilation):
        raise ValueError(
            f"output_padding must be smaller than stride {stride} or dilation {dilation}; "
            f"got {output_padding}"
        )
    full = output_size(
        size, kernel, stride=stride, output_padding=output_padding, dilation=dilation
    )
    if full <= 2 * padding:
        raise ValueError(
            f"padding must be at most {(full - 1) // 2}, because the output without padding has "
            f"length {full}; got {padding}"
        )
    return full


def _check_tensors(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    if x.ndim != 4:
        raise ValueError(
            "x must be (N, C, H, W), (C, H, W), or (H, W) with a weight (K, L); "
            f"got {x.ndim} dimensions"
        )
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(
            f"weight must be a non-empty (C, F/groups, K, L); got {tuple(weight.shape)}"
        )
    num_in = weight.shape[0]
    if not isinstance(groups, int) or groups < 1 or num_in % groups:
        raise ValueError(f"groups must divide the {num_in} input channels; got {groups!r}")
    if x.shape[1] != num_in or 0 in x.shape[1:]:
        raise ValueError(
            f"x must have {num_in} channels, like weight, and a height and width of at least 1; "
            f"got {tuple(x.shape)}"
        )
    num_out = weight.shape[1] * groups
    if bias is not None and bias.shape != (num_out,):
        raise ValueError(f"bias must be ({num_out},); got {tuple(bias.shape)}")
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise ValueError(f"weight must have x's dtype {x.dtype}; got {weight.dtype}")
