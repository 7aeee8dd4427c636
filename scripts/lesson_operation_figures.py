"""The lesson's figures of the operation itself; the library computes every number in them."""

from pathlib import Path

import torch
from lesson_drawing import (
    BLUE,
    COPIES,
    FADED,
    GREEN,
    ORANGE,
    PALE,
    draw_arrow,
    draw_grid,
    new_page,
    outline,
    save_page,
    write,
)
from lesson_equal_computations import by_pixel_shuffle, convolution_matrix, insert_zeros
from torch import Tensor

from gan.nn.transposed_conv import conv_transpose2d

X = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
K = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
OF_ELEMENT = [[PALE[COPIES[0]], PALE[COPIES[1]]], [PALE[COPIES[2]], PALE[COPIES[3]]]]


def copies(x: Tensor, kernel: Tensor, stride: int) -> list[tuple[Tensor, Tensor]]:
    """Returns for each element of x (H, W) its copy and the cells it covers, both (H', W')."""
    results = []
    for index in range(x.numel()):
        one = torch.zeros(x.numel()).index_fill(0, torch.tensor(index), 1).view_as(x)
        own = conv_transpose2d(x * one, kernel, stride=stride)
        results.append((own, conv_transpose2d(one, torch.ones_like(kernel), stride=stride) > 0))
    return results


def draw_basic(path: Path) -> None:
    """Draws the 2x2 example as four copies of the kernel and their sum."""
    figure, ax = new_page(22, 9)
    draw_grid(ax, X, 6, 1.2, fills=OF_ELEMENT, title="input")
    draw_grid(ax, K, 11, 1.2, title="kernel")
    write(ax, 15.2, 2.2, "each input element\ntimes the whole kernel", ha="left")
    for index, (own, written) in enumerate(copies(X, K, 1)):
        left = 0.6 + 4.3 * index
        i, j = divmod(index, 2)
        draw_grid(
            ax,
            own.where(written, torch.nan),
            left,
            4.9,
            fills=paint(written, PALE[COPIES[index]]),
            title=f"{X[i, j]:g} × kernel at ({i}, {j})",
            size=13,
        )
        outline(ax, left + j, 4.9 + i, 2, 2, color=COPIES[index])
        write(ax, left + 3.65, 6.4, "+" if index < 3 else "=", size=17)
    draw_grid(ax, conv_transpose2d(X, K), 17.8, 4.9, title="output", size=13)
    write(ax, 11, 8.5, "the copy of input element (i, j) has its upper left corner at (i, j)")
    save_page(figure, path)


def paint(mask: Tensor, colour: str) -> list[list[str]]:
    """Returns the fill of each cell of mask (H, W): `colour` where it is true, else white."""
    return [[colour if inside else "white" for inside in row] for row in mask.tolist()]


def draw_padding(path: Path) -> None:
    """Draws the part of the 2x2 example's output that padding keeps."""
    figure, ax = new_page(20, 6)
    full = conv_transpose2d(X, K)
    for index, padding in enumerate([(0, 0), (0, 1), (1, 1)]):
        left = 2 + 6.5 * index
        kept = torch.zeros(3, 3, dtype=torch.bool)
        kept[padding[0] : 3 - padding[0], padding[1] : 3 - padding[1]] = True
        rest = conv_transpose2d(X, K, padding=padding)
        draw_grid(ax, full, left, 1.2, kept=kept, title=f"padding = {padding}", size=13)
        outline(ax, left + padding[1], 1.2 + padding[0], *rest.shape, color=BLUE)
        write(ax, left + 1.5, 5.1, f"output {rest.shape[0]} × {rest.shape[1]}")
    save_page(figure, path)


