"""Transposed convolution by definition, its sizes, and a layer that runs on it.

An input element times the kernel is a small image; the output is the sum of all of them, each added
where it belongs. The helpers of `conv_transpose2d` follow that sentence: `_multiply` (channels and
groups), `_scatter` (stride, dilation, output_padding), `_trim` (padding).

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

    Also takes (C, H, W), and a plain (H, W) with a plain kernel (K, L); the result has as many
    dimensions. Raises ValueError where PyTorch's function refuses, naming the argument.
    """
    if x.ndim == 2 and weight.ndim == 2:
        batch, kernels = x[None, None], weight[None, None]
    else:
        batch, kernels = x[None] if x.ndim == 3 else x, weight
    stride = _pair("stride", stride, at_least=1)
    padding = _pair("padding", padding, at_least=0)
    output_padding = _pair("output_padding", output_padding, at_least=0)
    dilation = _pair("dilation", dilation, at_least=1)
    _check_tensors(batch, kernels, bias, groups)
    _check_axes(batch, kernels, stride, padding, output_padding, dilation)

    products = _multiply(batch, kernels, groups)  # (N, F, K, L, H, W)
    canvas = _scatter(products, stride, dilation, output_padding)  # (N, F, H' + 2p, W' + 2p)
    out = _trim(canvas, padding)  # (N, F, H', W')
    if bias is not None:
        # under autocast the products are in half precision and the bias is not
        out = out + bias.to(out.dtype)[:, None, None]
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
    long; padding removes from both ends, output_padding adds at the far one.
    """
    reach = dilation * (kernel - 1) + 1
    return (size - 1) * stride + reach - 2 * padding + output_padding


def output_padding_for(
    size: int, wanted: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Returns the output_padding that turns `size` elements of an axis into `wanted`.

    Raises ValueError, naming the lengths that can be had, if none does.
    """
    shortest = output_size(size, kernel, stride=stride, padding=padding, dilation=dilation)
    longest = shortest + max(stride, dilation) - 1
    if not shortest <= wanted <= longest:
        raise ValueError(
            f"output_size must be from {shortest} to {longest} for an input of {size}; got {wanted}"
        )
    return wanted - shortest


def overlap_counts(
    kernel: Pair,
    stride: Pair,
    *,
    input_size: Pair = 8,
    padding: Pair = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
) -> Tensor:
    """Returns (H', W') integers: how many products are added into each element of the output.

    Unequal counts away from the border force a checkerboard (Odena et al., 2016).
    """
    ones = torch.ones(_pair("input_size", input_size, at_least=1), dtype=torch.int64)
    taps = torch.ones(_pair("kernel", kernel, at_least=1), dtype=torch.int64)
    return conv_transpose2d(
        ones,
        taps,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )


class TransposedConv2d(nn.ConvTranspose2d):
    """A drop-in for its parent, with the parent's parameters and `conv_transpose2d` above."""

    padding: tuple[int, int]  # the parent of the parent allows a string as well

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Maps (N, C, H, W) or (C, H, W) to (N, F, H', W') or (F, H', W').

        `output_size` (H', W'), with or without the leading dimensions, chooses output_padding.
        """
        output_padding = self.output_padding
        if output_size is not None:
            output_padding = self._output_padding_for(input, output_size)
        return conv_transpose2d(
            input,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=output_padding,
            groups=self.groups,
            dilation=self.dilation,
        )

    def _output_padding_for(self, x: Tensor, wanted: Sequence[int]) -> tuple[int, int]:
        if len(wanted) not in (2, x.ndim):
            raise ValueError(f"output_size must have 2 or {x.ndim} elements; got {tuple(wanted)}")
        height, width = (
            output_padding_for(size, goal, kernel=k, stride=s, padding=p, dilation=d)
            for size, goal, k, s, p, d in zip(
                x.shape[-2:],
                wanted[-2:],
                self.kernel_size,
                self.stride,
                self.padding,
                self.dilation,
                strict=True,
            )
        )
        return height, width


def _multiply(x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Multiplies every element of (N, C, H, W) with every kernel that its channel has.

    There is a kernel for each pair of an input and an output channel of a group; an output channel
    sums over its inputs, here, because all their products land in the same place anyway.
    """
    x = x.unflatten(1, (groups, -1))  # (N, G, C/G, H, W)
    weight = weight.unflatten(0, (groups, -1))  # (G, C/G, F/G, K, L)
    return torch.einsum("ngchw,gcfkl->ngfklhw", x, weight).flatten(1, 2)


def _scatter(
    products: Tensor, stride: tuple[int, int], dilation: tuple[int, int], extra: tuple[int, int]
) -> Tensor:
    """Adds products (N, F, K, L, H, W) into the output before padding, `extra` rows longer.

    Element (i, j) times tap (k, l) belongs at (i * stride + k * dilation, j * stride + l *
    dilation). The loop is over the few taps; all elements of the image take their place at once.
    """
    num_rows, num_columns, height, width = products.shape[2:]
    canvas_height, canvas_width = (
        output_size(size, kernel, stride=s, dilation=d, output_padding=e)
        for size, kernel, s, d, e in zip(
            (height, width), (num_rows, num_columns), stride, dilation, extra, strict=True
        )
    )
    canvas = products.new_zeros((*products.shape[:2], canvas_height, canvas_width))
    for k in range(num_rows):
        for m in range(num_columns):
            rows = _every(stride[0], k * dilation[0], height)
            columns = _every(stride[1], m * dilation[1], width)
            canvas[:, :, rows, columns] += products[:, :, k, m]
    return canvas


def _every(step: int, start: int, count: int) -> slice:
    return slice(start, start + (count - 1) * step + 1, step)


def _trim(canvas: Tensor, padding: tuple[int, int]) -> Tensor:
    height, width = canvas.shape[2:]
    inside = canvas[:, :, padding[0] : height - padding[0], padding[1] : width - padding[1]]
    # a copy, so that .view() works on the result as it does on PyTorch's
    return inside.contiguous()


def _pair(name: str, value: Pair, *, at_least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(pair) != 2 or not all(type(v) is int and v >= at_least for v in pair):
        raise ValueError(f"{name} must be an int or a pair of ints >= {at_least}; got {value!r}")
    return pair


def _check_tensors(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    if x.ndim != 4:
        raise ValueError(
            "x must be (N, C, H, W), (C, H, W), or (H, W) with a 2-d weight; "
            f"got {x.ndim} dimensions"
        )
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(
            f"weight must be (C, F/groups, K, L), none of them 0; got {tuple(weight.shape)}"
        )
    if not isinstance(groups, int) or groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"groups must divide the {weight.shape[0]} input channels of weight; got {groups!r}"
        )
    if x.shape[1] != weight.shape[0] or 0 in x.shape[1:]:
        raise ValueError(
            f"x must have {weight.shape[0]} channels, as weight has, and no empty height or width; "
            f"got {tuple(x.shape)}"
        )
    num_out = weight.shape[1] * groups
    if bias is not None and bias.shape != (num_out,):
        raise ValueError(f"bias must be ({num_out},); got {tuple(bias.shape)}")
    if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
        raise ValueError(f"weight must have x's dtype {x.dtype}; got {weight.dtype}")


def _check_axes(x: Tensor, weight: Tensor, *settings: tuple[int, int]) -> None:
    axes = zip(x.shape[2:], weight.shape[2:], *settings, strict=True)
    for size, kernel, stride, padding, output_padding, dilation in axes:
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
                f"padding must be at most {(full - 1) // 2}, to leave some of {full} elements; "
                f"got {padding}"
            )
