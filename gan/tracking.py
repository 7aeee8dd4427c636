"""The output of a run: its console, metrics.jsonl, evaluations.jsonl and TensorBoard.

TensorBoard's x axis is images seen. If TensorBoard cannot be written, the tracker says so once and
the run continues without it.
"""

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor, nn

from gan.console import Console
from gan.files import parse_row, replacing


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
        logging.getLogger("tensorboard").setLevel(logging.ERROR)
        from torch.utils.tensorboard import SummaryWriter  # 1 s

        self._board: SummaryWriter | None = None
        self._excepthook, threading.excepthook = threading.excepthook, self._on_thread_error
        try:
            self._board = SummaryWriter(str(run_dir / "tb"), purge_step=purge_step)
        except OSError as error:
            self._leave_board(error)

    def warn(self, text: str, images_seen: int) -> None:
        """Prints a warning and writes it to TensorBoard."""
        self.console.say(f"warning: {text}")
        self._to_board("add_text", "warnings", text, images_seen)

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
            self._to_board("add_scalar", tag, value, images_seen)

    def histograms(self, images_seen: int, values: Mapping[str, Tensor]) -> None:
        """Writes a histogram of each tensor."""
        for tag, value in values.items():
            array = value.detach().float().cpu().numpy()
            self._to_board("add_histogram", tag, array, images_seen)

    def image(self, tag: str, grid: np.ndarray, images_seen: int) -> None:
        """Writes a uint8 grid (H, W, C)."""
        self._to_board("add_image", tag, grid, images_seen, dataformats="HWC")

    def text(self, tag: str, text: str) -> None:
        """Writes preformatted text."""
        indented = "\n".join(f"    {line}" for line in text.splitlines())
        self._to_board("add_text", tag, indented)

    def hyperparameters(
        self, settings: Mapping[str, Any], final: Mapping[str, float], images_seen: int
    ) -> None:
        """Fills the HParams tab: settings with final values."""
        plain = {
            key: value if isinstance(value, bool | int | float | str) else str(value)
            for key, value in settings.items()
        }
        # with any other run_name TensorBoard shows a second run
        self._to_board("add_hparams", plain, dict(final), run_name=".", global_step=images_seen)

    def close(self) -> None:
        """Flushes and closes all files."""
        self._to_board("close")
        threading.excepthook = self._excepthook
        for file in self._rows.values():
            file.close()
        self.console.close()

    def _on_thread_error(self, args: threading.ExceptHookArgs) -> None:
        # TensorBoard's writer thread also passes its error to the next call, which reports it
        if not type(args.thread).__module__.startswith("tensorboard."):
            self._excepthook(args)

    def _to_board(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Calls a method of TensorBoard's writer, whose failure must not stop the run."""
        if self._board is None:
            return
        try:
            getattr(self._board, method)(*args, **kwargs)
        except Exception as error:  # a full disk or a removed folder raise many kinds
            self._leave_board(error)

    def _leave_board(self, error: Exception) -> None:
        self._board = None
        self.console.say(f"TensorBoard cannot be written ({error}); the run continues without it")


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
    """Returns every weight and its gradient by TensorBoard tag."""
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
