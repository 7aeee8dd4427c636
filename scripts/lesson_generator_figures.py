"""The lesson's figures of what transposed convolutions do to images."""

from pathlib import Path

import torch
from lesson_drawing import (
    BLUE,
    FADED,
    INK,
    ORANGE,
    PALE,
    draw_arrow,
    new_page,
    save_page,
    show_image,
    write,
)
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn import functional

from gan.nn.transposed_conv import conv_transpose2d

# (channels out, kernel, stride, padding) of the 64-pixel generator, from (N, 100, 1, 1)
GENERATOR = ((512, 4, 1, 0), (256, 4, 2, 1), (128, 4, 2, 1), (64, 4, 2, 1), (3, 4, 2, 1))


def draw_not_inverse(path: Path) -> None:
    """Draws a ring, its convolution, and the transposed convolution of that."""
    steps = torch.arange(32.0) - 15.5
    radius = (steps[:, None] ** 2 + steps[None] ** 2).sqrt()
    image = ((radius > 7) & (radius < 11)).float()
    kernel = torch.full((1, 1, 4, 4), 1 / 4)
    down = functional.conv2d(image[None, None], kernel / 4, stride=2, padding=1)
    back = conv_transpose2d(down, kernel, stride=2, padding=1)[0, 0]
    figure, axes = plt.subplots(1, 3, figsize=(9.2, 3.6), layout="constrained")
    show_image(axes[0], image, "x\n32 × 32", low=0, high=1)
    show_image(axes[1], down[0, 0], "convolution of x\n16 × 16", low=0, high=1)
    show_image(axes[2], back, "transposed convolution of that\n32 × 32", low=0, high=1)
    save_page(figure, path)


def propagate(first: int, start: Tensor) -> Tensor:
    """Returns the (64, 64) image of a map (H, W): the layers from `first` on, with weights of 1."""
    for _, kernel, stride, padding in GENERATOR[first:]:
        start = conv_transpose2d(start, torch.ones(kernel, kernel), stride=stride, padding=padding)
    return start


