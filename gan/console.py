"""The console of a run: lines, kept in log.txt, and on a terminal a status line below them."""

import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

from tqdm import tqdm

from gan.files import naming

_STATUS_S = 5.0  # where there is no terminal, and in log.txt
_SHAPE = "{percentage:3.0f}%|{bar}| {desc}"
_SHORTEST = len("100%|    | ")  # the status line without its text


class Console:
    """Prints lines and a status line; must be closed."""

    def __init__(self, log: Path, *, step: int, num_steps: int) -> None:
        self._log = open(log, "a", buffering=1, errors="backslashreplace")
        self._last_status = -math.inf
        self._bar = None
        if sys.stderr.isatty():
            done, text = min(1.0, step / num_steps), f"{step:,}/{num_steps:,}"
            self._bar = tqdm(total=1.0, initial=done, bar_format=_SHAPE, desc=text,
                             ncols=_columns(), position=0)  # fmt: skip

    def say(self, text: str) -> None:
        """Prints a line and writes it to log.txt."""
        self._keep(text)
        with self._guarded():
            if self._bar is not None:
                self._bar.write(text, file=sys.stderr)
            else:
                print(text, file=sys.stderr, flush=True)

    def show(self, done: float, fields: Sequence[str]) -> None:
        """Shows the share that is done, and as many of the fields, the first ones, as fit."""
        if self._bar is None:
            return
        with self._guarded():
            columns = _columns()
            texts = accumulate(fields, "{}  {}".format)
            fit = [text for text in texts if len(text) <= columns - _SHORTEST]
            self._bar.ncols, self._bar.n = columns, done
            self._bar.set_description_str([*fields[:1], *fit][-1])

    def status(self, fields: Sequence[str]) -> None:
        """Writes the fields to log.txt, and prints them if there is no terminal, every 5 s."""
        if self._bar is None and self._last_status < 0:
            self.say(f"a status line every {_STATUS_S:g} s; every logged step is in metrics.jsonl")
        if time.monotonic() - self._last_status >= _STATUS_S:
            self._last_status = time.monotonic()
            write = self.say if self._bar is None else self._keep
            write(f"step {'  '.join(fields)}")

    def end(self, text: str) -> None:
        """Prints the last line, below the status line, which stays."""
        self._close_bar()
        self.say(text)

    def close(self) -> None:
        self._close_bar()
        with naming(Path(self._log.name)):
            self._log.close()

    def _close_bar(self) -> None:
        with self._guarded():
            if self._bar is not None:
                self._bar.close()
        self._bar = None

    def _keep(self, text: str) -> None:
        with naming(Path(self._log.name)):
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Lets the run continue, with log.txt alone, when the console can no longer be written."""
        try:
            yield
        except OSError:
            self._bar = None
            sys.stderr = open(os.devnull, "w")  # else Python fails to flush it and exits with 120


def _columns() -> int:
    return os.get_terminal_size(sys.stderr.fileno()).columns or 80  # 0 if it does not know
