"""What an experiment gives: a figure, its numbers, and lines for the console."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gan.files import replacing
from gan.sampling import Trained, grid


class Result(NamedTuple):
    """The outcome of an experiment."""

    figure: Figure
    numbers: dict[str, Any]  # plain values for a JSON file
    lines: list[str]  # what the verb prints


def save(result: Result, trained: Trained, out: Path, seconds: float) -> None:
    """Writes the figure to `out`, a .png, and the numbers to a .json of the same name."""
    found, cfg = trained.checkpoint, trained.cfg
    origin = {"checkpoint_sha256": found.sha256, "step": found.step,
              "images_seen": found.images_seen, "source": cfg.data.source,
              "conditional": cfg.model.conditional, "seconds": round(seconds, 1)}  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        result.figure.savefig(part, dpi=100)
    with replacing(out.with_suffix(".json")) as part:
        part.write_text(json.dumps({**origin, **result.numbers}, indent=2) + "\n")


def show(axes: Axes, images: np.ndarray, columns: int, title: str) -> None:
    """Draws uint8 images (N, C, H, W) in rows of `columns`."""
    axes.imshow(grid(images, columns).squeeze(), cmap="gray")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)
