"""The output of a run: its console, metrics.jsonl, evaluations.jsonl and TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from gan.board import Board
from gan.console import Console
from gan.files import naming, parse_row, replacing


class Tracker:
    """Writes the output of one run; must be closed."""

    def __init__(self, run_dir: Path, *, step: int, images_seen: int, num_steps: int) -> None:
        """Removes what an earlier process wrote after `step`, from which the run resumes."""
        self.console = Console(run_dir / "log.txt", step=step, num_steps=num_steps)
        self._rows: dict[str, TextIO] = {}
        for name in ("metrics.jsonl", "evaluations.jsonl"):
            path = run_dir / name
            if count := _cut_back(path, step):
                self.console.say(
                    f"warning: {path}: skipped {count} damaged rows, which stay in the file"
                )
            self._rows[name] = open(path, "a", buffering=1)
        # points after this step belong to steps that are computed again
        purge_step = images_seen + 1 if step else 0
        self.board = Board(run_dir, purge_step=purge_step, say=self.console.say)

    def warn(self, text: str, images_seen: int) -> None:
        """Prints a warning and writes it to TensorBoard."""
        self.console.say(f"warning: {text}")
        self.board.text("warnings", text, images_seen)

    def scalars(
        self,
        step: int,
        images_seen: int,
        values: Mapping[str, float],
        *,
        file: str = "metrics.jsonl",
    ) -> None:
        """Writes one object to metrics.jsonl or evaluations.jsonl and one point to each curve."""
        row = {"step": step, "images_seen": images_seen, **values}
        rows = self._rows[file]
        with naming(Path(rows.name)):
            rows.write(json.dumps(row) + "\n")
        for tag, value in values.items():
            self.board.scalar(tag, value, images_seen)

    def close(self) -> None:
        """Flushes and closes all files."""
        self.board.close()
        for rows in self._rows.values():
            with naming(Path(rows.name)):
                rows.close()
        self.console.close()


def _cut_back(path: Path, step: int) -> int:
    """Removes rows after `step` and an incomplete last row; returns the number of damaged rows.

    Damaged rows stay in the file.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    rows = [(line, parse_row(line)) for line in lines]
    kept = [line for line, row in rows if not row or row["step"] <= step]
    with replacing(path) as part:
        part.write_bytes(b"".join(line + b"\n" for line in kept))
    return sum(row is None for _, row in rows)
