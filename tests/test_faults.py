"""Faults of the second round: nothing dies without saving, nothing is lost, errors stay short."""

import contextlib
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from gan.analysis.report import write_report
from gan.checkpoint import BadCheckpoint, numbered_checkpoints, read_checkpoint, save_checkpoint
from gan.cli import main
from gan.config.reader import ConfigError, load_config
from gan.files import parse_row
from gan.machine.ranks import Ranks
from gan.machine.signals import stop_on_signals
from gan.page.history import history_of
from gan.pretrained.folder import write_folder
from gan.training import loop
from gan.training.loop import train
from gan.training.run_dir import locked, next_run_dir
from gan.training.state import TrainState
from gan.training.steps import one_step
from tests.conftest import gan, tiny_config


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [row for row in map(parse_row, path.read_bytes().splitlines()) if row]


DAMAGED = [b"5", b"[]", b"null", b'{"x": 1}', b'{"step": "3"}', b"\xff\xfe", b"{", b"a\rb", b""]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_row_is_skipped_kept_and_reported(tmp_path: Path, line: bytes) -> None:
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    metrics = tmp_path / "run" / "metrics.jsonl"
    first, second = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(first + line + b"\n" + second + b'{"step": 4, "los')
    cfg = tiny_config(tmp_path, train={"num_steps": 6})
    train(cfg, tmp_path / "run", "cpu")
    lines = metrics.read_bytes().split(b"\n")
    assert lines[:3] == [first.strip(), line, second.strip()]
    assert [row["step"] for row in read_rows(metrics)] == [2, 4, 6]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert f"warning: {metrics}: skipped 1 damaged rows, which stay in the file" in log


def test_the_best_value_does_not_depend_on_the_rows(tmp_path: Path) -> None:
    steps = {"evaluate_every_steps": 2}
    train(tiny_config(tmp_path, train=steps), tmp_path / "run", "cpu")
    checkpoints = tmp_path / "run" / "checkpoints"
    best = json.loads((checkpoints / "best.json").read_text())
    (checkpoints / "best.json").write_text(json.dumps({**best, "value": 0.0}))  # unbeatable
    before = (checkpoints / "best.pt").read_bytes()
    (tmp_path / "run" / "evaluations.jsonl").write_bytes(b"\xff\n")
    train(tiny_config(tmp_path, train={**steps, "num_steps": 6}), tmp_path / "run", "cpu")
    assert (checkpoints / "best.pt").read_bytes() == before
    (checkpoints / "best.json").write_text(json.dumps({**best, "value": float("nan")}))
    train(tiny_config(tmp_path, train={**steps, "num_steps": 8}), tmp_path / "run", "cpu")
    assert (checkpoints / "best.pt").read_bytes() != before


