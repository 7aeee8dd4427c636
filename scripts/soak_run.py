"""The run that a soak breaks: how it is started, watched and ended."""

import json
import random
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

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
PATIENCE_S = 120  # for one start on a busy machine


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
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            if process.poll() is not None:
                raise Lost(f"ended by itself with exit code {process.returncode}")
            if time.monotonic() > deadline:
                process.kill()
                raise Lost(f"no step after {PATIENCE_S} s")
            time.sleep(0.02)

    def end(self, process: subprocess.Popen, *codes: int) -> None:
        """Waits for the end of a process, which must have one of these exit codes."""
        code = process.wait(timeout=PATIENCE_S)
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
