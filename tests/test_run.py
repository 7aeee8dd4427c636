"""Whole runs: exact resume, signals, damaged checkpoints, divergence, full disks, output.

A run gets a separate process only if a test needs one: for exact resume across processes, real
signals, locks, a terminal, or the output of libraries.
"""

import errno
import fcntl
import hashlib
import itertools
import json
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

from gan.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    checkpoint_path,
    read_checkpoint,
    save_checkpoint,
)
from gan.config.reader import describe, identity, load_config, parse_config
from gan.config.settings import Config, DataConfig
from gan.data.pack import PackedImages, pack
from gan.data.source import Source
from gan.errors import NonFinite
from gan.machine.precision import Precision
from gan.machine.ranks import Ranks
from gan.nn.generator import Generator
from gan.nn.losses import LOSSES
from gan.pretrained.load import load_generator
from gan.sampling import grid
from gan.training import loop, report, resume, state
from gan.training.loop import train
from gan.training.run import Ending, Run, Window
from gan.training.state import TrainState
from gan.training.steps import one_step
from tests.conftest import folder_config, gan, largest_file, tiny_config

SmallDisk = Callable[[Path, str], None]
CHECKPOINTS = "checkpoints/step_*.pt"


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "gan", *map(str, words)]


@contextmanager
def running(*words: object) -> Iterator[subprocess.Popen]:
    """Runs `gan` in a separate process, which is killed when the block ends."""
    with subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(ready: Callable[[], object], process: subprocess.Popen) -> None:
    """Waits for something that the process does; only the timeout of the test limits the wait."""
    while not ready():
        assert process.poll() is None, f"the process ended with {process.returncode}"
        time.sleep(0.05)


def read_rows(run_dir: Path) -> list[dict]:
    return list(map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines()))


def sums(run_dir: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run_dir.glob(CHECKPOINTS)
    }


