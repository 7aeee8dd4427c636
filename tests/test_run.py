"""Whole runs in processes of their own: exact resume, signals, damage, divergence, locks."""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import os
import pty
import re
import resource
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from torch import Tensor

from gan.checkpoint import BadCheckpoint, Checkpoint, read_checkpoint, save_checkpoint
from gan.cli import main
from gan.config.settings import DataConfig
from gan.data.pack import PackedImages, pack
from gan.data.source import Source
from gan.errors import NonFinite
from gan.machine.signals import StopRequest
from gan.nn.losses import LOSSES
from gan.sampling import grid
from gan.tracking import Tracker
from gan.training import report
from gan.training.loop import train
from gan.training.run import Ending
from gan.training.state import TrainState
from gan.training.steps import one_step
from tests.conftest import tiny_config

SmallDisk = Callable[[Path, str], None]
CHECKPOINTS = "checkpoints/step_*.pt"


def gan(*words: object, **kwargs: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gan", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, **kwargs)


def quick_gan(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def read_rows(run_dir: Path) -> list[dict]:
    return list(map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines()))


def sums(run_dir: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run_dir.glob(CHECKPOINTS)
    }


def test_resumed_run_equals_unbroken_run(config: Path, tmp_path: Path) -> None:
    """To the sha256 of the checkpoint, across processes, in the middle of an epoch."""
    more = ["--set", "model.conditional=true", "--set", "train.augment=diffaugment",
            "--set", "train.class_loss_weight=0.5", "--set", "data.flip=true",
            "--set", "train.checkpoint_every_steps=4"]  # fmt: skip
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert (
        gan("train", config, "--run-dir", whole, *more, "--set", "train.num_steps=7").returncode
        == 0
    )
    for steps in (1, 5, 7):
        done = gan("train", config, "--run-dir", parts, *more, "--set", f"train.num_steps={steps}")
        assert done.returncode == 0, done.stderr
    assert "resuming from step_00000005.pt" in done.stderr
    assert sums(whole)["step_00000007.pt"] == sums(parts)["step_00000007.pt"]
    assert [row["step"] for row in read_rows(parts)] == [1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("steps", [0, 1, 2])  # the start, the middle and the end of an epoch
def test_a_run_may_be_cut_anywhere_in_an_epoch(tmp_path: Path, steps: int) -> None:
    recipe = {"batch_size": 256, "checkpoint_every_steps": 3}
    train(tiny_config(tmp_path, train={**recipe, "num_steps": 3}), tmp_path / "whole", "cpu")
    for num_steps in (max(steps, 1), 3):
        train(tiny_config(tmp_path, train={**recipe, "num_steps": num_steps}), tmp_path / "parts",
              "cpu")  # fmt: skip
        if not steps:  # as if killed before its first checkpoint
            (tmp_path / "parts/checkpoints/step_00000001.pt").unlink(missing_ok=True)
    last = "step_00000003.pt"
    assert sums(tmp_path / "whole")[last] == sums(tmp_path / "parts")[last]


@pytest.mark.parametrize("changes", [{"d_norm": "spectral"}, {"upsample": "resize", "pac": 2}])
def test_other_networks_resume_exactly_too(tmp_path: Path, changes: dict) -> None:
    recipe = {"loss": "relativistic"}
    if changes.get("d_norm") == "spectral":
        recipe["penalty"] = "r1_r2"
    for name, lengths in (("whole", [4]), ("parts", [2, 4])):
        for num_steps in lengths:
            cfg = tiny_config(tmp_path, model=changes, train={**recipe, "num_steps": num_steps})
            train(cfg, tmp_path / name, "cpu")
    assert sums(tmp_path / "whole") == sums(tmp_path / "parts")


def test_sampling_logging_and_evaluating_do_not_touch_a_run(tmp_path: Path) -> None:
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
def test_a_signal_saves_and_ends_and_the_same_command_goes_on(
    config: Path, tmp_path: Path, signum: int, code: int
) -> None:
    run_dir = tmp_path / "run"
    words = ["train", config, "--run-dir", run_dir, "--set", "train.checkpoint_every_steps=100000",
             "--set", "train.log_every_steps=1"]  # fmt: skip
    command = [sys.executable, "-m", "gan", *map(str, words), "--set", "train.num_steps=100000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    metrics = run_dir / "metrics.jsonl"
    deadline = time.monotonic() + 100
    while not (metrics.exists() and metrics.stat().st_size):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signum)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    hint = re.search(r"stopped and saved; to resume: gan (train .*)", stderr)[1]
    (saved,) = run_dir.glob(CHECKPOINTS)
    step = read_checkpoint(saved).step
    again = gan(*shlex.split(hint), "--set", f"train.num_steps={step + 2}")
    assert again.returncode == 0, again.stderr
    assert read_checkpoint(run_dir / f"checkpoints/step_{step + 2:08}.pt").step == step + 2


_NEVER_ENDING_STEP = """
import time
from gan.machine.signals import stop_on_signals
with stop_on_signals() as stop:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
        if stop.signum:
            print("asked", flush=True)
"""


def test_a_second_ctrl_c_ends_at_once() -> None:
    command = [sys.executable, "-c", _NEVER_ENDING_STEP]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "asked\n"  # it goes on
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[1] == ""
    assert process.returncode == -signal.SIGINT


def test_a_second_process_is_refused_and_told_who_has_the_run(config: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    command = [sys.executable, "-m", "gan", "train", str(config), "--run-dir", str(run_dir),
               "--set", "train.num_steps=100000"]  # fmt: skip
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while not (run_dir / "metrics.jsonl").exists():
            assert first.poll() is None
            time.sleep(0.05)
        second = gan("train", config, "--run-dir", run_dir)
        assert second.returncode == 1
        assert f"in use by process {first.pid} on " in second.stderr
    finally:
        first.kill()
        first.wait()
    third = gan("train", config, "--run-dir", run_dir, "--set", "train.num_steps=1")
    assert third.returncode == 0, third.stderr  # a killed process holds no lock


def test_sampling_while_a_run_writes_and_deletes_checkpoints(config: Path, tmp_path: Path) -> None:
    run_dir, out = tmp_path / "run", tmp_path / "a.png"
    command = [sys.executable, "-m", "gan", "train", str(config), "--run-dir", str(run_dir),
               "--set", "train.checkpoint_every_steps=1", "--set", "train.keep_checkpoints=2",
               "--set", "train.sample_every_steps=100000", "--set", "train.log_every_steps=100000",
               "--set", "train.num_steps=100000"]  # fmt: skip
    writer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    seen = set()
    try:
        while not list(run_dir.glob(CHECKPOINTS)):
            assert writer.poll() is None
            time.sleep(0.05)
        while len(seen) < 15:
            shown = quick_gan("sample", run_dir, "--num", 1, "--out", out, "--force")
            assert shown.exit_code == 0, shown.output
            with Image.open(out) as image:
                seen.add(image.text["step"])
    finally:
        writer.kill()
        writer.wait()


def test_a_damaged_newest_checkpoint_is_passed_over_and_told(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    train(cfg, tmp_path / "run", "cpu")
    good = sums(tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step_00000004.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    train(cfg, tmp_path / "run", "cpu")
    assert "damaged" in (tmp_path / "run" / "log.txt").read_text()
    assert sums(tmp_path / "run") == good


def test_when_no_checkpoint_is_good_the_run_stops_and_deletes_nothing(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    train(cfg, tmp_path / "run", "cpu")
    for path in (tmp_path / "run").glob(CHECKPOINTS):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="nothing was deleted"):
        train(cfg, tmp_path / "run", "cpu")
    assert len(sums(tmp_path / "run")) == 2


def test_resuming_with_other_hardware_settings_is_noted(tmp_path: Path) -> None:
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    cfg = tiny_config(tmp_path, train={"num_steps": 5}, hardware={"threads": 2})
    assert train(cfg, tmp_path / "run", "cpu").state.step == 5
    log = (tmp_path / "run" / "log.txt").read_text()
    assert re.search(
        r"precision: checkpoint has .*, 1 threads, this machine has .*, 2 threads", log
    )


def test_resuming_with_other_settings_is_refused_by_field(tmp_path: Path) -> None:
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    other = tiny_config(tmp_path, train={"beta1": 0.1, "num_steps": 9}, model={"z_dim": 9})
    with pytest.raises(ValueError, match="holds another run") as caught:
        train(other, tmp_path / "run", "cpu")
    lines = str(caught.value).splitlines()[1:]
    assert lines == [
        "  model.z_dim: checkpoint has 8, config has 9",
        "  train.beta1: checkpoint has 0.5, config has 0.1",
    ]


def test_resuming_elsewhere_says_what_differs(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    train(cfg, tmp_path / "run", "cpu")
    newest = tmp_path / "run" / "checkpoints" / "step_00000004.pt"
    elsewhere = {"torch": "1.0", "fashion": "new"}
    save_checkpoint(newest, replace(read_checkpoint(newest), environment=elsewhere))
    train(cfg, tmp_path / "run", "cpu")
    log = (tmp_path / "run" / "log.txt").read_text()
    assert (
        f"torch: checkpoint has 1.0, this machine has {torch.__version__}; "
        "fashion: checkpoint has new, this machine has None"
    ) in log


def test_a_checkpoint_that_cannot_be_resumed_is_named(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    train(cfg, tmp_path / "run", "cpu")
    newest = tmp_path / "run" / "checkpoints" / "step_00000004.pt"
    checkpoint = read_checkpoint(newest)
    checkpoint.d_optim["state"] = {}
    save_checkpoint(newest, checkpoint)
    with pytest.raises(
        BadCheckpoint, match=f"{newest}: d_optim: moments of Adam are missing; move"
    ):
        train(cfg, tmp_path / "run", "cpu")


def test_init_from_starts_a_new_run_with_other_settings(tmp_path: Path) -> None:
    train(tiny_config(tmp_path), tmp_path / "old", "cpu")
    start = tmp_path / "old" / "checkpoints" / "step_00000004.pt"
    cfg = tiny_config(
        tmp_path, train={"init_from": str(start), "g_learning_rate": 1e-9, "num_steps": 1}
    )
    train(cfg, tmp_path / "new", "cpu")
    old, new = (read_checkpoint(p) for p in (start, next((tmp_path / "new").glob(CHECKPOINTS))))
    assert new.step == 1
    for key, value in old.g.items():
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(new.g[key], value, rtol=0, atol=1e-6)
    other = tiny_config(tmp_path, train={"init_from": str(start)}, model={"g_width": 5})
    with pytest.raises(ValueError, match=r"train\.init_from: .*g\.layers\.0\.weight"):
        train(other, tmp_path / "other", "cpu")


def nan_gradient(loss: Tensor, logits: Tensor) -> Tensor:
    return loss + (logits - logits.detach()).sum().mul(0).sqrt()  # 0, of slope infinity


@pytest.mark.parametrize(
    ("network", "harm", "log_every_steps", "found"),
    [
        ("d", lambda loss, _: loss * float("nan"), 20, ("a weight", 6)),
        ("g", lambda loss, _: loss * float("inf"), 20, ("a weight", 6)),
        ("g", lambda loss, _: loss * float("inf"), 1, ("loss/g, gradient_norm/g", 5)),
        ("g", nan_gradient, 1, ("gradient_norm/g", 5)),
    ],
)
def test_a_run_that_diverges_ends_with_3_and_every_file_left_is_good(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    network: str, harm: Callable[[Tensor, Tensor], Tensor], log_every_steps: int,
    found: tuple[str, int],
) -> None:  # fmt: skip
    calls = itertools.count(1)
    sound = LOSSES["non_saturating"]

    def poisoned(real: Tensor, fake: Tensor) -> Tensor:
        loss = getattr(sound, network)(real, fake)
        return harm(loss, fake) if next(calls) == 5 else loss

    monkeypatch.setitem(LOSSES, "non_saturating", sound._replace(**{network: poisoned}))
    shown = quick_gan(
        "train", config, "--run-dir", tmp_path / "run", "--set", "train.num_steps=50",
        "--set", f"train.log_every_steps={log_every_steps}",
    )  # fmt: skip
    assert shown.exit_code == 3
    what, step = found
    assert f"Error: {what} is not finite at step {step}" in shown.output
    assert sums(tmp_path / "run").keys() == {"step_00000002.pt", "step_00000004.pt"}
    for path in (tmp_path / "run").glob(CHECKPOINTS):
        assert all(t.isfinite().all() for t in read_checkpoint(path).g.values())


def test_a_diverged_state_is_never_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count(1)
    sound = LOSSES["non_saturating"]

    def poisoned(real: Tensor, fake: Tensor) -> Tensor:
        return sound.g(real, fake) * (float("nan") if next(calls) == 2 else 1)

    monkeypatch.setitem(LOSSES, "non_saturating", sound._replace(g=poisoned))
    seldom = {name: 9 for name in ("log_every_steps", "checkpoint_every_steps", "num_steps")}
    cfg = tiny_config(tmp_path, train={**seldom, "evaluate_every_steps": 2})
    with pytest.raises(NonFinite, match="at step 2"):
        train(cfg, tmp_path / "run", "cpu")
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_a_terminal_shows_the_whole_status_line(config: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [sys.executable, "-m", "gan", "train", config, "--run-dir", tmp_path / "run",
               "--set", "train.evaluate_every_steps=4"]  # fmt: skip
    shown = subprocess.Popen(command, stderr=theirs)
    os.close(theirs)
    text = ""
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(ours, 65536):
            text += part.decode()
    assert shown.wait(timeout=60) == 0
    lines = text.replace("\r", "\n").splitlines()
    # also the held-out images
    assert len([line for line in lines if line.startswith("packing:   0%")]) == 2
    assert any(re.match(r"100%\|█+\| step 4/4 .* images/s  0:00 left$", line) for line in lines)


def test_a_full_disk_ends_a_run_with_4_and_room_lets_it_go_on(config: Path, tmp_path: Path) -> None:
    words = ["train", config, "--run-dir", tmp_path / "run", "--set", "model.g_width=64"]
    assert gan(*words, "--set", "train.num_steps=2").returncode == 0
    before = sums(tmp_path / "run")
    limit = (1_000_000, resource.RLIM_INFINITY)
    full = gan(*words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    assert full.returncode == 4, full.stderr
    assert (
        "File too large, for a checkpoint of" in full.stderr
        and "free some disk space" in full.stderr
    )
    assert sums(tmp_path / "run") == before
    assert gan(*words).returncode == 0
    assert "step_00000004.pt" in sums(tmp_path / "run")


def test_a_full_disk_keeps_the_last_checkpoint_and_nothing_unfinished(
    tiny_run: Path, config: Path, tmp_path: Path, small_disk: SmallDisk
) -> None:
    run_dir = tmp_path / "run"
    num_bytes = (tiny_run / "checkpoints" / "step_00000004.pt").stat().st_size
    small_disk(run_dir / "checkpoints", f"size={3 * num_bytes // 2}")
    full = quick_gan("train", config, "--run-dir", run_dir)
    assert full.exit_code == 4
    assert (
        f"No space left on device, for a checkpoint of {num_bytes:,} bytes; free some disk space"
        in full.output
    )
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["step_00000002.pt"]
    small_disk(run_dir / "checkpoints", "size=4m")
    assert quick_gan("train", config, "--run-dir", run_dir).exit_code == 0
    assert sums(run_dir).keys() == {"step_00000002.pt", "step_00000004.pt"}


def test_a_read_only_disk_is_one_line(
    tiny_run: Path, config: Path, tmp_path: Path, small_disk: SmallDisk
) -> None:
    small_disk(tmp_path / "ro", "ro")
    for words in (["train", config, "--run-dir"], ["sample", tiny_run, "--num", "1", "--out"]):
        shown = quick_gan(*words, tmp_path / "ro" / "a.png")
        assert shown.exit_code == 1
        assert shown.output == f"Error: {tmp_path / 'ro' / 'a.png'}: Read-only file system\n"


def test_a_disk_that_fills_up_under_an_image_spoils_no_later_step(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_half(self: Image.Image, place: Path, *args: object, **kwargs: object) -> None:
        Path(place).write_bytes(b"half an image")
        raise OSError(errno.ENOSPC, "No space left on device")

    words = ["train", config, "--run-dir", tmp_path / "run"]
    assert quick_gan(*words, "--set", "train.num_steps=1").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save_half)
        assert quick_gan(*words).exit_code == 4
    assert quick_gan(*words).exit_code == 0
    assert not list((tmp_path / "run" / "samples").glob(".*"))


def test_max_minutes_ends_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, train={"num_steps": 10**6, "max_minutes": 0.001})
    run = train(cfg, tmp_path / "run", "cpu")
    assert run.ending == Ending.TIME_UP and 0 < run.state.step < 10**6
    assert f"step_{run.state.step:08}.pt" in sums(tmp_path / "run")
    last_line = (tmp_path / "run" / "log.txt").read_text().splitlines()[-1]
    assert "train.max_minutes are over: step" in last_line


def test_a_finished_run_says_so_and_changes_nothing(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path)
    train(cfg, tmp_path / "run", "cpu")
    before = sums(tmp_path / "run")
    unfinished = tmp_path / "run" / "checkpoints" / ".step_00000006.pt.part"
    unfinished.write_bytes(b"of a killed process")
    train(cfg, tmp_path / "run", "cpu")
    assert sums(tmp_path / "run") == before and not unfinished.exists()
    assert "already done: step 4 of train.num_steps 4" in (tmp_path / "run" / "log.txt").read_text()


def test_the_best_checkpoint_is_kept_by_its_metric(tmp_path: Path) -> None:
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


def test_a_best_by_another_metric_is_no_rival(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    other = {"step": 0, "images_seen": 0, "metric/frechet_distance": 0.0}
    (tmp_path / "run/evaluations.jsonl").write_text(json.dumps(other) + "\n")
    train(tiny_config(tmp_path, train={"evaluate_every_steps": 4}), tmp_path / "run", "cpu")
    assert read_checkpoint(tmp_path / "run/checkpoints/best.pt").step == 4


def test_a_run_that_went_back_keeps_the_best_from_before(tmp_path: Path) -> None:
    """Its last checkpoint is lost; the step that is done again is worse than the best."""
    steps = {"num_steps": 2, "evaluate_every_steps": 1, "checkpoint_every_steps": 1}
    train(tiny_config(tmp_path, train=steps), tmp_path / "run", "cpu")
    evaluations = tmp_path / "run/evaluations.jsonl"
    first, second = map(json.loads, evaluations.read_text().splitlines())
    first["metric/sliced_wasserstein_mean"] = 0.0  # unbeatable
    evaluations.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    (tmp_path / "run/checkpoints/step_00000002.pt").unlink()
    before = (tmp_path / "run/checkpoints/best.pt").read_bytes()
    train(tiny_config(tmp_path, train=steps), tmp_path / "run", "cpu")
    assert (tmp_path / "run/checkpoints/best.pt").read_bytes() == before
    assert "step 2: sliced_wasserstein_mean" in (tmp_path / "run/log.txt").read_text()


def test_a_best_without_room_is_no_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row is not written, so the repeated step writes best.pt."""

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


def test_the_minutes_of_a_call_count_its_packing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_pack(source: Source, cfg: DataConfig) -> PackedImages:
        time.sleep(0.7)
        return pack(source, cfg)

    monkeypatch.setattr("gan.training.loop.pack", slow_pack)
    cfg = tiny_config(tmp_path, train={"num_steps": 1000, "max_minutes": 0.01})
    run = train(cfg, tmp_path / "run", "cpu")
    assert run.state.step == 1


def test_what_fails_at_the_end_is_made_up_for(
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


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, train={"checkpoint_every_steps": 1, "keep_checkpoints": 2})
    train(cfg, tmp_path / "run", "cpu")
    assert sums(tmp_path / "run").keys() == {"step_00000003.pt", "step_00000004.pt"}


def test_the_run_directory_explains_itself(tiny_run: Path) -> None:
    (call,) = json.loads((tiny_run / "meta.json").read_text())["calls"]
    assert {"command", "started", "versions", "commit", "device", "precision"} <= call.keys()
    assert yaml.safe_load((tiny_run / "config.yaml").read_text())["train"]["batch_size"] == 8
    names = {
        path.relative_to(tiny_run).as_posix() for path in tiny_run.rglob("*") if path.is_file()
    }
    assert {"log.txt", "metrics.jsonl", "samples/real.png", "samples/ema_00000000.png",
            "samples/raw_00000004.png", "samples/learning.gif",
            "checkpoints/step_00000004.pt"} <= names  # fmt: skip
    assert any(name.startswith("tb/events") for name in names)


def test_each_call_is_kept_in_meta_json(tmp_path: Path) -> None:
    for num_steps in (2, 4):
        train(tiny_config(tmp_path, train={"num_steps": num_steps}), tmp_path / "run", "cpu")
    calls = json.loads((tmp_path / "run" / "meta.json").read_text())["calls"]
    assert [call["step"] for call in calls] == [0, 2]


def test_a_run_restores_the_threads_exception_hook(tmp_path: Path) -> None:
    before = threading.excepthook
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    assert threading.excepthook is before


def test_throughput_is_that_of_the_steps_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grids at steps without a log take half a second each here."""
    monkeypatch.setattr(report, "show", lambda run, samples: time.sleep(0.5))
    monkeypatch.setattr(report, "finish", lambda run, ending: None)
    cfg = tiny_config(tmp_path, train={"sample_every_steps": 1, "num_steps": 5})
    train(cfg, tmp_path / "run", "cpu")
    assert all(row["throughput/images_per_s"] > 16 / 0.5 for row in read_rows(tmp_path / "run"))


def test_collapse_is_looked_for_in_the_images_that_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the settled average."""
    seen = []
    monkeypatch.setattr(
        "gan.training.loop.diversity", lambda images, real: seen.append(images) or 1.0
    )
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    with Image.open(tmp_path / "run" / "samples" / "ema_00000004.png") as shown:
        assert np.array_equal(np.asarray(shown), grid(seen[-1]))


@pytest.mark.parametrize(("stop_at", "evaluated"), [(2, [2, 4]), (3, [2, 4]), (4, [2, 4])])
def test_what_a_signal_prevented_is_done_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int, evaluated: list[int]
) -> None:
    """Also at the very last step."""
    stop = StopRequest()

    def step_with_signal(state: TrainState, *args: object) -> dict[str, Tensor]:
        values = one_step(state, *args)
        if state.step == stop_at:
            stop.signum = signal.SIGTERM
        return values

    cfg = tiny_config(tmp_path, train={"evaluate_every_steps": 2})
    with monkeypatch.context() as patch:
        patch.setattr("gan.training.loop.stop_on_signals", lambda: contextlib.nullcontext(stop))
        patch.setattr("gan.training.loop.one_step", step_with_signal)
        assert train(cfg, tmp_path / "run", "cpu").ending == Ending.TERMINATED
    assert list(sums(tmp_path / "run"))[-1] == f"step_{stop_at:08}.pt" or stop_at > 2
    assert train(cfg, tmp_path / "run", "cpu").ending == Ending.DONE
    rows = (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == evaluated
    grids = sorted((tmp_path / "run" / "samples").glob("ema_*.png"))
    assert [path.name for path in grids] == [f"ema_{step:08}.png" for step in (0, 2, 4)]
    assert (tmp_path / "run" / "samples" / "learning.gif").exists()
    assert (tmp_path / "run" / "checkpoints" / "best.pt").exists()


def test_a_finished_run_makes_no_reference_for_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_config(tmp_path, train={"evaluate_every_steps": 2})
    train(cfg, tmp_path / "run", "cpu")
    monkeypatch.delattr("gan.training.evaluator.make_reference")
    assert train(cfg, tmp_path / "run", "cpu").ending == Ending.DONE


def test_metrics_hold_the_tags_that_scripts_rely_on(tiny_run: Path) -> None:
    rows = read_rows(tiny_run)
    assert [(row["step"], row["images_seen"]) for row in rows] == [(2, 16), (4, 32)]
    tags = {"loss/d", "loss/g", "d/real", "d/fake", "d/fake_after", "d/accuracy",
            "gradient_norm/g", "gradient_norm/d", "throughput/images_per_s",
            "throughput/data_wait", "memory/mib", "ema/decay", "samples/diversity"}  # fmt: skip
    assert all(tags <= row.keys() for row in rows)


@pytest.mark.parametrize("lost", [(6,), (4, 6)])
def test_tensorboard_holds_each_point_once_after_a_kill(
    tmp_path: Path, lost: tuple[int, ...]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir = tmp_path / "run"
    cfg = tiny_config(tmp_path, train={"checkpoint_every_steps": 4, "num_steps": 6})
    train(cfg, run_dir, "cpu")
    for step in lost:  # as if killed before its last save, or before its first
        (run_dir / "checkpoints" / f"step_{step:08}.pt").unlink()
    train(cfg, run_dir, "cpu")
    board = EventAccumulator(str(run_dir / "tb"), size_guidance={"images": 0, "scalars": 0})
    board.Reload()
    assert [event.step for event in board.Scalars("loss/d")] == [16, 32, 48]
    assert [event.step for event in board.Images("images/ema")] == [0, 16, 32, 48]
    tags = board.Tags()
    assert {"images/real", "images/raw"} <= set(tags["images"])
    assert {"d/real_logits", "d/fake_logits"} <= set(tags["histograms"])
    assert {"config.yaml/text_summary", "meta.json/text_summary"} <= set(tags["tensors"])


def test_a_removed_tensorboard_folder_is_told_once(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    tracker = Tracker(tmp_path, step=0, images_seen=0, num_steps=9)
    shutil.rmtree(tmp_path / "tb")
    for step in range(1, 30):
        tracker.scalars(step, 8 * step, {"loss/d": 1.0})
    tracker.close()
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 29
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("TensorBoard cannot be written") and "the run continues without" in line


@pytest.mark.parametrize("options", ["ro", "size=64k"])
def test_a_run_goes_on_without_tensorboard(
    config: Path, tmp_path: Path, small_disk: SmallDisk, options: str
) -> None:
    small_disk(tmp_path / "run" / "tb", options)
    done = gan("train", config, "--run-dir", tmp_path / "run")
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert done.stderr.count("TensorBoard cannot be written") == 1
    assert "step_00000004.pt" in sums(tmp_path / "run")


def test_nothing_of_a_library_reaches_the_user(config: Path, tmp_path: Path) -> None:
    done = gan(
        "train",
        config,
        "--run-dir",
        tmp_path / "run",
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 0
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert "512 images 3x16x16" in lines[0] and lines[-1].startswith("done: step 4")
    assert not [line for line in lines if "arning" in line or "Error" in line]
