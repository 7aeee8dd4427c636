"""What an experiment gives: a figure, its numbers, and lines for the console."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from gan.files import replacing
from gan.sampling import Trained

_DPI = 100


class Result(NamedTuple):
    """The outcome of an experiment."""

    figure: Figure
    numbers: dict[str, Any]  # plain values for a JSON file
    lines: list[str]  # what the verb prints


def save(result: Result, trained: Trained, out: Path, seconds: float) -> None:
    """Writes the figure to `out`, a .png, and the numbers to a .json of the same name."""
    found = trained.checkpoint
    origin = {
        "checkpoint_sha256": found.sha256,
        "step": found.step,
        "images_seen": found.images_seen,
        "source": trained.cfg.data.source,
        "conditional": trained.cfg.model.conditional,
        "seconds": round(seconds, 1),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        result.figure.savefig(part, dpi=_DPI)
    with replacing(out.with_suffix(".json")) as part:
        part.write_text(json.dumps({**origin, **result.numbers}, indent=2) + "\n")
