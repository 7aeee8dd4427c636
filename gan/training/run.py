"""What the parts of a run share: its config, directory, data, state, tracker and ending."""

import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan.checkpoint import Checkpoint
from gan.config.settings import Config
from gan.data.pack import PackedImages
from gan.latents import draw_labels, draw_latents, rng
from gan.metrics.reference import Reference
from gan.nn.generator import Generator
from gan.sampling import generate
from gan.tracking import Tracker
from gan.training.collapse import Watch
from gan.training.state import TrainState, to_checkpoint


class Ending(IntEnum):
    """Why a call of `train` ended. When ranks differ, they agree on the largest."""

    DONE = 1  # train.num_steps are reached
    TIME_UP = 2  # after train.max_minutes
    COLLAPSED = 3  # and train.on_collapse is stop
    HUNG_UP = 128 + signal.SIGHUP  # a signal; the value is the exit code, as in a shell
    INTERRUPTED = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM

    @property
    def is_signal(self) -> bool:
        return self > 128


@dataclass
class Window:
    """Means and timing of the steps since the last log; sums stay on the device until `means`."""

    tags: list[str] = field(default_factory=list)
    sums: Tensor | None = None
    count: int = 0
    waited_s: float = 0.0  # for data
    started: float = field(default_factory=time.perf_counter)

    def add(self, values: dict[str, Tensor]) -> None:
        """Adds the scalars among the values of one step."""
        self.tags = [tag for tag, value in values.items() if value.dim() == 0]
        step = torch.stack([values[tag] for tag in self.tags])
        self.sums = step if self.sums is None else self.sums + step
        self.count += 1

    def means(self) -> dict[str, float]:
        """Returns the mean of each value; synchronises with the device."""
        assert self.sums is not None
        return dict(zip(self.tags, (self.sums / self.count).tolist(), strict=True))

    @property
    def seconds(self) -> float:
        """Seconds since the start, without pauses."""
        return time.perf_counter() - self.started

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time of the block out of `seconds`."""
        if self.sums is not None and self.sums.is_cuda:
            torch.cuda.synchronize(self.sums.device)  # queued steps are not part of the pause
        began = time.perf_counter()
        try:
            yield
        finally:
            self.started += time.perf_counter() - began


@dataclass
class Run:
    """One call of `train`."""

    cfg: Config
    run_dir: Path
    packed: PackedImages
    state: TrainState
    held_out: PackedImages | None = None  # for evaluation
    started: float = field(default_factory=time.monotonic)  # of the call, before packing
    tracker: Tracker = field(init=False)  # on the first rank only
    window: Window = field(default_factory=Window)
    logged_s: float = 0.0  # seconds of the windows before this one
    # (images seen, seconds) at the start and at the last updates of the status line
    pace: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=20))
    latest: dict[str, float] = field(default_factory=dict)  # the newest value of each curve
    watch: Watch = field(default_factory=Watch)
    has_checkpoint: bool = False  # saved by this or an earlier call
    collapsed: str = ""  # the signs of collapse, once they have lasted
    reference: Reference | None = None  # of evaluation, made when first needed
    floor: dict[str, float] = field(default_factory=dict)  # the scores of real images, likewise
    ending: Ending | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that logs, shows, evaluates and saves."""
        return self.state.ranks.is_first

    @property
    def checkpoint_dir(self) -> Path:
        return self.run_dir / "checkpoints"

    @property
    def sample_dir(self) -> Path:
        return self.run_dir / "samples"

    @property
    def minutes(self) -> float:
        """Minutes since the call started."""
        return (time.monotonic() - self.started) / 60

    @property
    def busy_s(self) -> float:
        """Seconds of training in this call, without pauses."""
        return self.logged_s + self.window.seconds

    def checkpoint(self) -> Checkpoint:
        """Returns the present state as a checkpoint."""
        return to_checkpoint(self.state, self.cfg, self.packed.classes, self.packed.checksum)

    def fixed_samples(
        self, generator: Generator, num: int, labels: Tensor | None = None
    ) -> np.ndarray:
        """Returns uint8 images (num, C, H, W) of the run's fixed latents.

        Without `labels`, of its fixed labels too.
        """
        seed = self.cfg.train.seed
        z = draw_latents(num, self.cfg.model, seed=seed)
        if labels is None:
            labels = draw_labels(num, generator.num_classes, seed=seed)
        return generate(generator, z, labels, self.state.precision)

    def real_images(self, num: int) -> np.ndarray:
        """Returns a fixed choice of at most `num` training images."""
        num = min(num, len(self.packed))
        stream = rng(self.cfg.train.seed, 0, "real")
        return self.packed.images[stream.choice(len(self.packed), num, replace=False)]

    def describe_collapse(self) -> str:
        """Returns the message of a run that ended as COLLAPSED."""
        best = self.checkpoint_dir / "best.pt"
        remedy = (
            f". The best checkpoint is {best}; a new run can start from it with train.init_from, "
            "with learning rates as low as they were at the end of this one"
        )
        return (
            f"{self.collapsed}. Stopped and saved at step {self.state.step:,}, since "
            "train.on_collapse is stop" + (remedy if best.exists() else "")
        )