def draw_stride(path: Path) -> None:
    """Draws the 2x2 example's four copies at strides 1, 2 and 3."""
    figure, ax = new_page(21.5, 8.4)
    draw_grid(ax, X, 0.8, 1.6, fills=OF_ELEMENT, title="input")
    draw_grid(ax, K, 0.8, 5.2, title="kernel")
    left = 4.6
    for stride in (1, 2, 3):
        out = conv_transpose2d(X, K, stride=stride)
        side = len(out)
        fills = [["white"] * side for _ in range(side)]
        counts = sum(written.int() for _, written in copies(X, K, stride))
        for index, (_, written) in enumerate(copies(X, K, stride)):
            for i, j in (written & (counts == 1)).nonzero().tolist():
                fills[i][j] = PALE[COPIES[index]]
            i, j = divmod(index, 2)
            # overlapping frames would hide each other's lines
            inset = 0.04 * (index + 1) if stride == 1 else 0.04
            outline(ax, left + j * stride, 1.6 + i * stride, 2, 2, color=COPIES[index], inset=inset)
        draw_grid(ax, out, left, 1.6, fills=fills, title=f"stride = {stride}", size=13)
        left += side + 1.9
    write(
        ax,
        12.9,
        7.6,
        "frame: the copy of one input element; white: written by several elements or by none",
    )
    save_page(figure, path)


def draw_channels(path: Path) -> None:
    """Draws two input channels, two output channels, and a kernel for each pair of them."""
    x = torch.stack([X, torch.eye(2)])
    weight = torch.stack([torch.stack([K, torch.ones(2, 2)]), torch.stack([torch.ones(2, 2), K])])
    out = conv_transpose2d(x, weight)
    colours, rows = (BLUE, ORANGE), {(0, 0): 1.5, (1, 0): 5.2, (0, 1): 10.2, (1, 1): 13.9}
    figure, ax = new_page(22.5, 18)
    for left, heading in ((0.6, "input channels"), (8, "kernels"), (13, "products")):
        write(ax, left + (1.5 if left != 8 else 1), 0.5, heading, size=12)
    write(ax, 20, 0.5, "output channels", size=12)
    tops = (4.0, 11.0)
    for c, colour in enumerate(colours):
        draw_grid(ax, x[c], 0.6, tops[c], fills=PALE[colour], size=13)
        write(ax, 1.6, tops[c] + 2.5, f"x[{c}]")
    for (c, f), top in rows.items():
        product = conv_transpose2d(x[c], weight[c, f])
        draw_arrow(ax, (2.8, tops[c] + 1), (7.8, top + 1.5))
        draw_grid(ax, weight[c, f], 8, top + 0.5, fills=PALE[colours[c]], size=13)
        write(ax, 9, top + 3.0, f"weight[{c}, {f}]", size=10)
        draw_arrow(ax, (10.3, top + 1.5), (12.7, top + 1.5))
        draw_grid(ax, product, 13, top, fills=PALE[colours[c]], size=13)
        draw_arrow(ax, (16.2, top + 1.5), (18.3, (4.9, 13.6)[f] + (-0.5, 0.5)[c]))
    for f, top in enumerate((3.4, 12.1)):
        draw_grid(ax, out[f], 18.5, top, fills=PALE[GREEN], size=13)
        write(ax, 20, top + 3.5, f"output[{f}]: the sum")
    save_page(figure, path)


def draw_matrix(path: Path) -> None:
    """Draws a 3x3 convolution of 4x4 images as a matrix, and its transpose beside it."""
    kernel = torch.arange(1.0, 10).view(1, 1, 3, 3)
    matrix = convolution_matrix(kernel, (4, 4))
    figure, ax = new_page(24.5, 19.2)
    draw_grid(ax, kernel[0, 0], 7.3, 9.6, fills=PALE[ORANGE], title="kernel", size=13)
    for values, left, top, title in (
        (matrix, 0.8, 2.6, "convolution: 4 × 16, from 16 pixels to 4"),
        (matrix.T, 19.2, 2.6, "transposed: 16 × 4,\nfrom 4 pixels to 16"),
    ):
        fills = [["white" if v == 0 else PALE[ORANGE] for v in row] for row in values.tolist()]
        draw_grid(ax, values.where(values != 0, torch.nan), left, top, fills=fills)
        write(ax, left + values.shape[1] / 2, top - 1.2, title, size=12)
    links = (
        "a row of the left matrix: what one output pixel reads\n"
        "a column of the right matrix: where one input pixel writes\n"
        "the connections are the same, only their direction is reversed"
    )
    write(ax, 8.8, 14.4, links, size=12)
    draw_arrow(ax, (17.1, 4.6), (18.9, 4.6))
    write(ax, 18, 4.0, "transpose", size=10)
    save_page(figure, path)


