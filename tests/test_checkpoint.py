"""Checkpoint files: equal bytes, damage, foreign and malicious files, killed writers, pruning."""

import errno
import io
import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gan import checkpoint
from gan.checkpoint import (
    FORMAT,
    BadCheckpoint,
    Checkpoint,
    check_tensors,
    checkpoint_path,
    newest_checkpoint,
    prune_checkpoints,
    read_checkpoint,
    save_checkpoint,
)
from gan.files import remove_unfinished, replacing
from tests.conftest import largest_file

EMPTY = Checkpoint(
    config={}, classes=[], data="", step=0, images_seen=0, environment={}, g={}, d={}, g_ema={},
    g_optim={}, d_optim={},
)  # fmt: skip


def checkpoint_of(step: int = 0) -> Checkpoint:
    return replace(EMPTY, step=step, g={"w": torch.arange(2000.0)})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "step_00000001.pt"
    save_checkpoint(path, checkpoint_of(1))
    return path


def test_loaded_checkpoint_equals_the_saved_one(saved: Path) -> None:
    loaded = read_checkpoint(saved)
    assert loaded.step == 1
    assert torch.equal(loaded.g["w"], torch.arange(2000.0))


def test_saving_a_loaded_checkpoint_gives_the_same_bytes(saved: Path) -> None:
    again = saved.with_name("again.pt")
    save_checkpoint(again, read_checkpoint(saved))
    assert saved.read_bytes() == again.read_bytes()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.999])
def test_truncated_file_is_refused_by_name(saved: Path, share: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadCheckpoint, match=str(saved)):
        read_checkpoint(saved)


@pytest.mark.parametrize("content", [b"", b"<html>quota</html>", b"\0" * 5000, b"PK\x03\x04junk"])
def test_foreign_file_is_refused_without_advice_to_load_it_unsafely(
    saved: Path, content: bytes
) -> None:
    saved.write_bytes(content)
    with pytest.raises(BadCheckpoint, match=str(saved)) as caught:
        read_checkpoint(saved)
    assert "weights_only" not in str(caught.value)


def test_directory_and_missing_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.pt"):
        with pytest.raises(BadCheckpoint, match=str(path)):
            read_checkpoint(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flip") / "whole.pt"
    save_checkpoint(path, checkpoint_of(1))
    return path


@settings(max_examples=400)
@given(st.data())
def test_flipped_bit_is_refused_or_harmless(whole: Path, data: st.DataObject) -> None:
    path = whole.with_name("a.pt")
    content = bytearray(whole.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        loaded = read_checkpoint(path)
    except BadCheckpoint:
        return
    assert loaded.step == 1 and torch.equal(loaded.g["w"], torch.arange(2000.0))


def _save_pickle(path: Path, pickled: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + pickled + b".")
        archive.writestr("a/version", "3")


_TWICE = b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))  # (x, x) of (x, x) of ...
_HOSTILE = {
    "a key that takes 2^60 steps to hash": b"})" + _TWICE + b"K\x01s",
    "a value with 2^60 elements": b")" + _TWICE,
    "a key that overflows the stack": b"})" + b"\x85" * 1_000_000 + b"K\x01s",
    "a container in the memo of a string": b"X\x01\x00\x00\x00aq\x05)q\x05h\x05\x86",
    "a GB": b"cbuiltins\nbytearray\nJ\x00\x00\x00\x40\x85R",
    "a long pickle": b"X\x00\x00\x00\x01" + b"a" * (1 << 24),
}


def _fail(*args: object, **kwargs: object) -> None:
    pytest.fail("torch.load was called, which would hang or crash this process")


@pytest.mark.parametrize("what", _HOSTILE)
def test_hostile_values_are_refused_before_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    _save_pickle(tmp_path / "a.pt", _HOSTILE[what])
    monkeypatch.setattr(torch, "load", _fail)
    with pytest.raises(BadCheckpoint, match=r"a\.pt: not a checkpoint of gan: it holds"):
        read_checkpoint(tmp_path / "a.pt")


def test_values_before_the_zip_are_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older = io.BytesIO()  # a format that torch.load reads, and skips the zip behind it
    torch.save({"format": FORMAT}, older, _use_new_zipfile_serialization=False)
    saved.write_bytes(older.getvalue() + saved.read_bytes())
    monkeypatch.setattr(torch, "load", _fail)
    with pytest.raises(BadCheckpoint, match="it does not start like one"):
        read_checkpoint(saved)


def test_a_foreign_pickle_is_refused_in_linear_time(tmp_path: Path) -> None:
    _save_pickle(tmp_path / "a.pt", b"N" * 400_000 + b"N0" * 40_000)  # else minutes
    began = time.process_time()
    with pytest.raises(BadCheckpoint):
        read_checkpoint(tmp_path / "a.pt")
    assert time.process_time() - began < 30


