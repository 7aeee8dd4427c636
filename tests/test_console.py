"""What a person sees while a run trains: the status line, its numbers, the answer to Ctrl-C."""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from gan.console import Console
from gan.machine.signals import StopRequest
from gan.training import report
from gan.training.loop import train
from gan.training.run import Ending, Window
from tests.conftest import gan, tiny_config

Read = Callable[[], str]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Read]]:
    """Makes sys.stderr a terminal of a width; returns what reads from it."""
    ours, theirs = pty.openpty()

    def read() -> str:
        text = b""
        while select.select([ours], [], [], 0.2)[0]:
            text += os.read(ours, 65536)
        return text.decode()

    def attach(columns: int) -> Read:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        monkeypatch.setattr(sys, "stderr", stream)  # not earlier: pytest sets it before the test
        return read

    with os.fdopen(theirs, "w") as stream:
        yield attach
    os.close(ours)


FIELDS = ["12,345/80,000", "1,345 images/s", "1:02:33 left", "D(x) 0.71", "D(G(z)) 0.22",
          "loss D 1.10 G 0.99", "395,040 images"]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "last"), [(50, 1), (60, 2), (80, 4), (110, 5), (120, 6), (0, 4), (15, 0)]
)
def test_status_line_fills_the_terminal_with_the_first_fields_that_fit(
    terminal: Callable[[int], Read], tmp_path: Path, columns: int, last: int
) -> None:
    read = terminal(columns)
    console = Console(tmp_path / "log.txt", step=0, num_steps=80_000)
    console.show(0.154, FIELDS)
    line = read().rsplit("\r", 1)[-1]
    console.close()
    assert len(line) == (columns or 80)
    assert columns == 15 or line.endswith("| " + "  ".join(FIELDS[: last + 1]))


def test_lines_come_above_the_status_line_and_the_last_one_below(
    terminal: Callable[[int], Read], tmp_path: Path
) -> None:
    read = terminal(80)
    console = Console(tmp_path / "log.txt", step=0, num_steps=80_000)
    console.show(0.154, FIELDS)
    console.say("a note")
    console.status(FIELDS)  # log.txt only
    console.end("done: all")
    console.close()
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1].strip() for line in read().split("\n")]
    note, status, last = [line for line in lines if line]
    assert (note, last) == ("a note", "done: all") and status.startswith("15%|")
    kept = [line.split(" ", 2)[2] for line in (tmp_path / "log.txt").read_text().splitlines()]
    assert kept == ["a note", f"step {'  '.join(FIELDS)}", "done: all"]


def test_without_a_terminal_status_lines_are_limited_and_the_run_says_so(
    config: Path, tmp_path: Path
) -> None:
    words = ["--set", "train.log_every_steps=1", "--set", "train.num_steps=3"]
    shown = gan("train", config, "--run-dir", tmp_path / "run", *words).stderr.splitlines()
    assert "a status line every 5 s; every logged step is in metrics.jsonl" in shown
    assert sum(line.startswith("step ") for line in shown) < 3
    assert "  8 images" in shown[2] and shown[-1].startswith("done: ")
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("max_minutes", "left", "done"),
    [(None, "16:40", 0.004), (60, "16:40", 1.5 / 60), (2, "00:29", 1.5 / 2)],
)
def test_rate_is_recent_and_progress_and_time_left_respect_max_minutes(
    finished_run: Path, tmp_path: Path, max_minutes: float | None, left: str, done: float
) -> None:
    run = train(tiny_config(tmp_path), finished_run, "cpu")
    shown: list[tuple[float, list[str]]] = []
    run.tracker.console = SimpleNamespace(show=lambda *values: shown.append(values))
    run.cfg = tiny_config(tmp_path, train={"num_steps": 1004, "max_minutes": max_minutes})
    run.started = time.monotonic() - 90.5
    # 80 images in the last 10 of 1,000 seconds
    run.pace = deque([(run.state.images_seen - 80, 990.0)])
    run.logged_s, run.window = 1000.0, Window()
    report.progress(run)
    report.progress(run)  # too early
    ((share, fields),) = shown
    assert fields[1:3] == ["8 images/s", f"{left} left"]
    assert share == pytest.approx(done, abs=0.02)


def test_a_run_ends_without_grids(finished_run: Path, tmp_path: Path) -> None:
    run = train(tiny_config(tmp_path), finished_run, "cpu")
    run.pace.append((0, 0.0))
    shown: list[str] = []
    run.tracker.console = SimpleNamespace(show=lambda *_: None, end=shown.append)
    (run.sample_dir / "learning.gif").unlink()
    for damaged in (False, True):
        for path in run.sample_dir.glob("ema_*.png"):
            path.write_bytes(b"") if damaged else path.unlink()
        report.finish(run, Ending.DONE)
        (run.sample_dir / "ema_00000002.png").touch()
    assert len(shown) == 2 and not (run.sample_dir / "learning.gif").exists()


def test_ctrl_c_is_answered_in_place_of_the_status_line(terminal: Callable[[int], Read]) -> None:
    read = terminal(80)
    StopRequest()(signal.SIGINT, None)
    answer = "finishing this step, then saving; interrupt again to quit without saving"
    assert read() == f"\r\x1b[K{answer}\r\n"


def test_signal_is_recorded_when_the_console_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        stop = StopRequest()
        stop(signal.SIGTERM, None)
    assert stop.signum == signal.SIGTERM
