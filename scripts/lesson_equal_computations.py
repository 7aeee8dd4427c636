"""Three other ways to compute a transposed convolution, and why each gives the same result.

Shapes: N batch, C channels in, F channels out, G groups, H x W input, K x L kernel, H' x W' output.
"""

import torch
from torch import Tensor
from torch.nn import functional

from gan.nn.transposed_conv import output_size

Size = tuple[int, int]


def by_zero_insertion(
    x: Tensor,
    weight: Tensor,
    *,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    output_padding: Size = (0, 0),
    groups: int = 1,
    dilation: Size = (1, 1),
) -> Tensor:
    """Maps (N, C, H, W) to (N, F, H', W') by an ordinary convolution of `insert_zeros(x)`.

    Each output element collects its contributions instead of receiving them. An input element to
    its upper left contributes through a lower right tap, so the kernel has to be flipped.
    """
    spread = insert_zeros(x, stride)
    kernels = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)  # (F, C/G, K, L)
    reach_h, reach_w = (d * (k - 1) for k, d in zip(weight.shape[2:], dilation, strict=True))
    # a padding larger than the kernel's reach gives a negative width, and pad() then crops
    framed = functional.pad(
        spread,
        (
            reach_w - padding[1],
            reach_w - padding[1] + output_padding[1],
            reach_h - padding[0],
            reach_h - padding[0] + output_padding[0],
        ),
    )
    return functional.conv2d(framed, kernels.flip(2, 3), dilation=dilation, groups=groups)


def insert_zeros(x: Tensor, stride: Size) -> Tensor:
    """Inserts stride - 1 zeros between neighbours: (N, C, H, W) to (N, C, (H - 1)s + 1, ...)."""
    height, width = x.shape[2:]
    spread = x.new_zeros((*x.shape[:2], (height - 1) * stride[0] + 1, (width - 1) * stride[1] + 1))
    spread[:, :, :: stride[0], :: stride[1]] = x
    return spread


def convolution_matrix(
    weight: Tensor,
    image_size: Size,
    *,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    dilation: Size = (1, 1),
) -> Tensor:
    """Returns the convolution of H' x W' images as a matrix (C * H * W, F * H' * W').

    The weight is (C, F, K, L). A row holds the kernels at the pixels that one output element reads,
    and zeros at all other pixels of the flattened image.
    """
    num_rows, num_columns, kernel_h, kernel_w = weight.shape
    tall, wide = image_size
    axes = zip(image_size, (kernel_h, kernel_w), stride, padding, dilation, strict=True)
    height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)
    matrix = weight.new_zeros((num_rows, height, width, num_columns, tall, wide))
    for i in range(height):
        for j in range(width):
            for k in range(kernel_h):
                for m in range(kernel_w):
                    row = i * stride[0] + k * dilation[0] - padding[0]
                    column = j * stride[1] + m * dilation[1] - padding[1]
                    if 0 <= row < tall and 0 <= column < wide:
                        matrix[:, i, j, :, row, column] = weight[:, :, k, m]
    return matrix.reshape(num_rows * height * width, num_columns * tall * wide)


def by_matrix(
    x: Tensor,
    weight: Tensor,
    *,
    stride: Size = (1, 1),
    padding: Size = (0, 0),
    output_padding: Size = (0, 0),
    dilation: Size = (1, 1),
) -> Tensor:
    """Maps (N, C, H, W) to (N, F, H', W') by the transpose of a convolution's matrix.

    Each tap connects the same pairs of elements in both operations: the convolution reads the
    larger image through it, the transposed convolution writes to it. Raises ValueError if
    output_padding reaches the stride: that image has more windows than x has elements.
    """
    if not all(e < s for e, s in zip(output_padding, stride, strict=True)):
        raise ValueError(f"output_padding must be less than stride {stride}; got {output_padding}")
    axes = zip(
        x.shape[2:], weight.shape[2:], stride, padding, output_padding, dilation, strict=True
    )
    tall, wide = (
        output_size(n, k, stride=s, padding=p, output_padding=e, dilation=d)
        for n, k, s, p, e, d in axes
    )
    matrix = convolution_matrix(
        weight, (tall, wide), stride=stride, padding=padding, dilation=dilation
    )
    return (x.flatten(1) @ matrix).view(len(x), weight.shape[1], tall, wide)


def by_pixel_shuffle(x: Tensor, weight: Tensor) -> Tensor:
    """Maps (N, C, H, W) with a weight (C, F, 4, 4) to (N, F, 2H, 2W) at stride 2 and padding 1.

    Even and odd rows and columns of the output use different taps. Each of the four combinations
    is a convolution with its own four taps, here in a 3x3 kernel (Shi et al., 2016, 1609.07009).
    """
    if weight.shape[2:] != (4, 4):
        raise ValueError(f"weight must be (C, F, 4, 4); got {tuple(weight.shape)}")
    padded = functional.pad(weight, (0, 1, 0, 1))  # tap 4 is zero
    # for an even and an odd output: the taps of the previous, the same and the next input element
    taps = torch.tensor([[3, 1, 4], [4, 2, 0]], device=weight.device)
    parities = padded[:, :, taps[:, None, :, None], taps[None, :, None, :]]  # (C, F, 2, 2, 3, 3)
    kernels = parities.flatten(1, 3).transpose(0, 1)  # (4F, C, 3, 3)
    return functional.pixel_shuffle(functional.conv2d(x, kernels, padding=1), 2)