def test_a_member_that_is_listed_many_times_takes_no_memory(
    tmp_path: Path, little_memory: None
) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a/data.pkl", bytes(2_000_000))
    data, end = whole.getvalue(), whole.getvalue().rfind(b"PK\5\6")
    start = int.from_bytes(data[end + 16 : end + 20], "little")
    directory = data[start:end] * 2000
    counts = struct.pack("<HHIIH", 2000, 2000, len(directory), start, 0)
    (tmp_path / "a.pt").write_bytes(data[:start] + directory + b"PK\5\6" + bytes(4) + counts)
    with pytest.raises(BadCheckpoint, match="its members overlap"):
        read_checkpoint(tmp_path / "a.pt")


def test_a_tensor_that_repeats_one_value_is_refused() -> None:
    own = {"w": torch.zeros(300, 300)}
    with pytest.raises(BadCheckpoint, match=r"g\.w: claims more values than the file has"):
        check_tensors(own, {"w": torch.zeros(1).expand(300, 300)}, "g")


def test_two_writers_of_one_file_both_write_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = iter([1, 2])
    monkeypatch.setattr(os, "getpid", lambda: next(pids))
    with replacing(tmp_path / "a.txt") as second:
        second.write_text("second")
        with replacing(tmp_path / "a.txt") as first:
            first.write_text("first")
        assert (tmp_path / "a.txt").read_text() == "first"
    assert [path.read_text() for path in tmp_path.iterdir()] == ["second"]


def test_many_long_names_of_classes_are_no_hostile_values(tmp_path: Path) -> None:
    path, names = tmp_path / "a.pt", [f"class {i:020}" for i in range(5000)]
    save_checkpoint(path, replace(checkpoint_of(3 << 31), classes=names))
    assert read_checkpoint(path).classes == names and read_checkpoint(path).step == 3 << 31


class _Exploit:
    def __init__(self, call: object, argument: str) -> None:
        self.call, self.argument = call, argument

    def __reduce__(self) -> tuple:
        return self.call, (self.argument,)


@pytest.mark.parametrize(
    ("call", "template"),
    [
        (os.system, "touch {}"),
        (eval, "open({!r}, 'w')"),
        (exec, "open({!r}, 'w')"),
        (subprocess.getoutput, "touch {}"),
    ],
)
def test_malicious_checkpoint_runs_no_code(tmp_path: Path, call: object, template: str) -> None:
    marker, path = tmp_path / "pwned", tmp_path / "evil.pt"
    torch.save({"format": FORMAT, "g": _Exploit(call, template.format(str(marker)))}, path)
    with pytest.raises(BadCheckpoint) as caught:
        read_checkpoint(path)
    assert not marker.exists()
    assert "weights_only" not in str(caught.value)
    pickle.loads(pickle.dumps(_Exploit(call, template.format(str(marker)))))
    assert marker.exists()  # pickle itself runs the code


def test_compressed_checkpoint_is_refused(saved: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    with pytest.raises(BadCheckpoint, match="compressed"):
        read_checkpoint(bomb)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, r"^\S+: checkpoint has format 99, this version reads 2 and 3; "),
        ({"format": 1}, "checkpoint has format 1, .* use the version of gan that wrote it"),
        ({"format": torch.zeros(2)}, "checkpoint has format tensor"),
        ({"step": "many"}, "step must be of type int; got str"),
        ({"step": -1}, "step must be a count; got -1"),
        ({"d_optim": ..., "x": 1}, r"missing keys \['d_optim'\], unknown keys \['x'\]"),
    ],
)
def test_other_formats_and_foreign_values_are_refused_by_name(
    saved: Path, changes: dict, message: str
) -> None:
    values = {**torch.load(saved, weights_only=True), **changes}
    torch.save({key: value for key, value in values.items() if value is not ...}, saved)
    with pytest.raises(BadCheckpoint, match=message):
        read_checkpoint(saved)


def test_format_2_is_read_without_hardware_settings_and_with_null_for_off(saved: Path) -> None:
    old = torch.load(saved, weights_only=True)
    off = {"penalty": "none", "augment": "none", "ema_halflife_images": 0.0}
    old |= {"format": 2, "config": {"train": off, "hardware": {"threads": 2}}}
    torch.save(old, saved)
    assert read_checkpoint(saved).config == {
        "train": {"penalty": None, "augment": None, "ema_halflife_images": None}
    }


def test_full_disk_keeps_the_old_file_and_reports_the_bytes_needed(saved: Path) -> None:
    before = saved.read_bytes()
    message = r"File too large, for a checkpoint of [\d,]+ bytes"
    with largest_file(4096), pytest.raises(OSError, match=message) as full:
        save_checkpoint(saved, checkpoint_of(2))
    assert full.value.errno == errno.EFBIG
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