def test_resumed_run_equals_unbroken_run(config: Path, tmp_path: Path) -> None:
    """To the sha256 of the checkpoint, across processes, in the middle of an epoch."""
    sets = ["--set", "model.conditional=true", "--set", "train.augment=translate",
            "--set", "train.colour_noise=8", "--set", "train.class_loss_weight=0.5",
            "--set", "data.flip=true", "--set", "train.checkpoint_every_steps=4"]  # fmt: skip

    def words(name: str, num_steps: int) -> list[object]:
        length = f"train.num_steps={num_steps}"
        return ["train", config, "--run-dir", tmp_path / name, *sets, "--set", length]

    assert gan(*words("whole", 7)).exit_code == 0
    assert gan(*words("parts", 1)).exit_code == 0
    subprocess.run(command(*words("parts", 5)), check=True, stderr=subprocess.DEVNULL)
    last = gan(*words("parts", 7))
    assert last.exit_code == 0 and "resuming from step_00000005.pt" in last.stderr
    whole, parts = (sums(tmp_path / name) for name in ("whole", "parts"))
    assert whole["step_00000007.pt"] == parts["step_00000007.pt"]
    assert [row["step"] for row in read_rows(tmp_path / "parts")] == [1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("steps", [0, 1, 2])  # the start, the middle and the end of an epoch
def test_run_resumes_exactly_from_any_step_of_an_epoch(tmp_path: Path, steps: int) -> None:
    recipe = {"batch_size": 256, "checkpoint_every_steps": 3}
    train(tiny_config(tmp_path, train={**recipe, "num_steps": 3}), tmp_path / "whole", "cpu")
    for num_steps in (max(steps, 1), 3):
        train(tiny_config(tmp_path, train={**recipe, "num_steps": num_steps}), tmp_path / "parts",
              "cpu")  # fmt: skip
        if not steps:  # as if killed before its first checkpoint
            (tmp_path / "parts/checkpoints/step_00000001.pt").unlink(missing_ok=True)
    last = "step_00000003.pt"
    assert sums(tmp_path / "whole")[last] == sums(tmp_path / "parts")[last]


@pytest.mark.parametrize("changes", [{"d_extra_layers": 1}, {"upsample": "resize"}])
def test_other_networks_resume_exactly(tmp_path: Path, changes: dict) -> None:
    recipe = {"loss": "hinge"}
    for name, lengths in (("whole", [4]), ("parts", [2, 4])):
        for num_steps in lengths:
            cfg = tiny_config(tmp_path, model=changes, train={**recipe, "num_steps": num_steps})
            train(cfg, tmp_path / name, "cpu")
    assert sums(tmp_path / "whole") == sums(tmp_path / "parts")


def test_sampling_logging_and_evaluating_do_not_change_checkpoints(tmp_path: Path) -> None:
    for name, every in (("often", 1), ("seldom", 100)):
        cadence = {"sample_every_steps": every, "log_every_steps": every}
        if name == "often":
            cadence["evaluate_every_steps"] = 2
        train(tiny_config(tmp_path, train=cadence), tmp_path / name, "cpu")
    assert (
        sums(tmp_path / "often")["step_00000004.pt"]
        == sums(tmp_path / "seldom")["step_00000004.pt"]
    )


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_saves_and_the_printed_command_resumes(
    config: Path, tmp_path: Path, signum: int, code: int
) -> None:
    run_dir = tmp_path / "run"
    metrics = run_dir / "metrics.jsonl"
    sets = ["--set", "train.checkpoint_every_steps=1000000", "--set", "train.log_every_steps=1",
            "--set", "train.num_steps=1000000"]  # fmt: skip
    with running("train", config, "--run-dir", run_dir, *sets) as process:
        wait_until(lambda: metrics.exists() and metrics.stat().st_size, process)
        process.send_signal(signum)
        stderr = process.communicate()[1]
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    hint = re.search(r"to resume: gan (train .*)", stderr)[1]
    (saved,) = run_dir.glob(CHECKPOINTS)
    step = read_checkpoint(saved).step
    again = gan(*shlex.split(hint), "--set", f"train.num_steps={step + 2}")
    assert again.exit_code == 0, again.stderr
    assert read_checkpoint(run_dir / f"checkpoints/step_{step + 2:08}.pt").step == step + 2


_ENDLESS_STEP = """
import signal, time
from gan.machine.signals import stop_on_signals
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup
with stop_on_signals() as stop:
    print("ready", flush=True)
    while not stop.signum:
        time.sleep(0.01)
    print("asked to stop", flush=True)
    while True:
        time.sleep(0.01)
"""


@contextmanager
def signalled_twice(signum: int) -> Iterator[subprocess.Popen[str]]:
    """Starts an endless step, and signals it a second time after it has seen the first."""
    endless = [sys.executable, "-c", _ENDLESS_STEP]
    pipe = subprocess.PIPE
    with subprocess.Popen(endless, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout and process.stdout.readline() == "ready\n"
            process.send_signal(signum)
            assert process.stdout.readline() == "asked to stop\n"
            process.send_signal(signum)
            yield process
        finally:
            process.kill()


def test_first_ctrl_c_is_answered_and_the_second_ends_the_process_at_once() -> None:
    with signalled_twice(signal.SIGINT) as process:
        answer = "finishing this step, then saving; interrupt again to quit without saving\n"
        assert process.communicate()[1] == answer
        assert process.returncode == -signal.SIGINT


def test_a_second_hang_up_leaves_time_to_save() -> None:
    # a terminal that is closed and its shell both send one
    with signalled_twice(signal.SIGHUP) as process:
        time.sleep(0.2)
        assert process.poll() is None


def test_grids_that_cannot_be_written_lose_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("samples/ has been removed")

    monkeypatch.setattr(report, "show", fails)
    monkeypatch.setattr(loop, "_do_missed_events", lambda run: False)
    cfg = tiny_config(tmp_path, train={"num_steps": 2})
    with pytest.raises(OSError, match="removed"):
        train(cfg, tmp_path / "run", "cpu")
    assert read_checkpoint(checkpoint_path(tmp_path / "run/checkpoints", 2)).step == 2


def test_a_run_and_its_own_config_have_the_same_identity(tiny_run: Path) -> None:
    own, first = load_config(tiny_run / "config.yaml"), tiny_config(tiny_run.parent)
    assert repr(identity(own)) == repr(identity(first))  # to the byte, 1 is not 1.0
    written = parse_config(yaml.safe_load(describe(Config())), origin="")
    assert repr(identity(written)) == repr(identity(Config()))
    pair = parse_config({"data": {"image_size": [32, 32]}}, origin="")
    assert pair.data.image_size == 32


def test_second_process_is_refused_with_the_owner_of_the_lock(config: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    words = ["train", config, "--run-dir", run_dir]
    with running(*words, "--set", "train.num_steps=1000000") as first:
        wait_until((run_dir / "metrics.jsonl").exists, first)
        second = gan(*words)
        assert second.exit_code == 1
        assert f"in use by process {first.pid} on " in second.stderr
    third = gan(*words, "--set", "train.num_steps=1")
    assert third.exit_code == 0, third.stderr  # a killed process holds no lock


def test_sampling_works_while_a_run_writes_and_deletes_checkpoints(
    config: Path, tmp_path: Path
) -> None:
    run_dir, out = tmp_path / "run", tmp_path / "a.png"
    sets = ["--set", "train.checkpoint_every_steps=1", "--set", "train.keep_checkpoints=2",
            "--set", "train.sample_every_steps=1000000", "--set", "train.log_every_steps=1000000",
            "--set", "train.num_steps=1000000"]  # fmt: skip
    seen = set()
    with running("train", config, "--run-dir", run_dir, *sets) as writer:
        wait_until(lambda: list(run_dir.glob(CHECKPOINTS)), writer)
        while len(seen) < 15:
            shown = gan("sample", run_dir, "--num", 1, "--out", out, "--force")
            assert shown.exit_code == 0, shown.output
            with Image.open(out) as image:
                seen.add(image.text["step"])


def test_damaged_newest_checkpoint_is_reported_and_skipped(
    finished_run: Path, tmp_path: Path
) -> None:
    intact = sums(finished_run)
    newest = finished_run / "checkpoints" / "step_00000004.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    train(tiny_config(tmp_path), finished_run, "cpu")
    assert "damaged" in (finished_run / "log.txt").read_text()
    assert sums(finished_run) == intact


def test_run_without_an_intact_checkpoint_stops_and_deletes_nothing(
    finished_run: Path, tmp_path: Path
) -> None:
    for path in finished_run.glob(CHECKPOINTS):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="nothing was deleted"):
        train(tiny_config(tmp_path), finished_run, "cpu")
    assert len(sums(finished_run)) == 2


def test_resuming_with_other_hardware_settings_is_reported(
    finished_run: Path, tmp_path: Path
) -> None:
    cfg = tiny_config(tmp_path, train={"num_steps": 5}, hardware={"threads": 2})
    assert train(cfg, finished_run, "cpu").state.step == 5
    log = (finished_run / "log.txt").read_text()
    differs = r"precision: checkpoint has .*, 1 threads, this machine has .*, 2 threads"
    assert re.search(differs, log)


def test_resuming_with_other_settings_is_refused_by_field(
    finished_run: Path, tmp_path: Path
) -> None:
    other = tiny_config(tmp_path, train={"beta1": 0.1, "num_steps": 9}, model={"z_dim": 9})
    with pytest.raises(ValueError, match="holds another run") as caught:
        train(other, finished_run, "cpu")
    lines = str(caught.value).splitlines()[1:]
    assert lines == [
        "  model.z_dim: checkpoint has 8, config has 9",
        "  train.beta1: checkpoint has 0.5, config has 0.1",
    ]


def test_the_machine_in_checkpoints_keeps_its_words() -> None:
    """Else every run of an earlier version would resume with a warning."""
    precision = Precision(torch.bfloat16, channels_last=True, threads=1)
    assert precision.recorded == "bfloat16, channels_last, 1 threads"
    assert str(precision) == "bfloat16, channels_last, 1 thread"


def test_resuming_on_another_machine_reports_what_differs(
    finished_run: Path, tmp_path: Path
) -> None:
    newest = finished_run / "checkpoints" / "step_00000004.pt"
    elsewhere = {"torch": "1.0", "fashion": "\x1b[2Jnew\n", "sizes": torch.ones(2)}
    save_checkpoint(newest, replace(read_checkpoint(newest), environment=elsewhere))
    train(tiny_config(tmp_path), finished_run, "cpu")
    log = (finished_run / "log.txt").read_text()
    assert (
        f"torch: checkpoint has 1.0, this machine has {torch.__version__}; "
        "fashion: checkpoint has \\x1b[2Jnew\\n, this machine has None; "
        "sizes: checkpoint has tensor([1., 1.]), this machine has None"
    ) in log


def test_resuming_on_another_processor_is_noted(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "processor", lambda device: "another")
    train(tiny_config(tmp_path), finished_run, "cpu")
    assert ", this machine has another" in (finished_run / "log.txt").read_text()


def test_ranks_that_read_different_checkpoints_of_one_name_stop(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_disk(value: object, ranks: Ranks) -> object:
        return "another sha256" if isinstance(value, str) else value

    monkeypatch.setattr(resume, "from_first", of_another_disk)
    with pytest.raises(BadCheckpoint, match=r"step_00000004\.pt: the ranks have read different"):
        train(tiny_config(tmp_path), finished_run, "cpu")


def test_checkpoint_that_cannot_be_resumed_is_named(finished_run: Path, tmp_path: Path) -> None:
    newest = finished_run / "checkpoints" / "step_00000004.pt"
    checkpoint = read_checkpoint(newest)
    checkpoint.d_optim["state"] = {}
    save_checkpoint(newest, checkpoint)
    with pytest.raises(
        BadCheckpoint, match=f"{newest}: d_optim: moments of Adam are missing; move"
    ):
        train(tiny_config(tmp_path), finished_run, "cpu")


def test_init_from_starts_a_new_run_with_other_settings(tiny_run: Path, tmp_path: Path) -> None:
    start = tiny_run / "checkpoints" / "step_00000004.pt"
    cfg = tiny_config(
        tmp_path, train={"init_from": str(start), "g_learning_rate": 1e-9, "num_steps": 1}
    )
    old = read_checkpoint(start)
    for _ in range(2):  # a call that was killed before its first checkpoint is given again
        train(cfg, tmp_path / "new", "cpu")
        (path,) = (tmp_path / "new").glob(CHECKPOINTS)
        new = read_checkpoint(path)
        assert new.step == 1
        for key, value in old.g.items():
            if "running" not in key and "num_batches" not in key:
                torch.testing.assert_close(new.g[key], value, rtol=0, atol=1e-6)
        path.unlink()
    other = tiny_config(tmp_path, train={"init_from": str(start)}, model={"g_width": 5})
    with pytest.raises(
        ValueError, match=r"train\.init_from: .*\n  model\.g_width: checkpoint has 4"
    ):
        train(other, tmp_path / "other", "cpu")
    assert not (tmp_path / "other").exists()


def test_init_from_is_read_before_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "open_source", lambda *a, **k: pytest.fail("images were opened"))
    cfg = tiny_config(tmp_path, train={"init_from": str(tmp_path / "typo.pt")})
    with pytest.raises(ValueError, match=r"train\.init_from: .*typo\.pt: no such file"):
        train(cfg, tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()


def test_a_run_resumes_without_the_file_of_init_from(tiny_run: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.pt"
    shutil.copy(tiny_run / "checkpoints" / "step_00000004.pt", start)
    changes = {"init_from": str(start)}
    train(tiny_config(tmp_path, train={**changes, "num_steps": 1}), tmp_path / "run", "cpu")
    start.unlink()
    cfg = tiny_config(tmp_path, train={**changes, "num_steps": 2})
    assert train(cfg, tmp_path / "run", "cpu").state.step == 2


def nan_gradient(loss: Tensor, logits: Tensor) -> Tensor:
    return loss + (logits - logits.detach()).sum().mul(0).sqrt()  # adds 0, of infinite slope


@pytest.mark.parametrize(
    ("network", "harm", "log_every_steps", "found"),
    [
        ("d", lambda loss, _: loss * float("nan"), 20, ("a weight", 6)),
        ("g", lambda loss, _: loss * float("inf"), 20, ("a weight", 6)),
        ("g", lambda loss, _: loss * float("inf"), 1, ("loss/g, gradient_norm/g", 5)),
        ("g", nan_gradient, 1, ("gradient_norm/g", 5)),
    ],
)
def test_diverged_run_exits_with_3_and_its_checkpoints_are_finite(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    network: str, harm: Callable[[Tensor, Tensor], Tensor], log_every_steps: int,
    found: tuple[str, int],
) -> None:  # fmt: skip
    calls = itertools.count(1)
    correct = LOSSES["non_saturating"]

    def poisoned(*logits: Tensor) -> Tensor:
        loss = getattr(correct, network)(*logits)
        return harm(loss, logits[-1]) if next(calls) == 5 else loss

    monkeypatch.setitem(LOSSES, "non_saturating", correct._replace(**{network: poisoned}))
    shown = gan(
        "train", config, "--run-dir", tmp_path / "run", "--set", "train.num_steps=50",
        "--set", f"train.log_every_steps={log_every_steps}",
    )  # fmt: skip
    assert shown.exit_code == 3
    what, step = found
    assert f"Error: {what} is not finite at step {step}" in shown.output
    assert sums(tmp_path / "run").keys() == {"step_00000002.pt", "step_00000004.pt"}
    for path in (tmp_path / "run").glob(CHECKPOINTS):
        assert all(t.isfinite().all() for t in read_checkpoint(path).g.values())


def test_diverged_state_is_never_the_best_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count(1)
    correct = LOSSES["non_saturating"]

    def poisoned(fake: Tensor) -> Tensor:
        return correct.g(fake) * (float("nan") if next(calls) == 2 else 1)

    monkeypatch.setitem(LOSSES, "non_saturating", correct._replace(g=poisoned))
    seldom = {name: 9 for name in ("log_every_steps", "checkpoint_every_steps", "num_steps")}
    cfg = tiny_config(tmp_path, train={**seldom, "evaluate_every_steps": 2})
    with pytest.raises(NonFinite, match="at step 2"):
        train(cfg, tmp_path / "run", "cpu")
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_terminal_shows_progress_bars_and_a_status_line_that_fits(
    config: Path, tmp_path: Path, cache: Path
) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    words = ["train", config, "--run-dir", tmp_path / "run", "--set",
             "train.evaluate_every_steps=4"]  # fmt: skip
    process = subprocess.Popen(command(*words), stderr=theirs)
    os.close(theirs)
    text = ""
    with suppress(OSError):  # the process has ended
        while part := os.read(ours, 65536):
            text += part.decode()
    os.close(ours)
    assert process.wait() == 0
    # what remains of each line: a bar overwrites itself as often as time allows
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    packed = [line for line in lines if line.startswith("packing: 100%")]
    assert len(packed) == 2  # the training and the held-out images
    *_, status, last, _ = lines
    assert re.match(r"100%\|█+\| 4/4  [\d,]+ images/s  00:00 left  D\(x\) .*  D\(G", status), lines
    assert len(status) == 80
    assert last.startswith("done: step 4, 32 images")


def test_full_disk_exits_with_4_and_the_run_resumes_with_more_room(
    config: Path, tmp_path: Path
) -> None:
    words = ["train", config, "--run-dir", tmp_path / "run", "--set", "model.g_width=64"]
    assert gan(*words, "--set", "train.num_steps=2").exit_code == 0
    before = sums(tmp_path / "run")
    with largest_file(1_000_000):
        full = gan(*words)
    assert full.exit_code == 4, full.stderr
    assert (
        "File too large, for a checkpoint of" in full.stderr
        and "free some disk space" in full.stderr
    )
    assert sums(tmp_path / "run") == before
    assert gan(*words).exit_code == 0
    assert "step_00000004.pt" in sums(tmp_path / "run")


def test_full_disk_leaves_the_last_checkpoint_and_no_temporary_file(
    tiny_run: Path, config: Path, tmp_path: Path, small_disk: SmallDisk
) -> None:
    run_dir = tmp_path / "run"
    num_bytes = (tiny_run / "checkpoints" / "step_00000004.pt").stat().st_size
    small_disk(run_dir / "checkpoints", f"size={3 * num_bytes // 2}")
    full = gan("train", config, "--run-dir", run_dir)
    assert full.exit_code == 4
    assert (
        f"No space left on device, for a checkpoint of {num_bytes:,} bytes; free some disk space"
        in full.output
    )
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["step_00000002.pt"]
    small_disk(run_dir / "checkpoints", "size=4m")
    assert gan("train", config, "--run-dir", run_dir).exit_code == 0
    assert sums(run_dir).keys() == {"step_00000002.pt", "step_00000004.pt"}


def test_read_only_disk_is_reported_in_one_line(
    tiny_run: Path, config: Path, tmp_path: Path, small_disk: SmallDisk
) -> None:
    small_disk(tmp_path / "ro", "ro")
    for words in (["train", config, "--run-dir"], ["sample", tiny_run, "--num", "1", "--out"]):
        shown = gan(*words, tmp_path / "ro" / "a.png")
        assert shown.exit_code == 1
        assert shown.output == f"Error: {tmp_path / 'ro' / 'a.png'}: Read-only file system\n"


def test_run_resumes_after_the_disk_filled_up_while_an_image_was_written(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_half(self: Image.Image, place: Path, *args: object, **kwargs: object) -> None:
        Path(place).write_bytes(b"half an image")
        raise OSError(errno.ENOSPC, "No space left on device")

    words = ["train", config, "--run-dir", tmp_path / "run"]
    assert gan(*words, "--set", "train.num_steps=1").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save_half)
        assert gan(*words).exit_code == 4
    assert gan(*words).exit_code == 0
    assert not list((tmp_path / "run" / "samples").glob(".*"))


def test_max_minutes_ends_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, train={"num_steps": 10**6, "max_minutes": 0.001})
    run = train(cfg, tmp_path / "run", "cpu")
    assert run.ending == Ending.TIME_UP and 0 < run.state.step < 10**6
    assert f"step_{run.state.step:08}.pt" in sums(tmp_path / "run")
    last_line = (tmp_path / "run" / "log.txt").read_text().splitlines()[-1]
    assert "time is up (train.max_minutes): step" in last_line
    cfg = tiny_config(tmp_path, train={"num_steps": 1, "max_minutes": 1e-9})
    assert train(cfg, tmp_path / "done", "cpu").ending == Ending.DONE


def test_run_ended_by_max_minutes_says_how_to_resume(config: Path, tmp_path: Path) -> None:
    limit = ["--set", "train.max_minutes=0.0001"]
    shown = gan("train", config, "--run-dir", tmp_path / "run", *limit)
    assert shown.exit_code == 0
    hint = re.search(r"to resume: gan (train .*)", shown.stderr)[1]
    again = gan(*shlex.split(hint))
    assert again.exit_code == 0 and "resuming from step_00000001.pt" in again.stderr


def test_finished_run_reports_that_and_keeps_its_checkpoints(
    finished_run: Path, tmp_path: Path
) -> None:
    before = sums(finished_run)
    unfinished = finished_run / "checkpoints" / ".step_00000006.pt.part"
    unfinished.write_bytes(b"of a killed process")
    train(tiny_config(tmp_path), finished_run, "cpu")
    assert sums(finished_run) == before and not unfinished.exists()
    assert "already done: step 4 of train.num_steps 4" in (finished_run / "log.txt").read_text()


def test_best_checkpoint_is_that_of_the_lowest_metric(tmp_path: Path) -> None:
    steps = {"num_steps": 6, "evaluate_every_steps": 1, "g_learning_rate": 0.05}
    train(tiny_config(tmp_path, train=steps), tmp_path / "run", "cpu")
    rows = [
        json.loads(line) for line in (tmp_path / "run/evaluations.jsonl").read_text().splitlines()
    ]
    tag = "metric/sliced_wasserstein_mean"
    values = {row["step"]: row[tag] for row in rows if tag in row}
    assert values.keys() == {1, 2, 3, 4, 5, 6}
    best = min(values, key=values.get)
    assert read_checkpoint(tmp_path / "run/checkpoints/best.pt").step == best


def test_a_run_of_which_only_the_best_checkpoint_is_left_resumes_from_it(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, train={"evaluate_every_steps": 4})
    train(cfg, tmp_path / "run", "cpu")
    for path in (tmp_path / "run").glob(CHECKPOINTS):
        path.unlink()
    other = tiny_config(tmp_path, train={"evaluate_every_steps": 4}, model={"g_width": 5})
    with pytest.raises(ValueError, match="holds another run"):
        train(other, tmp_path / "run", "cpu")
    train(cfg, tmp_path / "run", "cpu")
    assert "resuming from best.pt" in (tmp_path / "run" / "log.txt").read_text()


def test_too_few_images_to_evaluate_are_an_error_before_the_first_step(
    images: Path, tmp_path: Path
) -> None:
    cfg = tiny_config(tmp_path, train={"evaluate_every_steps": 4})
    cfg = cfg.model_copy(update={"data": folder_config(images)})  # six images
    with pytest.raises(
        ValueError, match=r"allow only 3; or set train.evaluate_every_steps to null"
    ):
        train(cfg, tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()


def test_a_run_of_own_images_is_evaluated_from_any_directory(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = folder_config(images).model_copy(update={"root": "images"})
    cfg = tiny_config(tmp_path).model_copy(update={"data": data})
    train(cfg, Path("run"), "cpu")
    monkeypatch.chdir("/")
    assert load_generator(tmp_path / "run", torch.device("cpu")).cfg.data.root == str(images)


@pytest.mark.parametrize("other", ["metric", "network", "held_out", "damaged", "no checkpoint"])
def test_best_checkpoint_is_chosen_by_one_ruler_only(tmp_path: Path, other: str) -> None:
    best = tmp_path / "run/checkpoints/best.pt"
    for steps in (4, 8):
        cfg = tiny_config(tmp_path, train={"num_steps": steps, "evaluate_every_steps": 4})
        train(cfg, tmp_path / "run", "cpu")
        facts = json.loads(best.with_suffix(".json").read_text()) | {"value": 0.0}  # unbeatable
        facts |= {other: "another"} if other in facts else {}
        text = "" if other == "damaged" else json.dumps(facts)
        best.with_suffix(".json").write_text(text)
        assert read_checkpoint(best).step == steps
        if other == "no checkpoint":
            best.unlink()
    before = best.with_name("best_before.pt")  # the former best is kept
    assert before.exists() == (other != "no checkpoint")
    assert not before.exists() or read_checkpoint(before).step == 4


def test_repeated_step_does_not_replace_a_better_checkpoint(tmp_path: Path) -> None:
    """The last checkpoint is lost; its step is computed again and is worse than the best."""
    steps = {"num_steps": 2, "evaluate_every_steps": 1, "checkpoint_every_steps": 1}
    train(tiny_config(tmp_path, train=steps), tmp_path / "run", "cpu")
    facts = tmp_path / "run/checkpoints/best.json"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"value": 0.0}))  # unbeatable
    (tmp_path / "run/checkpoints/step_00000002.pt").unlink()
    before = (tmp_path / "run/checkpoints/best.pt").read_bytes()
    train(tiny_config(tmp_path, train=steps), tmp_path / "run", "cpu")
    assert (tmp_path / "run/checkpoints/best.pt").read_bytes() == before
    assert "step 2: sliced_wasserstein_mean" in (tmp_path / "run/log.txt").read_text()


def test_best_checkpoint_that_could_not_be_written_is_written_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row of the evaluation is not written either, so the repeated step writes both."""

    def full(path: Path, checkpoint: Checkpoint) -> None:
        raise OSError(28, "full", str(path))

    steps = {"num_steps": 4, "evaluate_every_steps": 2, "checkpoint_every_steps": 2}
    cfg = tiny_config(tmp_path, train=steps)
    with monkeypatch.context() as patch:
        patch.setattr("gan.training.evaluator.save_checkpoint", full)
        with pytest.raises(OSError, match="full"):
            train(cfg, tmp_path / "run", "cpu")
    assert not (tmp_path / "run/evaluations.jsonl").read_text()
    train(cfg, tmp_path / "run", "cpu")
    rows = map(json.loads, (tmp_path / "run/evaluations.jsonl").read_text().splitlines())
    best = min(rows, key=lambda row: row["metric/sliced_wasserstein_mean"])
    assert read_checkpoint(tmp_path / "run/checkpoints/best.pt").step == best["step"]


def test_max_minutes_include_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late_s, monotonic = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + late_s[0])

    def slow_pack(source: Source, cfg: DataConfig) -> PackedImages:
        late_s[0] += 3600
        return pack(source, cfg)

    monkeypatch.setattr("gan.training.loop.pack", slow_pack)
    run = train(tiny_config(tmp_path, train={"max_minutes": 60}), tmp_path / "run", "cpu")
    assert run.ending == Ending.TIME_UP and run.state.step == 1


def test_evaluation_that_failed_at_the_last_step_is_repeated_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> None:
        raise OSError(28, "full")

    cfg = tiny_config(tmp_path, train={"evaluate_every_steps": 4})
    with monkeypatch.context() as patch:
        patch.setattr("gan.training.evaluator.evaluate", fails)
        with pytest.raises(OSError, match="full"):
            train(cfg, tmp_path / "run", "cpu")
    train(cfg, tmp_path / "run", "cpu")
    assert (tmp_path / "run/checkpoints/best.pt").exists()
    assert (tmp_path / "run/samples/learning.gif").exists()


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, train={"checkpoint_every_steps": 1, "keep_checkpoints": 2})
    train(cfg, tmp_path / "run", "cpu")
    assert sums(tmp_path / "run").keys() == {"step_00000003.pt", "step_00000004.pt"}


def test_run_directory_describes_the_run(tiny_run: Path) -> None:
    (call,) = json.loads((tiny_run / "meta.json").read_text())["calls"]
    assert {"command", "started", "versions", "commit", "device", "precision"} <= call.keys()
    assert yaml.safe_load((tiny_run / "config.yaml").read_text())["train"]["batch_size"] == 8
    names = {
        path.relative_to(tiny_run).as_posix() for path in tiny_run.rglob("*") if path.is_file()
    }
    assert {"log.txt", "metrics.jsonl", "samples/real.png", "samples/ema_00000000.png",
            "samples/raw_00000004.png", "samples/learning.gif",
            "checkpoints/step_00000004.pt"} <= names  # fmt: skip
    assert any(name.startswith("events.") for name in names)


def test_meta_json_has_every_call(tmp_path: Path) -> None:
    for num_steps in (2, 4):
        train(tiny_config(tmp_path, train={"num_steps": num_steps}), tmp_path / "run", "cpu")
    calls = json.loads((tmp_path / "run" / "meta.json").read_text())["calls"]
    assert [call["step"] for call in calls] == [0, 2]


def test_run_restores_the_exception_hook_of_threads(tmp_path: Path) -> None:
    before = threading.excepthook
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    assert threading.excepthook is before


def test_throughput_excludes_the_time_of_grids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each grid takes 1,000 s on the clock of this test."""
    late_s, perf_counter = [0.0], time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: perf_counter() + late_s[0])
    # by default a window starts at the time of the clock that is replaced here
    monkeypatch.setattr("gan.training.loop.Window", lambda: Window(started=time.perf_counter()))

    def slow_show(run: Run, samples: dict[str, np.ndarray]) -> None:
        late_s[0] += 1000

    monkeypatch.setattr(report, "show", slow_show)
    monkeypatch.setattr(report, "finish", lambda run, ending: None)
    cfg = tiny_config(tmp_path, train={"sample_every_steps": 1, "num_steps": 5})
    train(cfg, tmp_path / "run", "cpu")
    rows = read_rows(tmp_path / "run")
    num_images = [16, 16, 8]  # since the row before
    assert late_s[0] == 6000 and len(rows) == 3
    for row, num in zip(rows, num_images, strict=True):
        assert row["throughput/images_per_s"] > num / 1000


def test_diversity_is_measured_on_the_images_that_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come from the average of G with its own BatchNorm statistics."""
    seen = []
    monkeypatch.setattr(
        "gan.training.loop.diversity", lambda images, real: seen.append(images) or 1.0
    )
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    with Image.open(tmp_path / "run" / "samples" / "ema_00000004.png") as shown:
        assert np.array_equal(np.asarray(shown), grid(seen[-1]))


def test_grids_of_a_conditional_run_have_one_class_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collapse is still looked for in 64 samples of classes at random."""
    watched, drawn = [], []
    monkeypatch.setattr(
        "gan.training.loop.diversity", lambda images, real: watched.append(images) or 1.0
    )
    samples = Run.fixed_samples

    def spy(run: Run, g: Generator, num: int, labels: Tensor | None = None) -> np.ndarray:
        images = samples(run, g, num, labels)
        drawn.append((labels, images))
        return images

    monkeypatch.setattr(Run, "fixed_samples", spy)
    train(tiny_config(tmp_path, model={"conditional": True}), tmp_path / "run", "cpu")
    (labels, shown), _, (no_labels, random) = drawn[-3:]
    assert labels.tolist() == [0] * 32 + [1] * 32  # rows of 8
    with Image.open(tmp_path / "run" / "samples" / "ema_00000004.png") as image:
        assert np.array_equal(np.asarray(image), grid(shown, 8))
    assert no_labels is None and len(random) == 64 and watched[-1] is random


@pytest.mark.parametrize("stop_at", [2, 3, 4])
def test_evaluation_and_grids_prevented_by_a_signal_are_made_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """After the last step, 4, too."""

    def step_with_signal(state: TrainState, *args: object) -> dict[str, Tensor]:
        values = one_step(state, *args)
        if state.step == stop_at:
            signal.raise_signal(signal.SIGTERM)
        return values

    cfg = tiny_config(tmp_path, train={"evaluate_every_steps": 2})
    with monkeypatch.context() as patch:
        patch.setattr("gan.training.loop.one_step", step_with_signal)
        assert train(cfg, tmp_path / "run", "cpu").ending == Ending.TERMINATED
    assert max(sums(tmp_path / "run")) == f"step_{stop_at:08}.pt"
    assert not (tmp_path / "run/samples/learning.gif").exists()  # the sender may not wait
    assert train(cfg, tmp_path / "run", "cpu").ending == Ending.DONE
    rows = (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [2, 4]
    grids = sorted((tmp_path / "run" / "samples").glob("ema_*.png"))
    assert [path.name for path in grids] == [f"ema_{step:08}.png" for step in (0, 2, 4)]
    assert (tmp_path / "run" / "samples" / "learning.gif").exists()
    assert (tmp_path / "run" / "checkpoints" / "best.pt").exists()


def test_finished_run_makes_no_reference_for_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_config(tmp_path, train={"evaluate_every_steps": 2})
    train(cfg, tmp_path / "run", "cpu")
    monkeypatch.delattr("gan.training.evaluator.make_reference")
    assert train(cfg, tmp_path / "run", "cpu").ending == Ending.DONE


def test_metrics_have_the_tags_that_scripts_use(tiny_run: Path) -> None:
    rows = read_rows(tiny_run)
    assert [(row["step"], row["images_seen"]) for row in rows] == [(2, 16), (4, 32)]
    tags = {"loss/d", "loss/g", "d/real", "d/fake", "d/fake_after", "d/accuracy",
            "gradient_norm/g", "gradient_norm/d", "throughput/images_per_s",
            "throughput/data_wait", "memory/mib", "ema/decay", "samples/diversity"}  # fmt: skip
    assert all(tags <= row.keys() for row in rows)


def test_output_has_no_lines_of_libraries(config: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command("train", config, "--run-dir", tmp_path / "run"),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 0
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert "512 images 3x16x16" in lines[0] and lines[-1].startswith("done: step 4")
    assert not [line for line in lines if "arning" in line or "Error" in line]
