"""What an experiment gives: the panels of a figure, and numbers for a JSON file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure

from gan.files import replacing
from gan.pretrained.trained import Trained

# Rows of panels by title: an image (H, W, C); or curves by name, each of x, y and perhaps the
# deviation of y, and settings of the axes.
Rows = Sequence[Mapping[str, Any]]
Result = tuple[Rows, dict[str, Any]]  # and the numbers, plain values


def save(trained: Trained, rows: Rows, numbers: dict[str, Any], out: Path) -> str:
    """Writes the figure, a .png, and the numbers, a .json; returns the numbers as text, rounded."""
    found, source = trained.checkpoint, trained.cfg.data.source
    origin = {"source": source, "images_seen": found.images_seen, "checkpoint": found.sha256}
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        draw(rows).savefig(part, dpi=100)
    with replacing(out.with_suffix(".json")) as part:
        part.write_text(json.dumps(origin | numbers, indent=2) + "\n")
    rounded = json.loads(json.dumps(numbers), parse_float=lambda text: float(f"{float(text):.4g}"))
    return yaml.safe_dump(rounded, sort_keys=False) + f"{out}: {trained.origin}"


def draw(rows: Rows) -> Figure:
    """Draws rows of panels."""
    figure = Figure(figsize=(11, 3.7 * len(rows)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for part, row in zip(parts, rows, strict=True):
        places = part.subplots(1, len(row), squeeze=False)[0]
        for axes, (title, panel) in zip(places, row.items(), strict=True):
            axes.set_title(title, fontsize=9)
            if isinstance(panel, np.ndarray):
                axes.imshow(panel.squeeze(), cmap="gray", vmin=0, vmax=255)
                axes.set(xticks=[], yticks=[])
                continue
            for name, curve in panel[0].items():
                style = "o" if isinstance(curve[1][0], str) else ".-"  # names have no order
                axes.errorbar(*curve, fmt=style, label=name, capsize=3)
            axes.set(**panel[1])
            axes.legend(fontsize=8)
    return figure
