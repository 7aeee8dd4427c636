"""The run that a soak breaks: starting it, waiting for it, and what it must have kept."""

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from gan.checkpoint import numbered_checkpoints
from gan.files import parse_row

CONFIG = """
data: {source: folder, image_size: 16, channels: 3, flip: true}
model: {g_width: 8, d_width: 8, z_dim: 16}
train:
  batch_size: 16
  augment: translate
  log_every_steps: 5
  sample_every_steps: 40
  checkpoint_every_steps: 20
  evaluate_every_steps: 100
"""
FOREVER = 10**6
TIMEOUT_S = 400  # for one start on a busy machine


class Violation(Exception):
    """The run lost something, or ended in the wrong way."""


class Soak:
    """One run, the faults injected so far, and the steps they cost."""

    def __init__(self, place: Path, seed: int, ranks: int) -> None:
        self.place, self.random, self.ranks = place, random.Random(seed), ranks
        self.run_dir = place / "run"
        self.images = place / "images"
        self.damaged: dict[Path, int] = {}  # checkpoints we damaged, by inode
        self.faults: Counter[str] = Counter()
        self.steps_repeated = 0
        self.errors = place / "stderr.txt"
        self.images.mkdir(parents=True)
        os.environ["GAN_CACHE"] = str(self.images)  # where the faults look for packs
        noise = np.random.default_rng(seed)
        for i in range(200):
            pixels = noise.integers(0, 256, (24, 20, 3), np.uint8)
            Image.fromarray(pixels).save(self.images / f"{i}.png")
        (place / "config.yaml").write_text(CONFIG)

    def command(self, run_dir: Path, num_steps: int) -> list[str]:
        """Returns the command that starts or resumes a run."""
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={self.ranks}"]
        launcher = torchrun if self.ranks > 1 else []
        return [sys.executable, *launcher, "-m", "gan", "train", str(self.place / "config.yaml"),
                "--run-dir", str(run_dir), "--device", "cpu",
                "--set", f"data.root={self.images}",
                "--set", f"train.num_steps={num_steps}"]  # fmt: skip

    def start(
        self, largest_file: int = resource.RLIM_INFINITY, console: Path | None = None
    ) -> subprocess.Popen:
        """Starts or resumes the run in a process that cannot write files larger than a limit."""

        def prepare() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # this script may run in nohup

        self.process = subprocess.Popen(
            self.command(self.run_dir, FOREVER),
            stderr=open(console or self.errors, "w"),
            preexec_fn=prepare,
        )
        return self.process

    def resume(self) -> subprocess.Popen:
        """Resumes from the newest intact checkpoint, and waits for the first steps after it."""
        newest = self.newest_intact()
        last = self.last_logged()
        process = self.start()
        self.wait(process, lambda: self.last_logged_after(newest) is not None)
        found = re.findall(r" from step_(\d+)\.pt", self.errors.read_text())
        came_from = int(found[-1]) if found else 0
        if came_from != newest:
            raise Violation(f"resumed from step {came_from}, but step {newest} was intact")
        self.steps_repeated += max(0, last - came_from)
        return process

    def wait(self, process: subprocess.Popen, ready: Callable[[], bool]) -> None:
        """Waits until `ready`; the run must not end before that."""
        deadline = time.monotonic() + TIMEOUT_S
        while not ready():
            if process.poll() is not None:
                raise Violation(f"exited with code {process.returncode}")
            if time.monotonic() > deadline:
                process.kill()
                raise Violation(f"no step after {TIMEOUT_S} s")
            time.sleep(0.02)

    def kill(self, process: subprocess.Popen) -> None:
        """Ends a process, and the ranks that it started, with SIGKILL."""
        ranks = children(process)
        process.kill()  # first, so that torchrun does not see its ranks end
        for pid in ranks:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def end(self, process: subprocess.Popen, *codes: int) -> None:
        """Waits for a process to end with one of these exit codes and without a traceback.

        torchrun ends with its own exit code and traceback.
        """
        code = process.wait(timeout=TIMEOUT_S)
        text = self.errors.read_text()
        if self.ranks > 1 and code == 1:
            return
        if code not in codes or "Traceback" in text:
            raise Violation(f"exit code {code}, expected {codes}")

    def checkpoints(self) -> list[Path]:
        """Returns the checkpoints that are undamaged or were rewritten since."""
        found = numbered_checkpoints(self.run_dir / "checkpoints").values()
        return [path for path in found if self.damaged.get(path) != path.stat().st_ino]

    def newest_intact(self) -> int:
        """Returns the step of the newest intact checkpoint, 0 if there is none."""
        intact = self.checkpoints()
        return int(intact[0].stem.removeprefix("step_")) if intact else 0

    def last_logged(self) -> int:
        """Returns the last step in metrics.jsonl, 0 if there is none."""
        try:
            lines = (self.run_dir / "metrics.jsonl").read_bytes().splitlines()
        except OSError:
            return 0
        return max((row["step"] for row in map(parse_row, lines) if row), default=0)

    def last_logged_after(self, step: int) -> int | None:
        """Returns the last logged step once this process has started and passed `step`."""
        begun = "parameters; cpu" in self.errors.read_text()
        last = self.last_logged()
        return last if begun and last > step else None

    def nap(self, most_s: float) -> None:
        """Sleeps for a random time up to `most_s`."""
        time.sleep(self.random.uniform(0, most_s))


def children(process: subprocess.Popen) -> list[int]:
    """Returns the processes that a process has started: the ranks of torchrun."""
    try:
        text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    except OSError:  # the process has ended
        return []
    return [int(word) for word in text.split()]
