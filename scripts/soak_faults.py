"""The faults of a soak: each starts the run, breaks it in one way, and checks how it ends."""

import io
import os
import shutil
import signal
import struct
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from soak_run import FOREVER, TIMEOUT_S, Soak, Violation, children


def kill(soak: Soak) -> None:
    """SIGKILL during training, possibly while a checkpoint is written."""
    process = soak.resume()
    soak.nap(1.0)
    soak.kill(process)


def kill_at_start(soak: Soak) -> None:
    """SIGKILL at a random moment of the start."""
    process = soak.start()
    soak.nap(5.0)
    soak.kill(process)


def terminate(soak: Soak) -> None:
    """SIGTERM during training."""
    process = soak.resume()
    soak.nap(0.5)
    process.terminate()
    soak.end(process, 128 + signal.SIGTERM)


def interrupt(soak: Soak) -> None:
    """SIGINT during training."""
    process = soak.resume()
    soak.nap(0.5)
    process.send_signal(signal.SIGINT)
    soak.end(process, 128 + signal.SIGINT)


def hang_up(soak: Soak) -> None:
    """SIGHUP during training, as when a terminal is closed."""
    process = soak.resume()
    soak.nap(0.5)
    process.send_signal(signal.SIGHUP)
    soak.end(process, 128 + signal.SIGHUP)


def pause(soak: Soak) -> None:
    """SIGSTOP and SIGCONT: the run continues."""
    process = soak.resume()
    process.send_signal(signal.SIGSTOP)
    soak.nap(1.0)
    process.send_signal(signal.SIGCONT)
    _train_on_and_stop(soak, process)


def full_console(soak: Soak) -> None:
    """The console cannot be written: the run continues."""
    process = soak.start(console=Path("/dev/full"))
    _train_on_and_stop(soak, process)


def _train_on_and_stop(soak: Soak, process: subprocess.Popen) -> None:
    before = soak.last_logged()
    soak.wait(process, lambda: soak.last_logged() > before)
    process.terminate()
    soak.end(process, 128 + signal.SIGTERM)


def kill_after_evaluation(soak: Soak) -> None:
    """SIGKILL right after an evaluation, before or while the step is saved."""
    process = soak.resume()
    rows = soak.run_dir / "evaluations.jsonl"
    before = rows.stat().st_size
    soak.wait(process, lambda: rows.stat().st_size > before)
    soak.kill(process)


def copy_checkpoint(soak: Soak) -> None:
    """The user copies an older checkpoint under another name."""
    kill(soak)
    for path in soak.checkpoints()[-1:]:
        shutil.copy(path, path.with_name("step_99999999_copy.pt"))


def change_folder(soak: Soak) -> None:
    """An image is added: the running process continues, the next start is refused."""
    process = soak.resume()
    extra = soak.images / "extra.png"
    shutil.copy(soak.images / "0.png", extra)
    _train_on_and_stop(soak, process)
    process = soak.start()
    soak.end(process, 1)
    if "the images have changed" not in soak.errors.read_text():
        raise Violation("a changed folder was not refused")
    extra.unlink()


def truncate(soak: Soak) -> None:
    """The newest checkpoint is truncated."""
    _damage(soak, lambda data: data[: soak.random.randrange(len(data))])


def flip_bit(soak: Soak) -> None:
    """One bit of the newest checkpoint's tensors is flipped."""

    def flip(data: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            member = soak.random.choice([m for m in archive.infolist() if "/data/" in m.filename])
        # skip the member's header, name and padding, which no checksum covers
        name, padding = struct.unpack_from("<HH", data, member.header_offset + 26)
        start = member.header_offset + 30 + name + padding
        changed = bytearray(data)
        changed[soak.random.randrange(start, start + member.file_size)] ^= 1 << 3
        return bytes(changed)

    _damage(soak, flip)


def _damage(soak: Soak, change: Callable[[bytes], bytes]) -> None:
    kill(soak)
    while len(soak.checkpoints()) < 2:  # the run survives the loss of one of two
        terminate(soak)  # which saves, however slow the machine is
    path = soak.checkpoints()[0]
    path.write_bytes(change(path.read_bytes()))
    soak.damaged[path] = path.stat().st_ino


def fill_disk(soak: Soak) -> None:
    """The disk is full while some file is written, at the latest a checkpoint."""
    process = soak.start(largest_file=soak.random.randrange(1, 100_000))
    soak.end(process, 4)


def second_process(soak: Soak) -> None:
    """A second process on the same run is refused and does not disturb the first."""
    process = soak.resume()
    second = subprocess.run(
        soak.command(soak.run_dir, FOREVER), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    if second.returncode != 1 or f"in use by process {process.pid}" not in second.stderr:
        raise Violation(f"a second process was not refused: {second.stderr}")
    soak.kill(process)


def remove_tensorboard(soak: Soak) -> None:
    """The TensorBoard files are deleted during training."""
    process = soak.resume()
    for path in soak.run_dir.glob("events.*"):
        path.unlink()
    before = soak.last_logged()
    soak.wait(process, lambda: soak.last_logged() > before)
    process.terminate()
    soak.end(process, 128 + signal.SIGTERM)


def tear_metrics(soak: Soak) -> None:
    """The end of metrics.jsonl is cut off."""
    kill(soak)
    metrics = soak.run_dir / "metrics.jsonl"
    text = metrics.read_bytes()
    metrics.write_bytes(text[: len(text) - soak.random.randrange(min(len(text), 300))])


def damage_row(soak: Soak) -> None:
    """A row in the middle of metrics.jsonl becomes unreadable."""
    kill(soak)
    metrics = soak.run_dir / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True)
    if len(lines) > 2:
        lines.insert(len(lines) // 2, b"\xff not JSON\n")
        metrics.write_bytes(b"".join(lines))


def kill_packer(soak: Soak) -> None:
    """The packed images are deleted, and the process that packs them again is killed."""
    shutil.rmtree(soak.images / "packed", ignore_errors=True)
    process = soak.start()
    deadline = time.monotonic() + TIMEOUT_S
    while not list(soak.images.glob("packed/*.part*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    soak.nap(0.5)
    soak.kill(process)


def kill_rank(soak: Soak) -> None:
    """SIGKILL to one rank: torchrun ends the other."""
    process = soak.resume()
    soak.nap(1.0)
    os.kill(soak.random.choice(children(process)), signal.SIGKILL)
    soak.end(process, 1)


def fill_disk_while_packing(soak: Soak) -> None:
    """The disk is too small for the packed images."""
    shutil.rmtree(soak.images / "packed", ignore_errors=True)
    process = soak.start(largest_file=soak.random.randrange(100_000))
    soak.end(process, 4)


FAULTS: list[Callable[[Soak], None]] = [
    kill, kill_at_start, terminate, interrupt, truncate, flip_bit, fill_disk, second_process,
    remove_tensorboard, tear_metrics, kill_packer, hang_up, pause, full_console,
    kill_after_evaluation, copy_checkpoint, change_folder, damage_row, fill_disk_while_packing,
]  # fmt: skip
FAULTS_OF_RANKS: list[Callable[[Soak], None]] = [
    kill, kill_at_start, kill_rank, terminate, truncate, flip_bit, tear_metrics, kill_packer,
    kill_after_evaluation, copy_checkpoint, damage_row,
]  # fmt: skip
