"""The output of a run: console, log.txt, metrics.jsonl, evaluations.jsonl and TensorBoard."""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import torch
from torch import Tensor, nn
from tqdm import tqdm

from gan.board import Board
from gan.files import parse_row, replacing

_STATUS_EVERY_S = 5.0


class Tracker:
    """Writes the output of one run; must be closed."""

    def __init__(self, run_dir: Path, *, step: int, images_seen: int, num_steps: int) -> None:
        """Removes what an earlier process wrote after `step`, from which the run resumes."""
        self._log = open(run_dir / "log.txt", "a", buffering=1)
        self._bar = None
        if sys.stderr.isatty():
            shape = "{percentage:3.0f}%|{bar:8}| {desc}"
            self._bar = tqdm(total=num_steps, initial=step, bar_format=shape, dynamic_ncols=True)
        self._last_status = 0.0
        self._rows: dict[str, TextIO] = {}
        for name in ("metrics.jsonl", "evaluations.jsonl"):
            path = run_dir / name
            if count := _cut_back(path, step):
                self.say(f"warning: {path}: skipped {count} damaged rows, which stay in the file")
            self._rows[name] = open(path, "a", buffering=1)
        # points after this step belong to steps that are computed again
        purge_step = images_seen + 1 if step else 0
        self.board = Board(run_dir, purge_step=purge_step, say=self.say)

    def say(self, text: str) -> None:
        """Prints a line and writes it to log.txt."""
        self._keep(text)
        with self._console():
            if self._bar is not None:
                self._bar.write(text, file=sys.stderr)
            else:
                print(text, file=sys.stderr, flush=True)

    def status(self, step: int, text: str) -> None:
        """Updates the bar on a terminal; elsewhere prints the line every few seconds."""
        if self._bar is not None:
            self._keep(text)
            with self._console():
                self._bar.set_description_str(text, refresh=False)
                self._bar.update(step - self._bar.n)
                self._bar.refresh()
        elif time.monotonic() - self._last_status >= _STATUS_EVERY_S:
            self._last_status = time.monotonic()
            self.say(text)

    def warn(self, text: str, images_seen: int) -> None:
        """Prints a warning and writes it to TensorBoard."""
        self.say(f"warning: {text}")
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
        self._rows[file].write(json.dumps(row) + "\n")
        for tag, value in values.items():
            self.board.scalar(tag, value, images_seen)

    def close(self) -> None:
        """Flushes and closes all files."""
        with self._console():
            if self._bar is not None:
                self._bar.close()
        self.board.close()
        for file in (*self._rows.values(), self._log):
            file.close()

    def _keep(self, text: str) -> None:
        self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    @contextmanager
    def _console(self) -> Iterator[None]:
        """Lets the run continue, with log.txt alone, when the console can no longer be written."""
        try:
            yield
        except OSError:
            self._bar = None
            sys.stderr = open(os.devnull, "w")  # else Python fails to flush it and exits with 120


def _cut_back(path: Path, step: int) -> int:
    """Removes rows after `step` and an incomplete last row; returns the number of damaged rows.

    Damaged rows stay in the file.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    rows = [(line, parse_row(line)) for line in lines if line.endswith(b"\n")]
    with replacing(path) as part:
        part.write_bytes(b"".join(line for line, row in rows if not row or row["step"] <= step))
    return sum(row is None for _, row in rows)


def network_histograms(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Returns every weight and its gradient by name."""
    found: dict[str, Tensor] = {}
    for name, network in networks.items():
        for key, parameter in network.named_parameters():
            found[f"weights/{name}.{key}"] = parameter
            if parameter.grad is not None:
                found[f"gradients/{name}.{key}"] = parameter.grad
    return found


def gradient_norm(module: nn.Module) -> Tensor:
    """Returns the norm () of all gradients of a module."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
