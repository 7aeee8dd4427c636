"""The curves of runs for TensorBoard, over the training step instead of the images seen."""

import os
from collections.abc import Sequence
from pathlib import Path

from gan.analysis.runs import RunFiles, as_utf_8
from gan.board import tag_of


def write_by_step(runs: Sequence[RunFiles], folder: Path) -> None:
    """Writes the curves of each run into `folder`, for TensorBoard; replaces earlier ones of the
    same runs."""
    from torch.utils.tensorboard import SummaryWriter  # 1 s

    shared = os.path.commonpath([run.path.resolve().parent for run in runs])
    for run in runs:
        # TensorBoard refuses other names
        place = folder / as_utf_8(str(run.path.resolve().relative_to(shared)))
        for path in place.glob("events.*"):
            path.unlink()
        with SummaryWriter(str(place)) as writer:
            for row in (*run.logs, *run.evaluations):
                for key, value in row.items():
                    if "/" in key and isinstance(value, int | float):
                        writer.add_scalar(tag_of(key), value, row["step"])
