"""What an experiment gives: a figure, its numbers, and lines for the console."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from gan.files import replacing
from gan.sampling import Trained, grid


class Sheet(NamedTuple):
    """Images (N, C, H, W) in rows of `columns`."""

    title: str
    images: np.ndarray
    columns: int


class Chart(NamedTuple):
    """Curves by name: x, y and perhaps deviations of y."""

    title: str
    curves: Mapping[str, Sequence[Any]]
    axes: dict[str, Any]  # settings of the axes, such as xlabel


class Result(NamedTuple):
    """The outcome of an experiment."""

    panels: list[list[Sheet | Chart]]  # rows of the figure
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
        draw(result.panels).savefig(part, dpi=100)
    with replacing(out.with_suffix(".json")) as part:
        part.write_text(json.dumps({**origin, **result.numbers}, indent=2) + "\n")


def draw(rows: list[list[Sheet | Chart]]) -> Figure:
    """Draws rows of panels."""
    figure = Figure(figsize=(11, 3.7 * len(rows)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, panels in zip(parts, rows, strict=True):
        places = part.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(places, panels, strict=True):
            axes.set_title(panel.title, fontsize=9)
            if isinstance(panel, Sheet):
                axes.imshow(grid(panel.images, panel.columns).squeeze(), cmap="gray")
                axes.set(xticks=[], yticks=[])
                continue
            for name, curve in panel.curves.items():
                style = "o" if isinstance(curve[1][0], str) else ".-"  # names have no order
                axes.errorbar(*curve, fmt=style, label=name, capsize=3)
            axes.set(**panel.axes)
            axes.legend(fontsize=8)
    return figure
