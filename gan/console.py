"""The console of a run: lines, kept in log.txt, and on a terminal a status line below them."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

from tqdm import tqdm

STATUS_EVERY_S = 5.0  # where there is no terminal, and in log.txt
_SHAPE = "{percentage:3.0f}%|{bar}| {desc}"
_SHORTEST = len("100%|    | ")  # the status line without its text


class Console:
    """Prints lines and a status line; must be closed."""

    def __init__(self, log: Path, *, step: int, num_steps: int) -> None:
        self._log = open(log, "a", buffering=1)
        self._last_status = -STATUS_EVERY_S
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=max(step, num_steps),
                initial=step,
                bar_format=_SHAPE,
                desc=f"{step:,}/{num_steps:,}",
                ncols=_columns(),
                position=0,
            )

    @property
    def has_status_line(self) -> bool:
        return self._bar is not None

    def say(self, text: str) -> None:
        """Prints a line and writes it to log.txt."""
        self._keep(text)
        with self._guarded():
            if self._bar is not None:
                self._bar.write(text, file=sys.stderr)
            else:
                print(text, file=sys.stderr, flush=True)

    def show(self, step: int, fields: Sequence[str]) -> None:
        """Updates the status line with as many of the fields, the first ones, as fit."""
        if self._bar is None:
            return
        with self._guarded():
            columns = _columns()
            texts = list(accumulate(fields, "{}  {}".format))
            fit = [text for text in texts if len(text) <= columns - _SHORTEST]
            self._bar.ncols, self._bar.n = columns, step
            self._bar.set_description_str((fit or texts)[-1 if fit else 0])

    def status(self, fields: Sequence[str]) -> None:
        """Writes the fields to log.txt, and prints them if there is no terminal, every 5 s."""
        if time.monotonic() - self._last_status < STATUS_EVERY_S:
            return
        self._last_status = time.monotonic()
        text = f"step {'  '.join(fields)}"
        if self._bar is None:
            self.say(text)
        else:
            self._keep(text)

    def end(self, text: str) -> None:
        """Prints the last line, below the status line, which stays."""
        self._close_bar()
        self.say(text)

    def close(self) -> None:
        self._close_bar()
        self._log.close()

    def _close_bar(self) -> None:
        with self._guarded():
            if self._bar is not None:
                self._bar.close()
        self._bar = None

    def _keep(self, text: str) -> None:
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