_KILLED_WRITERS = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from gan.checkpoint import Checkpoint, read_checkpoint, save_checkpoint

def save(step):
    networks = {name: {} for name in ("g", "d", "g_ema", "g_optim", "d_optim")}
    networks["g"] = {"w": torch.full((1_000_000,), step)}
    save_checkpoint(path, Checkpoint({}, [], "", step, step, {}, **networks))

path = Path(sys.argv[1])
began = time.perf_counter()
save(0)
save_s = time.perf_counter() - began
for start in range(0, 16000, 1000):
    before = path.stat().st_mtime_ns
    writer = os.fork()
    while not writer:
        start += 1
        save(start)
    while path.stat().st_mtime_ns == before:
        time.sleep(0.001)
    time.sleep(random.Random(start).uniform(0, 3 * save_s))
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    loaded = read_checkpoint(path)
    assert (loaded.g["w"] == loaded.step).all()
    assert loaded.step > start
    print(loaded.step)
"""


def test_writer_killed_at_any_moment_leaves_an_intact_file(tmp_path: Path) -> None:
    path = tmp_path / "step_00000001.pt"
    command = [sys.executable, "-c", _KILLED_WRITERS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 16  # kills
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_replaces_the_old_one(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    rename = os.replace

    def record(part: Path, path: Path) -> None:
        done.append("replaced")
        rename(part, path)

    monkeypatch.setattr(
        os, "fsync", lambda handle: done.append(os.readlink(f"/proc/self/fd/{handle}"))
    )
    monkeypatch.setattr(os, "replace", record)
    save_checkpoint(saved, checkpoint_of(2))
    part = str(saved.with_name(f".step_00000001.{os.getpid()}.part.pt"))
    assert done == [part, "replaced", str(saved.parent)]


def test_newest_intact_checkpoint_is_found_and_damaged_ones_are_reported(tmp_path: Path) -> None:
    for step in (9, 10, 11):
        save_checkpoint(checkpoint_path(tmp_path, step), checkpoint_of(step))
    newest = checkpoint_path(tmp_path, 11)
    newest.write_bytes(newest.read_bytes()[:100])
    good, (error,) = newest_checkpoint(tmp_path)
    assert isinstance(error, BadCheckpoint) and "step_00000011.pt" in str(error)
    assert good and good.path == checkpoint_path(tmp_path, 10) and good.step == 10


def test_checkpoint_deleted_during_the_search_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        save_checkpoint(checkpoint_path(tmp_path, step), checkpoint_of(step))

    def read_late(path: Path) -> checkpoint.Checkpoint:
        if path.name == "step_00000002.pt":
            for step in (3, 4):
                save_checkpoint(checkpoint_path(tmp_path, step), checkpoint_of(step))
                prune_checkpoints(tmp_path, step, 2)
        return read_checkpoint(path)

    monkeypatch.setattr(checkpoint, "read_checkpoint", read_late)
    found, errors = newest_checkpoint(tmp_path)
    assert found and found.step == 4 and not errors


def test_best_is_used_if_all_others_are_damaged(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best.pt", checkpoint_of(2))
    (tmp_path / "step_00000003.pt").write_bytes(b"x")
    found, errors = newest_checkpoint(tmp_path)
    assert found and found.step == 2 and "step_00000003.pt" in str(errors[0])


def test_pruning_keeps_the_newest_and_ignores_later_ones(tmp_path: Path) -> None:
    """Later ones are damaged: the run resumed from an older one."""
    for step in (1, 2, 3, 4, 9):
        checkpoint_path(tmp_path, step).write_bytes(b"x")
    (tmp_path / "best.pt").write_bytes(b"x")
    prune_checkpoints(tmp_path, 4, 2)
    names = ["best.pt", "step_00000003.pt", "step_00000004.pt", "step_00000009.pt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_checkpoints_are_ordered_by_number_and_other_names_are_ignored(tmp_path: Path) -> None:
    """Zero-padded names have eight digits, so 10^8 sorts before 99,999,999 as text."""
    for step in (99_999_999, 100_000_000):
        save_checkpoint(checkpoint_path(tmp_path, step), checkpoint_of(step))
    for name in ("step_backup.pt", "step_999999999_keep.pt", "step_0999999999.pt", "step_7.pt"):
        (tmp_path / name).write_bytes(b"a user's file")
    found, errors = newest_checkpoint(tmp_path)
    assert found and found.step == 100_000_000 and not errors
    prune_checkpoints(tmp_path, 100_000_000, 1)
    assert len(list(tmp_path.glob("step_*"))) == 5
