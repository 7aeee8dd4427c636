"""Drawing functions for the lesson's figures: grids of numbers on a page measured in cells."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

# Okabe and Ito's palette, chosen for colour-blind readers
BLUE, ORANGE, GREEN, RED, INK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#222222"
COPIES = (BLUE, ORANGE, GREEN, RED)
PALE = {BLUE: "#CCE3F0", ORANGE: "#FAECCC", GREEN: "#CCECE3", RED: "#F7DFCC"}
FADED, LINE = "#EEEEEE", "#999999"
INCHES_PER_CELL, DOTS_PER_INCH = 0.42, 110


def new_page(width: float, height: float) -> tuple[Figure, Axes]:
    """Returns a blank page of width x height cells; (0, 0) is its upper left corner."""
    figure = plt.figure(figsize=(width * INCHES_PER_CELL, height * INCHES_PER_CELL))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.axis("off")
    return figure, ax


def draw_grid(
    ax: Axes,
    values: Tensor,
    left: float,
    top: float,
    *,
    fills: list[list[str]] | str = "white",
    kept: Tensor | None = None,
    title: str = "",
    size: float = 12,
) -> None:
    """Draws (H, W) numbers as cells, NaN as an empty cell; hatches cells outside `kept` (H, W)."""
    for i, row in enumerate(values.tolist()):
        for j, value in enumerate(row):
            out = kept is not None and not kept[i, j]
            fill = fills if isinstance(fills, str) else fills[i][j]
            style = {"hatch": "////", "edgecolor": "#BBBBBB"} if out else {"edgecolor": LINE}
            face = FADED if out else fill
            ax.add_patch(Rectangle((left + j, top + i), 1, 1, facecolor=face, lw=0.8, **style))
            text = ax.text(
                left + j + 0.5,
                top + i + 0.53,
                "" if value != value else f"{value:g}",
                ha="center",
                va="center",
                size=size,
                color="#555555" if out else INK,
            )
            if out:
                text.set_bbox({"facecolor": FADED, "edgecolor": "none", "pad": 0.5})
    if title:
        write(ax, left + values.shape[1] / 2, top - 0.45, title)


def outline(
    ax: Axes, left: float, top: float, rows: int, columns: int, *, color: str, inset: float = 0.0
) -> None:
    """Draws a frame around rows x columns cells; `inset` shrinks it so that none hides another."""
    ax.add_patch(
        Rectangle(
            (left + inset, top + inset),
            columns - 2 * inset,
            rows - 2 * inset,
            facecolor="none",
            edgecolor=color,
            lw=2.2,
            zorder=3,
        )
    )


def write(ax: Axes, x: float, y: float, text: str, *, size: float = 11, ha: str = "center") -> None:
    """Writes text at (x, y) in cells; single lines at the same y share a baseline."""
    va = "center" if "\n" in text else "center_baseline"
    ax.text(x, y, text, ha=ha, va=va, size=size, color=INK, linespacing=1.35)


def draw_arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draws an arrow between two points given in cells."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "#555555", "lw": 1.4})


def show_image(
    ax: Axes, values: Tensor, title: str, *, low: float | None = None, high: float | None = None
) -> None:
    """Shows (H, W) values as an image in cividis, without axes."""
    ax.imshow(values.numpy(), cmap="cividis", vmin=low, vmax=high, interpolation="nearest")
    ax.set_title(title, size=11, color=INK, linespacing=1.35)
    ax.set(xticks=[], yticks=[])


def save_page(figure: Figure, path: Path) -> None:
    """Writes a PNG whose bytes depend on the picture only."""
    # by default matplotlib writes its version into the file
    figure.savefig(path, dpi=DOTS_PER_INCH, facecolor="white", metadata={"Software": None})
    plt.close(figure)
