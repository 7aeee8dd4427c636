"""Breaks one real run again and again, goes on with it, and compares its end with an unbroken run.

    python scripts/soak.py --minutes 30

Every start is `gan train` with the same words, in a process of its own. Between and during the
starts one fault of a random kind is injected. After each, the run must go on from its newest whole
checkpoint, without a traceback; at the end its last checkpoint must be the unbroken run's, bit for
bit. Exit code 1, with the fault and the run's output, at the first thing lost.
"""

import io
import json
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from PIL import Image

CONFIG = """
data: {source: folder, image_size: 16, channels: 3, flip: true}
model: {g_width: 8, d_width: 8, z_dim: 16}
train:
  batch_size: 16
  augment: diffaugment
  log_every_steps: 5
  sample_every_steps: 40
  checkpoint_every_steps: 20
"""
FOREVER = 10**6
_PATIENCE_S = 120  # for one start on a busy machine


class Lost(Exception):
    """Something that the promise covers did not hold."""


class Soak:
    """One run under fire, and what has become of it."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place, self.random = place, random.Random(seed)
        self.run_dir = place / "run"
        self.images = place / "images"
        self.damaged: dict[Path, int] = {}  # checkpoints we broke, with their inodes
        self.faults: Counter[str] = Counter()
        self.steps_again = 0
        self.errors = place / "stderr.txt"
        self.images.mkdir(parents=True)
        noise = np.random.default_rng(seed)
        for i in range(200):
            pixels = noise.integers(0, 256, (24, 20, 3), np.uint8)
            Image.fromarray(pixels).save(self.images / f"{i}.png")
        (place / "config.yaml").write_text(CONFIG)

    def command(self, run_dir: Path, num_steps: int) -> list[str]:
        """Returns the one command of a run."""
        return [sys.executable, "-m", "gan", "train", str(self.place / "config.yaml"),
                "--run-dir", str(run_dir), "--device", "cpu",
                "--set", f"data.root={self.images}",
                "--set", f"train.num_steps={num_steps}"]  # fmt: skip

    def start(self, largest_file: int = resource.RLIM_INFINITY) -> subprocess.Popen:
        """Starts or goes on with the run, in a process that may write files of a given size."""
        limits = (largest_file, resource.RLIM_INFINITY)
        self.process = subprocess.Popen(
            self.command(self.run_dir, FOREVER),
            stderr=open(self.errors, "w"),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits),
        )
        return self.process

    def going(self) -> subprocess.Popen:
        """Goes on until steps are being done, and checks where from: nothing whole was lost."""
        newest = self.newest_whole()
        last = self.last_logged()
        process = self.start()
        self.wait(process, lambda: self.last_logged_after(newest) is not None)
        found = re.findall(r"going on from step_(\d+)\.pt", self.errors.read_text())
        came_from = int(found[-1]) if found else 0
        if came_from != newest:
            raise Lost(f"went on from step {came_from}; step {newest} was whole")
        self.steps_again += max(0, last - came_from)
        return process

    def wait(self, process: subprocess.Popen, ready: Callable[[], bool]) -> None:
        """Waits until the run has come so far; it must not end before."""
        deadline = time.monotonic() + _PATIENCE_S
        while not ready():
            if process.poll() is not None:
                raise Lost(f"ended by itself with exit code {process.returncode}")
            if time.monotonic() > deadline:
                process.kill()
                raise Lost(f"no step after {_PATIENCE_S} s")
            time.sleep(0.02)

    def end(self, process: subprocess.Popen, *codes: int) -> None:
        """Waits for the end of a process, which must have one of these exit codes."""
        code = process.wait(timeout=_PATIENCE_S)
        text = self.errors.read_text()
        if code not in codes or "Traceback" in text:
            raise Lost(f"exit code {code}, expected {codes}")

    def checkpoints(self) -> list[Path]:
        """Returns the checkpoints that we did not break, or that were written again since."""
        found = sorted(self.run_dir.glob("checkpoints/step_*.pt"), reverse=True)
        return [path for path in found if self.damaged.get(path) != path.stat().st_ino]

    def newest_whole(self) -> int:
        """Returns the step of the newest whole checkpoint, 0 if there is none."""
        whole = self.checkpoints()
        return int(whole[0].stem.removeprefix("step_")) if whole else 0

    def last_logged(self) -> int:
        """Returns the last step in metrics.jsonl, 0 if there is none."""
        try:
            rows = (self.run_dir / "metrics.jsonl").read_text().splitlines()
            return int(json.loads(rows[-1])["step"])
        except (OSError, IndexError, ValueError):
            return 0

    def last_logged_after(self, step: int) -> int | None:
        """Returns the last step in metrics.jsonl once this start has cut it back and gone on."""
        begun = "parameters; cpu" in self.errors.read_text()
        last = self.last_logged()
        return last if begun and last > step else None

    def nap(self, most_s: float) -> None:
        """Sleeps for a random time."""
        time.sleep(self.random.uniform(0, most_s))


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
        soak.command(soak.run_dir, FOREVER), capture_output=True, text=True, timeout=_PATIENCE_S
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
    deadline = time.monotonic() + _PATIENCE_S
    while not list(soak.images.glob("packed/*.part*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    soak.nap(0.5)
    process.kill()
    soak.end(process, -signal.SIGKILL)


FAULTS: list[Callable[[Soak], None]] = [
    kill, kill_at_start, terminate, interrupt, truncate, flip_bit, fill_disk, second_process,
    remove_tensorboard, tear_metrics, kill_packer,
]  # fmt: skip


def compare(soak: Soak) -> str:
    """Ends the run, does an unbroken one of the same length, and compares their last states."""
    num_steps = soak.newest_whole() + 1
    ends = []
    for run_dir in (soak.run_dir, soak.place / "unbroken"):
        done = subprocess.run(soak.command(run_dir, num_steps), capture_output=True, text=True)
        if done.returncode:
            raise Lost(f"{run_dir}: exit code {done.returncode}\n{done.stderr}")
        ends.append((run_dir / f"checkpoints/step_{num_steps:08}.pt").read_bytes())
    if ends[0] != ends[1]:
        raise Lost(f"the states after step {num_steps:,} differ")
    steps = [json.loads(row)["step"] for row in (soak.run_dir / "metrics.jsonl").open()]
    if steps != sorted(set(steps)):
        raise Lost("metrics.jsonl has steps twice or out of order")
    leftovers = [*soak.run_dir.glob("**/*.part*"), *soak.images.glob("packed/*.part*")]
    if leftovers:
        raise Lost(f"left behind: {leftovers}")
    return f"after step {num_steps:,} the two checkpoints are equal, {len(ends[0]):,} bytes"


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="Of injecting faults.")
@click.option("--seed", default=0, show_default=True)
@click.option("--place", type=click.Path(path_type=Path), default="runs/soak", show_default=True)
def main(minutes: float, seed: int, place: Path) -> None:
    """Breaks a run for a while, then compares it with an unbroken one."""
    if place.exists():
        raise click.UsageError(f"{place} is there already; delete it or name another --place")
    soak = Soak(place, seed)
    end = time.monotonic() + 60 * minutes
    fault = kill
    try:
        while time.monotonic() < end:
            fault = soak.random.choice(FAULTS)
            fault(soak)
            soak.faults[fault.__name__] += 1
            click.echo(f"{soak.faults.total():4} {fault.__name__:20} step {soak.newest_whole():,}")
        equal = compare(soak)
    except Lost as lost:
        soak.process.kill()
        raise click.ClickException(
            f"lost after {soak.faults.total()} faults, in {fault.__name__}: {lost}\n"
            + soak.errors.read_text()
        ) from None
    click.echo(f"\n{soak.faults.total()} faults injected and survived, nothing lost; {equal}")
    click.echo(f"{soak.steps_again:,} steps were done again after losing what no checkpoint held")
    for name, count in soak.faults.most_common():
        click.echo(f"{count:6} {name}")


if __name__ == "__main__":
    main()