def footprint(layer: int, size: int) -> Tensor:
    """Returns (64, 64) booleans: the pixels that the middle of a layer's input reaches."""
    start = torch.zeros(size, size)
    start[size // 2, size // 2] = 1
    return propagate(layer, start) > 0


def sources(layer: int, size: int) -> int:
    """Returns the side of the largest square in a layer's input that one pixel depends on."""
    start = torch.zeros(size, size, requires_grad=True)
    middle_row = propagate(layer, start)[32]
    widths = [
        int((torch.autograd.grad(pixel, start, retain_graph=True)[0] > 0).any(0).sum())
        for pixel in middle_row
    ]
    return max(widths)


def draw_generator(path: Path) -> None:
    """Draws the feature maps of the 64-pixel generator and the pixels that one element reaches."""
    figure, ax = new_page(27.6, 15.6)
    channels = [100, *(layer[0] for layer in GENERATOR)]
    x = torch.zeros(1, 1)
    for index, count in enumerate(channels):
        middle, size = 2.4 + 4.5 * index, len(x)
        draw_square(ax, middle, 3.0, 0.35 + size * 2.9 / 64, BLUE)
        write(ax, middle, 5.5, f"{count} × {size} × {size}", size=12)
        if index < len(GENERATOR):
            _, kernel, stride, padding = GENERATOR[index]
            draw_arrow(ax, (middle + 1.8, 3.0), (middle + 2.7, 3.0))
            write(ax, middle + 2.25, 0.7, f"k{kernel} s{stride} p{padding}", size=11)
            x = conv_transpose2d(x, torch.zeros(kernel, kernel), stride=stride, padding=padding)
            draw_reach(ax, middle, footprint(index, size))
            side = sources(index, size)
            write(ax, middle, 14.8, f"{side} × {side}", size=12)
    write(ax, 13.8, 7.2, "the pixels of the 64 × 64 image that one element reaches", size=12)
    write(ax, 13.8, 13.6, "the elements of each map that one pixel depends on, at most", size=12)
    save_page(figure, path)


def draw_square(ax: plt.Axes, x: float, y: float, side: float, colour: str) -> None:
    """Draws a filled square around (x, y)."""
    corner = (x - side / 2, y - side / 2)
    ax.add_patch(Rectangle(corner, side, side, facecolor=PALE[colour], edgecolor=colour, lw=1.6))


def draw_reach(ax: plt.Axes, middle: float, reached: Tensor) -> None:
    """Draws the 64 x 64 image with the reached pixels coloured, and their number per side."""
    rows = reached.any(1).nonzero().flatten()
    cell = 3.2 / len(reached)
    left, top, count = middle - 1.6, 8.0, len(rows)
    ax.add_patch(Rectangle((left, top), 3.2, 3.2, facecolor=FADED))
    corner = (left + int(rows[0]) * cell, top + int(rows[0]) * cell)
    ax.add_patch(Rectangle(corner, count * cell, count * cell, facecolor=ORANGE))
    ax.add_patch(Rectangle((left, top), 3.2, 3.2, facecolor="none", edgecolor=INK, lw=0.8))
    write(ax, middle, 11.9, f"{count} × {count}", size=12)


def overlap_counts(size: int, kernel: int, stride: int) -> Tensor:
    """Returns (H', W'): the number of products that are added to each output element."""
    ones, taps = torch.ones(size, size), torch.ones(kernel, kernel)
    return conv_transpose2d(ones, taps, stride=stride).int()


def draw_overlap(path: Path) -> None:
    """Draws the overlap counts at stride 2 for kernels of 3 to 6."""
    figure, axes = plt.subplots(2, 2, figsize=(9.6, 10.2), layout="constrained")
    for ax, kernel in zip(axes.flat, (3, 4, 5, 6), strict=True):
        counts = overlap_counts(5, kernel, 2)
        inside = counts[kernel - 1 : 1 - kernel, kernel - 1 : 1 - kernel]
        values = ", ".join(map(str, inside.unique().tolist()))
        title = f"kernel {kernel}, stride 2: away from the border {values}"
        show_image(ax, counts, title, low=0, high=9)
        for i, row in enumerate(counts.tolist()):
            for j, count in enumerate(row):
                colour = "white" if count < 5 else "black"
                ax.text(j, i, count, ha="center", va="center", size=9.5, color=colour)
    save_page(figure, path)


def draw_checkerboard(path: Path) -> None:
    """Draws a constant image doubled in six ways, with equal and with random weights."""
    figure, axes = plt.subplots(2, 6, figsize=(12.6, 5.2), layout="constrained")
    for column, (name, double) in enumerate(DOUBLINGS.items()):
        for row, kind in enumerate(("equal weights", "random weights")):
            image = double(kind == "random weights")[4:-4, 4:-4]
            image = image / image.square().mean().sqrt()
            title = f"{name}\n" * (row == 0) + f"deviation {image.std(correction=0):.2f}"
            ax = axes[row, column]
            show_image(ax, image, title, low=-2, high=2)
            if column == 0:
                ax.set_ylabel(kind, size=11)
    save_page(figure, path)


def weights(random: bool, *shape: int) -> Tensor:
    """Returns ones, or standard normal numbers from a fixed seed."""
    if not random:
        return torch.ones(shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(6))


def transposed(kernel: int, random: bool) -> Tensor:
    """Returns (H, W): a constant image of 16 channels through one transposed convolution."""
    weight = weights(random, 16, 1, kernel, kernel)
    return conv_transpose2d(torch.ones(1, 16, 12, 12), weight, stride=2, padding=1)[0, 0]


def resized(random: bool) -> Tensor:
    """Returns (H, W): a constant image of 16 channels, enlarged and then convolved."""
    large = functional.interpolate(torch.ones(1, 16, 12, 12), scale_factor=2)
    return functional.conv2d(large, weights(random, 1, 16, 3, 3), padding=1)[0, 0]


def shuffled(random: bool, *, icnr: bool) -> Tensor:
    """Returns (H, W): a constant image of 16 channels, convolved to four and then pixel-shuffled.

    ICNR initialises the four kernels with equal values (Aitken et al., 2017).
    """
    weight = weights(random, 4, 16, 3, 3)
    weight = weight[:1].expand(4, -1, -1, -1) if icnr else weight
    four = functional.conv2d(torch.ones(1, 16, 12, 12), weight, padding=1)
    return functional.pixel_shuffle(four, 2)[0, 0]


DOUBLINGS = {
    "transposed, k3": lambda random: transposed(3, random),
    "transposed, k5": lambda random: transposed(5, random),
    "transposed, k4": lambda random: transposed(4, random),
    "sub-pixel": lambda random: shuffled(random, icnr=False),
    "sub-pixel, ICNR": lambda random: shuffled(random, icnr=True),
    "resize, then conv": resized,
}


def draw_border(path: Path) -> None:
    """Draws a constant 4x4 map after four k4 s2 p1 layers with equal weights."""
    x = torch.ones(4, 4)
    for _ in range(4):
        x = conv_transpose2d(x, torch.full((4, 4), 1 / 4), stride=2, padding=1)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.6, 4.2), layout="constrained", width_ratios=(1, 1.25)
    )
    show_image(left, x, f"corner {x[0, 0]:.4f}, middle {x[32, 32]:g}", low=0, high=1)
    right.plot(x[32], color=BLUE, lw=2)
    right.plot([0, 63], [x[32, 0], x[32, 63]], "o", color=ORANGE)
    right.annotate(f"edge {x[32, 0]:.4f}", (0, x[32, 0]), (5, 0.03), size=11, color=INK)
    right.set(xlabel="column", ylabel="value in the middle row", ylim=(-0.03, 1.08), xlim=(-2, 65))
    right.spines[["top", "right"]].set_visible(False)
    save_page(figure, path)


GENERATOR_FIGURES = {
    "transposed_conv_not_inverse.png": draw_not_inverse,
    "transposed_conv_generator.png": draw_generator,
    "transposed_conv_overlap.png": draw_overlap,
    "transposed_conv_checkerboard.png": draw_checkerboard,
    "transposed_conv_border.png": draw_border,
}