@settings(max_examples=200, deadline=None)
@given(st.binary() | st.text().map(str.encode) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("step"), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_bytes_are_a_row_or_none(line: bytes) -> None:
    row = parse_row(line)
    assert row is None or type(row["step"]) is int


def nested(depth: int) -> list:
    """A list whose repr has 2^depth elements and whose pickle is short."""
    value: list = []
    for _ in range(depth):
        value = [value, value]
    return value


@pytest.mark.parametrize("place", ["config", "model", "g_width", "environment", "classes", "g",
                                   "g_optim", "moments", "step"])  # fmt: skip
def test_nested_values_in_a_checkpoint_are_a_short_error(
    tiny_run: Path, tmp_path: Path, place: str
) -> None:
    path = tmp_path / "nested.pt"
    payload = torch.load(tiny_run / "checkpoints" / "step_00000004.pt", weights_only=True)
    bomb = nested(60)
    if place in ("config", "environment", "g", "classes", "step"):
        payload[place] = {"a": bomb} if isinstance(payload[place], dict) else bomb
    elif place == "g_optim":
        payload["g_optim"]["state"] = {0: {"step": bomb}}
    elif place == "moments":
        payload["g_optim"]["state"][0]["exp_avg"] = bomb
    elif place == "model":
        payload["config"]["model"] = bomb
    else:
        payload["config"]["model"]["g_width"] = bomb
    torch.save(payload, path)
    run = tmp_path / "run" / "checkpoints"
    run.mkdir(parents=True)
    (run / "step_00000004.pt").write_bytes(path.read_bytes())
    with contextlib.suppress(ValueError):
        train(tiny_config(tmp_path, train={"num_steps": 5}), tmp_path / "run", "cpu")
    shown = gan("sample", path, "--num", 1, "--out", tmp_path / "a.png")
    assert len(shown.output) < 1000


@pytest.mark.parametrize("spoil", [
    lambda c: c.g_optim["state"][0].update(exp_avg=torch.tensor(0.0)),
    lambda c: c.g_optim["state"][0].update(step="now"),
    lambda c: c.g_optim["state"][0]["exp_avg"].fill_(float("nan")),
    lambda c: c.d_optim["state"].pop(1),
    lambda c: c.g["layers.0.weight"][0, 0].fill_(float("nan")),
])  # fmt: skip
def test_a_checkpoint_with_wrong_moments_or_weights_cannot_be_resumed(
    tmp_path: Path, spoil: Callable[[Any], object]
) -> None:
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    newest = tmp_path / "run" / "checkpoints" / "step_00000004.pt"
    checkpoint = read_checkpoint(newest)
    spoil(checkpoint)
    save_checkpoint(newest, checkpoint)
    with pytest.raises(BadCheckpoint, match=f"{newest}: .*; move that file away"):
        train(tiny_config(tmp_path, train={"num_steps": 5}), tmp_path / "run", "cpu")


@pytest.mark.parametrize("verb", ["sample", "evaluate"])
def test_weights_that_are_not_finite_are_not_used(
    tiny_run: Path, tmp_path: Path, verb: str
) -> None:
    checkpoint = read_checkpoint(tiny_run / "checkpoints" / "step_00000004.pt")
    checkpoint.g_ema["layers.0.weight"].fill_(float("nan"))
    save_checkpoint(tmp_path / "nan.pt", checkpoint)
    out = ["--out", tmp_path / "a.png"] if verb == "sample" else []
    shown = gan(verb, tmp_path / "nan.pt", *out)
    assert (
        shown.exit_code == 1 and "layers.0.weight: has values that are not finite" in shown.output
    )
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("verb", ["sample", "walk", "evaluate"])
def test_weights_whose_images_are_not_finite_are_not_used(
    tiny_run: Path, tmp_path: Path, verb: str
) -> None:
    checkpoint = read_checkpoint(tiny_run / "checkpoints" / "step_00000004.pt")
    checkpoint.g_ema["layers.1.running_var"].fill_(-1.0)
    save_checkpoint(tmp_path / "nan.pt", checkpoint)
    out = ["--num", 10] if verb == "evaluate" else ["--out", tmp_path / "a.png"]
    shown = gan(verb, tmp_path / "nan.pt", *out)
    assert shown.exit_code == 1
    assert f"{tmp_path / 'nan.pt'}: the generator's images are not finite" in shown.output
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("words", [
    ("export", "a.safetensors"), ("export", "folder"), ("page", "a.html"),
])  # fmt: skip
def test_weights_whose_images_are_not_finite_are_not_written_for_others(
    tiny_run: Path, tmp_path: Path, words: tuple[str, str]
) -> None:
    checkpoint = read_checkpoint(tiny_run / "checkpoints" / "step_00000004.pt")
    checkpoint.g_ema["layers.1.running_var"].fill_(-1.0)
    save_checkpoint(tmp_path / "nan.pt", checkpoint)
    shown = gan(words[0], tmp_path / "nan.pt", "--out", tmp_path / words[1])
    assert shown.exit_code == 1
    assert f"{tmp_path / 'nan.pt'}: the generator's images are not finite" in shown.output
    assert [path.name for path in tmp_path.iterdir()] == ["nan.pt"]


@pytest.mark.parametrize(("value", "said"), [
    (float("nan"), "nan.pt: d.features.0.weight: has values that are not finite"),
    (3e38, "nan.pt: the values of D are not finite"),
])  # fmt: skip
def test_a_page_is_not_written_with_a_discriminator_that_is_not_finite(
    tmp_path: Path, value: float, said: str
) -> None:
    train(tiny_config(tmp_path, data={"channels": 1}), tmp_path / "run", "cpu")
    checkpoint = read_checkpoint(tmp_path / "run" / "checkpoints" / "step_00000004.pt")
    for tensor in checkpoint.d.values():
        if tensor.is_floating_point():
            tensor.fill_(value)
    save_checkpoint(tmp_path / "nan.pt", checkpoint)
    shown = gan("page", tmp_path / "nan.pt", "--out", tmp_path / "a.html")
    assert shown.exit_code == 1 and f"{tmp_path}/{said}" in shown.output
    assert not (tmp_path / "a.html").exists()


def test_numbers_beyond_float64_are_left_out_of_curves(finished_run: Path) -> None:
    with open(finished_run / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "images_seen": 1' + "0" * 400 + "}\n")
        file.write('{"step": 6, "images_seen": 48, "loss/d": 1' + "0" * 400 + "}\n")
    assert gan("compare", finished_run, finished_run).exit_code == 0


def test_names_that_are_not_utf_8_can_be_printed(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / os.fsdecode(b"caf\xe9.png")
    shown = gan("sample", tiny_run, "--num", 4, "--out", out)
    assert shown.exit_code == 0 and "caf\\udce9.png: 4 images" in shown.output


def test_a_copied_checkpoint_and_a_kept_one_are_the_users(tmp_path: Path) -> None:
    cfg = tiny_config(tmp_path, train={"checkpoint_every_steps": 1, "num_steps": 4})
    train(cfg, tmp_path / "run", "cpu")
    folder = tmp_path / "run" / "checkpoints"
    for name in ("step_backup.pt", "step_00000002_keep.pt"):
        (folder / name).write_bytes((folder / "step_00000002.pt").read_bytes())
    state = train(tiny_config(tmp_path, train={"checkpoint_every_steps": 1, "num_steps": 9}),
                  tmp_path / "run", "cpu").state  # fmt: skip
    assert state.step == 9 and list(numbered_checkpoints(folder)) == [9, 8, 7]
    assert (folder / "step_backup.pt").exists() and (folder / "step_00000002_keep.pt").exists()
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 9]


def test_a_copy_named_as_a_later_step_does_not_take_a_run_back(tmp_path: Path) -> None:
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    folder = tmp_path / "run" / "checkpoints"
    shutil.copy(folder / "step_00000002.pt", folder / "step_00000099.pt")
    run = train(tiny_config(tmp_path, train={"num_steps": 6}), tmp_path / "run", "cpu")
    assert run.state.step == 6 and [
        row["step"] for row in read_rows(tmp_path / "run" / "metrics.jsonl")
    ] == [2, 4, 6]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert f"{folder / 'step_00000099.pt'}: holds step 2; rename it; using an older" in log
    assert log.count("resuming from step_00000004.pt") == 1


ENDLESS = ["--set", "train.num_steps=100000", "--set", "train.checkpoint_every_steps=null",
           "--set", "train.sample_every_steps=null"]  # fmt: skip


def wait_for_rows(run_dir: Path, process: subprocess.Popen, num: int = 1) -> None:
    metrics = run_dir / "metrics.jsonl"
    while not (metrics.exists() and len(read_rows(metrics)) >= num):
        assert process.poll() is None
        time.sleep(0.05)


def ends_well(run_dir: Path, step: int) -> bool:
    return f"done: step {step}" in (run_dir / "log.txt").read_text().splitlines()[-1]


def test_a_run_whose_console_is_closed_continues(config: Path, images: Path) -> None:
    """As with `2>&1 | head -1` and `2>&-`, up to Python's end. Six images are warned of."""
    run_dir = images.parent / "run"
    own = ["--set", "data.source=folder", "--set", f"data.root={images}"]
    command = [sys.executable, "-m", "gan", "train", str(config), *own, "--run-dir", str(run_dir)]
    for steps, target in ((10, "pipe"), (20, "closed")):
        words = [*command, "--set", f"train.num_steps={steps}"]
        if target == "pipe":
            process = subprocess.Popen(words, stderr=subprocess.PIPE)
            assert process.stderr
            process.stderr.close()
        else:
            process = subprocess.Popen(words, preexec_fn=lambda: os.close(2))
        assert process.wait() == 0 and ends_well(run_dir, steps), target


@pytest.mark.parametrize("target", ["full", "terminal"])
def test_a_run_whose_console_fails_continues(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """On a full disk, and on a terminal that hung up. Without warnings, status lines fail first."""
    if target == "full":
        console = open("/dev/full", "w", buffering=1)
    else:
        ours, theirs = pty.openpty()
        console = os.fdopen(theirs, "w", buffering=1)
        os.close(ours)
    monkeypatch.setattr(sys, "stderr", console)
    words = ["--run-dir", str(tmp_path / "run"), "--set", "train.num_steps=10"]
    main(["train", str(config), *words], standalone_mode=False)
    assert ends_well(tmp_path / "run", 10)


@pytest.mark.parametrize(("words", "code"), [
    (["config", "none.yaml"], 2), (["compare", "none"], 1),
])  # fmt: skip
def test_exit_codes_do_not_depend_on_the_console(
    monkeypatch: pytest.MonkeyPatch, words: list[str], code: int
) -> None:
    monkeypatch.setattr(sys, "stderr", open("/dev/full", "w", buffering=1))
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == code


def test_sighup_saves(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gan", "train", str(config), "--run-dir", str(tmp_path / "a")]
    hung_up = subprocess.Popen(
        [*command, *ENDLESS],
        stderr=subprocess.DEVNULL,
        # tests that run in nohup ignore the signal
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    try:
        wait_for_rows(tmp_path / "a", hung_up)
        hung_up.send_signal(signal.SIGHUP)
        assert hung_up.wait() == 129
    finally:
        hung_up.kill()
    assert len(numbered_checkpoints(tmp_path / "a" / "checkpoints")) == 1


def test_an_ignored_sighup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.signum
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_saves_once_early_whatever_its_cadence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_FIRST_SAVE_S", 0.0)
    saved = []

    def record(path: Path, checkpoint: Any) -> None:
        saved.append(checkpoint.step)

    monkeypatch.setattr(loop, "save_checkpoint", record)
    train(tiny_config(tmp_path, train={"checkpoint_every_steps": None}), tmp_path / "run", "cpu")
    assert saved == [1, 4]


@pytest.mark.parametrize("at", [2, 3])  # before the grids of step 2, before the next batch
def test_a_pack_cut_short_during_a_run_saves_the_state(
    at: int, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step_then_cut(state: TrainState, *rest: Any) -> dict[str, Tensor]:
        values = one_step(state, *rest)
        if state.step == at:
            os.truncate(next(cache.glob("packed/*/images.npy")), 4096)
        return values

    cfg = tiny_config(tmp_path, train={"checkpoint_every_steps": None})
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="cut short; delete it"):
        patch.setattr(loop, "one_step", step_then_cut)
        train(cfg, tmp_path / "run", "cpu")
    assert [path.stem for path in (tmp_path / "run/checkpoints").iterdir()] == [f"step_{at:08}"]
    shutil.rmtree(next(cache.glob("packed/*/")))
    assert train(cfg, tmp_path / "run", "cpu").state.step == 4


def test_a_start_without_the_checkpoints_of_an_earlier_call_says_so(tmp_path: Path) -> None:
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.count("no checkpoint of the earlier calls; starting at step 0") == 1


def test_text_settings_are_taken_as_they_are(config: Path) -> None:
    cfg = load_config(config, ["data.root=/d/my pics #2", "train.init_from=null"])
    assert (cfg.data.root, cfg.train.init_from) == ("/d/my pics #2", None)
    assert load_config(config, ["train.init_from=[a]: b"]).train.init_from == "[a]: b"


@pytest.mark.parametrize("text", ["!!timestamp x", "!!bool maybe", "!!int x", "!!python/name:os.x"])
def test_yaml_tags_are_a_short_error(config: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"--set train\.seed=") as caught:
        load_config(config, [f"train.seed={text}"])
    assert len(str(caught.value)) < 300


def test_a_config_that_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", "/dev/zero", tmp_path):
        shown = gan("config", path)
        assert shown.exit_code == 2 and f"{path}: not a file" in shown.output


def test_the_next_run_directory_follows_the_highest_number(tmp_path: Path) -> None:
    for name in ("99999-mine", "100000-smoke", "notes", "7"):
        (tmp_path / name).mkdir()
    assert next_run_dir(tmp_path, "a").name == "100001-a"


@pytest.mark.parametrize(("holder", "who"), [(b"\xff\x00" * 5000, ""), (b"", "another process")])
def test_a_damaged_lock_file_still_says_in_use(holder: bytes, who: str, tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / ".lock.json").write_bytes(holder)
        with pytest.raises(ValueError, match=f"is in use by {who}") as caught, locked(tmp_path):
            pass
    assert len(str(caught.value)) < 1000


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("name", ["log.txt", ".lock.json", "metrics.jsonl"])
def test_a_full_disk_is_reported_with_the_file(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    full = tmp_path / "run" / name
    full.parent.mkdir()
    full.symlink_to("/dev/full")
    monkeypatch.setattr("gan.tracking._cut_back", lambda path, step: 0)  # would replace the link
    done = gan("train", config, "--run-dir", full.parent, "--device", "cpu")
    assert done.exit_code == 4
    assert done.stderr.splitlines()[-1].startswith(f"Error: {full}: No space left on device")


@pytest.fixture
def failing_writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets Pillow and NumPy write half a file and then find the disk full."""

    def fail(self: object, place: Any, *args: object, **kwargs: object) -> None:
        Path(place).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", fail)
    monkeypatch.setattr("numpy.savez_compressed", lambda place, **arrays: fail(None, place))
    yield


@pytest.mark.parametrize(("verb", "name"), [("sample", "a.png"), ("sample", "a.npz"),
                                            ("walk", "a.png"), ("walk", "a.gif")])  # fmt: skip
def test_force_on_a_full_disk_keeps_the_old_file(
    tiny_run: Path, tmp_path: Path, failing_writes: None, verb: str, name: str
) -> None:
    out = tmp_path / name
    out.write_text("old")
    shown = gan(verb, tiny_run, "--out", out, "--force")
    assert shown.exit_code == 4 and f"Error: {out}: No space left on device" in shown.output
    assert out.read_text() == "old" and list(tmp_path.iterdir()) == [out]


def test_force_on_a_full_disk_keeps_the_old_folder(
    tiny_run: Path, tmp_path: Path, failing_writes: None
) -> None:
    out = tmp_path / "samples"
    out.mkdir()
    (out / "000000.png").write_text("old")
    shown = gan("sample", tiny_run, "--out", out, "--force")
    assert shown.exit_code == 4 and f"Error: {out}: No space left on device" in shown.output
    assert [path.read_text() for path in out.iterdir()] == ["old"]


@pytest.mark.parametrize("side", [0, 30_000])  # an empty file, and a decompression bomb
def test_a_damaged_grid_and_a_users_file_are_left_out_of_the_gif(tmp_path: Path, side: int) -> None:
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header))
    for name in ("ema_00000002.png", "ema_mine.png"):
        (tmp_path / "run" / "samples" / name).write_bytes(bomb if side else b"")
    run = train(tiny_config(tmp_path, train={"num_steps": 6}), tmp_path / "run", "cpu")
    assert run.ending == loop.Ending.DONE


def test_a_report_shows_grids_beyond_step_99999999_in_order(finished_run: Path) -> None:
    samples = finished_run / "samples"
    for step in (99_999_999, 100_000_000):
        shutil.copy(samples / "ema_00000004.png", samples / f"ema_{step}.png")
    assert gan("report", finished_run).exit_code == 0
    html = (finished_run / "report.html").read_text()
    places = [html.index(f"step {step:,}<") for step in (4, 99_999_999, 100_000_000)]
    assert places == sorted(places)


def test_grids_of_another_size_are_left_out_of_the_gif(tmp_path: Path) -> None:
    """An older version drew them."""
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    samples = tmp_path / "run" / "samples"
    Image.new("RGB", (300, 99)).save(samples / "ema_00000002.png")
    train(tiny_config(tmp_path, train={"num_steps": 6}), tmp_path / "run", "cpu")
    with (
        Image.open(samples / "ema_00000006.png") as last,
        Image.open(samples / "learning.gif") as film,
    ):
        assert film.n_frames == 3 and film.size == last.size


def test_a_grid_of_another_format_starts_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow starts Ghostscript to read EPS."""
    train(tiny_config(tmp_path), tmp_path / "run", "cpu")
    Image.new("RGB", (9, 9)).save(tmp_path / "run/samples/ema_00000002.png", "EPS")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *args: pytest.fail("started"))
    train(tiny_config(tmp_path, train={"num_steps": 6}), tmp_path / "run", "cpu")
    write_report(tmp_path / "run", tmp_path / "report.html")
    assert history_of(tmp_path / "run")


def test_a_grid_with_a_broken_chunk_is_left_out_of_the_page(finished_run: Path) -> None:
    grid = finished_run / "samples" / "ema_00000004.png"
    noise = torch.randint(0, 256, (300, 300, 3), dtype=torch.uint8)
    Image.fromarray(noise.numpy()).save(grid)
    data = bytearray(grid.read_bytes())
    second = data.find(b"IDAT", data.find(b"IDAT") + 4)
    data[second : second + 4] = b"\x00\xff\x01\x02"  # for which Pillow raises SyntaxError
    grid.write_bytes(data)
    assert len(history_of(finished_run)["grids"]) == 2
    for path in grid.parent.glob("ema_*.png"):
        path.write_bytes(b"")
    assert history_of(finished_run) is None  # and the page has no section on training


def test_a_users_config_in_the_run_directory_is_kept(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    own = f"# my notes\n{config.read_text()}"
    (run / "config.yaml").write_text(own)
    shown = gan("train", run / "config.yaml", "--run-dir", run, "--set", "train.seed=5")
    assert "is now config.original.yaml" in shown.output
    assert (run / "config.original.yaml").read_text() == own
    assert load_config(run / "config.yaml").train.seed == 5
    assert gan("train", run / "config.yaml", "--run-dir", run).exit_code == 0  # that of the run
    assert (run / "config.original.yaml").read_text() == own


def test_another_tools_config_does_not_hide_a_run(finished_run: Path, tmp_path: Path) -> None:
    (finished_run / "config.json").write_text('{"wandb": 1}')
    assert gan("sample", finished_run, "--out", tmp_path / "a.png").exit_code == 0


def test_a_run_directory_may_have_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    run = train(tiny_config(tmp_path), tmp_path / "r\udcff", "cpu")
    assert "r\\udcff" in (run.run_dir / "log.txt").read_text()
    assert gan("report", run.run_dir).exit_code == 0
    assert gan("compare", run.run_dir, "--out", tmp_path / "both").exit_code == 0
    assert gan("export", run.run_dir, "--out", tmp_path / "e\udcff").exit_code == 0


def test_memory_that_runs_out_on_the_cpu_is_one_message(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*args: object) -> dict[str, Tensor]:
        return {"x": torch.empty(1 << 60, dtype=torch.uint8)}

    monkeypatch.setattr("gan.training.loop.one_step", exhausted)
    shown = gan("train", config, "--run-dir", tmp_path / "run")
    assert shown.exit_code == 1 and "Error: out of memory; stop other processes" in shown.output


def test_a_checkpoint_larger_than_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(self: Path) -> bytes:
        raise MemoryError

    (tmp_path / "a.pt").write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", exhausted)
    with pytest.raises(BadCheckpoint, match=r"a\.pt: larger than the available memory"):
        read_checkpoint(tmp_path / "a.pt")


def test_ranks_with_another_cadence_or_precision_refuse_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ranks would make other collective calls, which ends them without a message."""
    sent: list[Any] = []
    monkeypatch.setattr(loop, "from_first", lambda value, ranks: sent.append(value) or sent[0])
    monkeypatch.setattr(loop, "largest", lambda number, ranks: number)
    loop._require_equal_ranks(tiny_config(tmp_path), "cats", torch.float32, Ranks(0, 2))
    other = tiny_config(tmp_path, train={"log_every_steps": 3, "num_steps": 9})
    with pytest.raises(ConfigError) as caught:
        loop._require_equal_ranks(other, "cats", torch.bfloat16, Ranks(1, 2))
    assert str(caught.value).splitlines()[1:] == [
        "train.num_steps: rank 0 has 4, rank 1 has 9",
        "train.log_every_steps: rank 0 has 2, rank 1 has 3",
        "hardware.precision: rank 0 has 'torch.float32', rank 1 has 'torch.bfloat16'",
    ]


def test_ranks_with_other_images_refuse_to_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_config(tmp_path)
    first = {"images": {"checksum": "cats"}}
    monkeypatch.setattr(loop, "from_first", lambda value, ranks: value | first)
    monkeypatch.setattr(loop, "largest", lambda number, ranks: number)
    loop._require_equal_ranks(cfg, "cats", torch.float32, Ranks(1, 2))
    with pytest.raises(ConfigError, match="rank 0 has 'cats', rank 1 has 'dogs'"):
        loop._require_equal_ranks(cfg, "dogs", torch.float32, Ranks(1, 2))


@pytest.mark.timeout(400)  # a reader that opens the pipe waits for ever
@pytest.mark.parametrize(("words", "name", "said"), [
    (["data", "own.yaml"], "images", "images is no folder or file"),
    (["sample", "folder", "--out", "a.png"], "folder/config.json", "not the description"),
    (["sample", "whole", "--out", "a.png"], "whole/model.safetensors", "not a file"),
    (["evaluate", "run", "--features", "a.safetensors"], "a.safetensors", "not a file"),
    (["compare", "run"], "run/metrics.jsonl", "has not logged anything yet"),
    (["page", "run", "--out", "a.html"], "run/samples/ema_00000002.png", "a.html"),
    (["report", "run", "--out", "a.html"], "run/samples/ema_00000002.png", "a.html"),
    (["sample", "run/a.pt", "--out", "a.png"], "run/a.pt", "a.pt: not a file"),
    (["sample", "~nobody/x", "--out", "a.png"], "x", "no run, checkpoint or folder '~nobody/x'"),
])  # fmt: skip
def test_a_pipe_or_an_unknown_home_is_a_short_error(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: list[str], name: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("data: {source: folder, root: images}")
    for folder in ("folder", "whole"):
        Path(folder).mkdir()
    Path("folder/model.safetensors").touch()
    checkpoint = read_checkpoint(finished_run / "checkpoints" / "step_00000004.pt")
    write_folder(checkpoint, tmp_path / "whole")
    Path(name).unlink(missing_ok=True)
    os.mkfifo(name)
    shown = gan(*words)
    assert shown.exit_code in (0, 1, 2) and said in shown.output and len(shown.output) < 500
