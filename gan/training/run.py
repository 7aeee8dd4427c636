"""Owns what the parts of a run share: its config, place, data, state and tracker."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from gan.config.settings import Config
from gan.data.pack import PackedImages
from gan.latents import draw_labels, draw_latents
from gan.tracking import Tracker
from gan.training.collapse import Watch
from gan.training.state import TrainState


@dataclass
class Run:
    """One call of `train`."""

    cfg: Config
    run_dir: Path
    packed: PackedImages
    state: TrainState
    held_out: PackedImages | None = None  # to evaluate by
    started: float = field(default_factory=time.monotonic)  # the call, before it packed
    tracker: Tracker | None = None  # rank 0's
    latest: dict[str, float] = field(default_factory=dict)  # the last log
    watch: Watch = field(default_factory=Watch)
    collapsed: str = ""  # the signs, once they have lasted

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.run_dir / "checkpoints"

    @property
    def samples(self) -> Path:
        """Folder of the image grids."""
        return self.run_dir / "samples"

    @property
    def minutes(self) -> float:
        """Minutes since this call started."""
        return (time.monotonic() - self.started) / 60

    def latents(self, num: int) -> tuple[Tensor, Tensor | None]:
        """Returns the run's fixed latents (num, Z) and labels (num,), for grids and evaluation."""
        model, seed = self.cfg.model, self.cfg.train.seed
        labels = draw_labels(num, self.state.g.num_classes, seed=seed)
        return draw_latents(num, model.z_dim, model.z_dist, seed=seed), labels


@dataclass
class Window:
    """Sums of values since the last log; they stay on the device until `means`."""

    tags: list[str] = field(default_factory=list)
    sums: Tensor | None = None
    count: int = 0
    waited_s: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def add(self, values: dict[str, Tensor]) -> None:
        """Adds the scalars among one step's values."""
        self.tags = [tag for tag, value in values.items() if value.dim() == 0]
        step = torch.stack([values[tag] for tag in self.tags])
        self.sums = step if self.sums is None else self.sums + step
        self.count += 1

    def means(self) -> dict[str, float]:
        """Returns the mean of each value; waits for the device."""
        assert self.sums is not None
        return dict(zip(self.tags, (self.sums / self.count).tolist(), strict=True))