def draw_zero_insertion(path: Path) -> None:
    """Draws a 3x3 input with zeros inserted for k4 s2 p1, and the window of the rotated kernel."""
    x = torch.arange(1.0, 10).view(3, 3)
    frame = 4 - 1 - 1
    spread = torch.nn.functional.pad(insert_zeros(x[None, None], (2, 2)), [frame] * 4)[0, 0]
    figure, ax = new_page(23, 11.4)
    draw_grid(ax, x, 0.6, 4.2, fills=PALE[BLUE], title="input", size=13)
    draw_arrow(ax, (4.0, 5.7), (6.0, 5.7))
    fills = [[PALE[BLUE] if v else FADED for v in row] for row in spread.tolist()]
    for i, j in insert_zeros(torch.ones(1, 1, 3, 3), (2, 2))[0, 0].eq(0).nonzero().tolist():
        fills[i + frame][j + frame] = "white"
    draw_grid(
        ax,
        spread,
        6.4,
        1.2,
        fills=fills,
        title="zeros between the elements, a frame of zeros around",
    )
    outline(ax, 8.4, 3.2, 4, 4, color=ORANGE)
    kernel = torch.arange(16.0).view(4, 4)
    draw_grid(ax, kernel.flip(0, 1), 17.4, 1.8, fills=PALE[ORANGE], title="kernel, rotated by 180°")
    write(ax, 19.4, 8.2, "an ordinary convolution,\nstride 1: the window reads\nevery 4 × 4 block")
    write(ax, 10.9, 10.8, "white: stride − 1 zeros;  grey: dilation · (kernel − 1) − padding zeros")
    save_page(figure, path)


def draw_pixel_shuffle(path: Path) -> None:
    """Draws how a 4x4 kernel splits into the four 3x3 kernels of the pixel shuffle."""
    kernel = torch.arange(1.0, 17).view(4, 4)
    figure, ax = new_page(24.5, 10.6)
    owners = torch.zeros(16, dtype=torch.int64)
    for kind in range(4):
        row, column = divmod(kind, 2)
        taps = kernel_of_kind(kernel, kind)
        owners[taps[taps > 0].long() - 1] = kind
        fills = [[PALE[COPIES[kind]] if t else "white" for t in r] for r in taps.tolist()]
        where = f"rows 2i{' + 1' * row}, columns 2j{' + 1' * column}"
        left, top = 8.0 + 5.9 * column, 1.4 + 5.2 * row
        draw_grid(ax, taps, left, top, fills=fills, title=where, size=13)
    by_owner = [[PALE[COPIES[kind]] for kind in row] for row in owners.view(4, 4).tolist()]
    draw_grid(ax, kernel, 0.8, 3.6, fills=by_owner, title="kernel 4 × 4", size=13)
    draw_arrow(ax, (5.1, 5.6), (7.1, 5.6))
    interleaved = torch.arange(4).view(2, 2).repeat(2, 2).tolist()
    fills = [[PALE[COPIES[kind]] for kind in row] for row in interleaved]
    draw_arrow(ax, (17.6, 5.6), (19.6, 5.6))
    draw_grid(ax, torch.full((4, 4), torch.nan), 19.9, 3.6, fills=fills, title="output")
    write(ax, 21.9, 8.5, "pixel shuffle:\nthe four results,\ninterleaved")
    save_page(figure, path)


def kernel_of_kind(kernel: Tensor, kind: int) -> Tensor:
    """Returns the 3x3 kernel with which `by_pixel_shuffle` computes the output pixels of one kind.

    If the input is 1 at one of the nine neighbours and 0 elsewhere, such a pixel equals one tap.
    """
    row, column = divmod(kind, 2)
    taps = torch.zeros(3, 3)
    for i in range(3):
        for j in range(3):
            x = torch.zeros(1, 1, 3, 3)
            x[0, 0, i, j] = 1
            taps[i, j] = by_pixel_shuffle(x, kernel[None, None])[0, 0, 2 + row, 2 + column]
    return taps


OPERATION_FIGURES = {
    "transposed_conv_basic.png": draw_basic,
    "transposed_conv_padding.png": draw_padding,
    "transposed_conv_stride.png": draw_stride,
    "transposed_conv_channels.png": draw_channels,
    "transposed_conv_matrix.png": draw_matrix,
    "transposed_conv_zero_insertion.png": draw_zero_insertion,
    "transposed_conv_pixel_shuffle.png": draw_pixel_shuffle,
}
