"""Redraws the lesson's figures, or draws an animation for other settings.

    python scripts/draw_transposed_conv.py
    python scripts/draw_transposed_conv.py --kernel 4 --stride 2 --padding 1 --input 3 --out my.gif

The first command redraws all figures of the lesson; the second writes only my.gif.
"""

import io
from pathlib import Path

import click
import torch
from lesson_drawing import (
    BLUE,
    DOTS_PER_INCH,
    ORANGE,
    PALE,
    draw_grid,
    new_page,
    outline,
    write,
)
from lesson_generator_figures import GENERATOR_FIGURES
from lesson_operation_figures import OPERATION_FIGURES
from matplotlib import pyplot as plt
from PIL import Image
from torch import Tensor

from gan.nn.transposed_conv import conv_transpose2d
from gan.sampling import save_gif

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
ANIMATION = "transposed_conv_sliding.gif"
FRAME_MS, LAST_FRAME_MS = 900, 3000
LARGEST_OUTPUT = 24


def animate(path: Path, *, kernel: int, stride: int, padding: int, size: int) -> None:
    """Writes a GIF in which the input elements add their copies of the kernel one by one.

    Raises ValueError if padding removes the whole output, or if the output is too large to read.
    """
    x = torch.arange(float(size**2)).view(size, size)
    taps = torch.arange(float(kernel**2)).view(kernel, kernel)
    conv_transpose2d(x, taps, stride=stride, padding=padding)  # checks the padding
    full = len(conv_transpose2d(x, taps, stride=stride))
    if full > LARGEST_OUTPUT:
        raise ValueError(f"output must be at most {LARGEST_OUTPUT} wide before padding; got {full}")
    frames = [
        draw_frame(x, taps, added, stride=stride, padding=padding) for added in range(size**2 + 1)
    ]
    save_gif(frames, path, frame_ms=FRAME_MS, last_ms=LAST_FRAME_MS)


def draw_frame(x: Tensor, taps: Tensor, added: int, *, stride: int, padding: int) -> Image.Image:
    """Returns the frame in which element number `added` of x (H, W) adds its copy.

    If `added` is the number of elements, returns the last frame: the finished output.
    """
    done = torch.arange(x.numel()).view_as(x) <= added
    out = conv_transpose2d(x * done, taps, stride=stride)
    finished, height = added == x.numel(), max(len(out), len(x) + len(taps) + 2)
    kept = torch.ones_like(out, dtype=torch.bool)
    if finished:
        kept = torch.zeros_like(kept)
        inside = slice(padding, len(out) - padding)
        kept[inside, inside] = True
    left = max(len(x), len(taps)) + 2.6
    width = max(left + len(out) + 1, 12)
    page, ax = new_page(width, height + 3)
    draw_grid(ax, x, 0.8, 1.6, fills=PALE[BLUE], title="input")
    draw_grid(ax, taps, 0.8, 3.6 + len(x), fills=PALE[ORANGE], title="kernel")
    draw_grid(ax, out, left, 1.6, kept=kept, title="output", size=10)
    rest = len(out) - 2 * padding
    outline(ax, left + padding, 1.6 + padding, rest, rest, color="#222222")
    caption = f"padding {padding} leaves {rest} × {rest}"
    if not finished:
        i, j = divmod(added, len(x))
        outline(ax, 0.8 + j, 1.6 + i, 1, 1, color=BLUE)
        outline(ax, left + j * stride, 1.6 + i * stride, *taps.shape, color=ORANGE, inset=0.05)
        caption = f"{x[i, j]:g} × kernel, added at ({i * stride}, {j * stride})"
    write(ax, width / 2, height + 2.4, caption)
    return to_picture(page)


def to_picture(page: plt.Figure) -> Image.Image:
    """Renders a page as an image of 64 colours, for a GIF."""
    buffer = io.BytesIO()
    page.savefig(buffer, dpi=DOTS_PER_INCH, facecolor="white")
    plt.close(page)
    return Image.open(buffer).convert("RGB").quantize(64)


@click.command()
@click.option("--kernel", default=4, show_default=True, type=click.IntRange(1))
@click.option("--stride", default=2, show_default=True, type=click.IntRange(1))
@click.option("--padding", default=1, show_default=True, type=click.IntRange(0))
@click.option("--input", "size", default=3, show_default=True, type=click.IntRange(1))
@click.option("--out", type=click.Path(path_type=Path), help="Write only this GIF.")
@click.option("--figures-dir", default=FIGURES, type=click.Path(path_type=Path))
def main(
    kernel: int, stride: int, padding: int, size: int, out: Path | None, figures_dir: Path
) -> None:
    """Redraws every figure of the lesson, or with --out one animation with the given settings."""
    drawings = {} if out else OPERATION_FIGURES | GENERATOR_FIGURES
    figures_dir.mkdir(parents=True, exist_ok=True)
    for name, draw in drawings.items():
        draw(figures_dir / name)
    path = out or figures_dir / ANIMATION
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        animate(path, kernel=kernel, stride=stride, padding=padding, size=size)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"wrote {path}" if out else f"wrote {len(drawings) + 1} figures to {figures_dir}")


if __name__ == "__main__":
    main()
