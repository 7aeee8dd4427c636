"""The faults of a soak: each starts the run, breaks it in one way, and sees it end as it must."""

import io
import shutil
import signal
import struct
import subprocess
import time
import zipfile
from collections.abc import Callable

from soak_run import FOREVER, PATIENCE_S, Lost, Soak


def kill(soak: Soak) -> None:
    """SIGKILL while steps are done and checkpoints written."""
    process = soak.going()
    soak.nap(1.0)
    process.kill()
    soak.end(process, -signal.SIGKILL)


def kill_at_start(soak: Soak) -> None:
    """SIGKILL at any moment of the start."""
    process = soak.start()
    soak.nap(5.0)
    process.kill()
    soak.end(process, -signal.SIGKILL)


def terminate(soak: Soak) -> None:
    """SIGTERM."""
    process = soak.going()
    soak.nap(0.5)
    process.terminate()
    soak.end(process, 128 + signal.SIGTERM)


def interrupt(soak: Soak) -> None:
    """SIGINT."""
    process = soak.going()
    soak.nap(0.5)
    process.send_signal(signal.SIGINT)
    soak.end(process, 128 + signal.SIGINT)


def truncate(soak: Soak) -> None:
    """The newest checkpoint is cut."""
    _damage(soak, lambda data: data[: soak.random.randrange(len(data))])


def flip_bit(soak: Soak) -> None:
    """One bit of the newest checkpoint's tensors is flipped."""

    def flip(data: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            member = soak.random.choice([m for m in archive.infolist() if "/data/" in m.filename])
        # behind the member's own header, its name and its padding, of which no sum is kept
        name, padding = struct.unpack_from("<HH", data, member.header_offset + 26)
        start = member.header_offset + 30 + name + padding
        changed = bytearray(data)
        changed[soak.random.randrange(start, start + member.file_size)] ^= 1 << 3
        return bytes(changed)

    _damage(soak, flip)


def _damage(soak: Soak, change: Callable[[bytes], bytes]) -> None:
    kill(soak)
    while len(soak.checkpoints()) < 2:  # the promise is to survive the loss of one of two
        kill(soak)
    path = soak.checkpoints()[0]
    path.write_bytes(change(path.read_bytes()))
    soak.damaged[path] = path.stat().st_ino


def fill_disk(soak: Soak) -> None:
    """Some file finds no room, a checkpoint at the latest."""
    process = soak.start(largest_file=soak.random.randrange(1, 100_000))
    soak.end(process, 4)


def second_process(soak: Soak) -> None:
    """The same command while the run is on: refused, and the run undisturbed."""
    process = soak.going()
    second = subprocess.run(
        soak.command(soak.run_dir, FOREVER), capture_output=True, text=True, timeout=PATIENCE_S
    )
    if second.returncode != 1 or f"in use by process {process.pid}" not in second.stderr:
        raise Lost(f"a second process was not refused: {second.stderr}")
    process.kill()
    soak.end(process, -signal.SIGKILL)


def remove_tensorboard(soak: Soak) -> None:
    """The TensorBoard files vanish under a run."""
    process = soak.going()
    shutil.rmtree(soak.run_dir / "tb", ignore_errors=True)  # a file may come while we delete
    before = soak.last_logged()
    soak.wait(process, lambda: soak.last_logged() > before)
    process.terminate()
    soak.end(process, 128 + signal.SIGTERM)


def tear_metrics(soak: Soak) -> None:
    """The last line of metrics.jsonl is torn."""
    kill(soak)
    metrics = soak.run_dir / "metrics.jsonl"
    text = metrics.read_bytes()
    metrics.write_bytes(text[: len(text) - soak.random.randrange(min(len(text), 300))])


def kill_packer(soak: Soak) -> None:
    """The packed images vanish, and the process that packs them again is killed."""
    shutil.rmtree(soak.images / "packed", ignore_errors=True)
    process = soak.start()
    deadline = time.monotonic() + PATIENCE_S
    while not list(soak.images.glob("packed/*.part*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    soak.nap(0.5)
    process.kill()
    soak.end(process, -signal.SIGKILL)


FAULTS: list[Callable[[Soak], None]] = [
    kill, kill_at_start, terminate, interrupt, truncate, flip_bit, fill_disk, second_process,
    remove_tensorboard, tear_metrics, kill_packer,
]  # fmt: skip
