"""Owns a run from its first step to its last: stepping, saving, stopping.

Shapes: B images of the global batch, N = B / world size of this rank.
"""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from gan.checkpoint import (
    checkpoint_path,
    prune_checkpoints,
    remove_unfinished,
    save_checkpoint,
)
from gan.config.settings import Config
from gan.data.batches import Batch, batches
from gan.data.datasets import open_source
from gan.data.pack import Progress, pack
from gan.machine.precision import choose_device, choose_precision
from gan.machine.ranks import Ranks, from_first, largest, process_group
from gan.machine.signals import StopRequest, stop_on_signals
from gan.metrics.reference import held_out_images
from gan.training import report
from gan.training.evaluator import Judge
from gan.training.needs import require_classes, require_memory
from gan.training.resume import go_on, initialise
from gan.training.run import Run, Window
from gan.training.run_dir import locked, next_run_dir
from gan.training.state import TrainState, all_finite, make_state, settle, to_payload
from gan.training.steps import one_step

_AGREE_EVERY_STEPS = 5  # several ranks ask each other for a stop at these steps
_TIME_UP, _COLLAPSED = 1, 3  # ways to end, beside the numbers of SIGINT (2) and SIGTERM (15)


class NonFinite(RuntimeError):
    """The run diverged; its last good checkpoint stands."""


class Collapsed(RuntimeError):
    """The run was asked to stop on collapse, and has; its state was saved."""


class Stopped(Exception):
    """A signal ended the run after its state was saved."""

    def __init__(self, signum: int, run_dir: Path) -> None:
        super().__init__(signum)
        self.signum = signum
        self.run_dir = run_dir


def train(
    cfg: Config,
    run_dir: Path | None,
    device_name: str = "auto",
    *,
    name: str = "run",
    progress: Progress | None = None,
) -> TrainState:
    """Starts the run of a directory, or goes on with it, up to train.num_steps or
    train.max_minutes, and saves its last state.

    Without a directory the run gets a new one, runs/NNNNN-name. Raises ValueError for what a user
    can mend, Stopped after a signal, NonFinite on divergence, Collapsed if train.on_collapse is
    stop, OSError when a checkpoint finds no room.
    """
    started = time.monotonic()
    device = choose_device(device_name)
    precision = choose_precision(cfg.hardware, device)
    torch.set_num_threads(precision.threads)
    # once per file system: the first process to come packs, the others find it done
    packed = pack(open_source(cfg.data, download=True), cfg.data, progress)
    require_classes(cfg, len(packed.classes))
    held_out = held_out_images(cfg.data, progress) if cfg.train.evaluate_every_steps else None
    with process_group(device) as ranks, stop_on_signals() as stop:
        _require_divisible(cfg, ranks)
        require_memory(cfg, len(packed.classes), device, ranks.world_size)
        if run_dir is None:
            made = next_run_dir(Path("runs"), name) if ranks.is_first else None
            run_dir = from_first(made, ranks)
        with locked(run_dir) if ranks.is_first else nullcontext():
            state = make_state(cfg, len(packed.classes), device, precision, ranks)
            run = Run(cfg, run_dir, packed, state, held_out, started)
            notes = go_on(run) or initialise(run)
            if ranks.is_first:
                for folder in (run.checkpoints, run.samples):
                    folder.mkdir(exist_ok=True)
                    remove_unfinished(folder)
                report.begin(run, notes)
            try:
                _loop(run, stop)
            finally:
                if run.tracker:
                    run.tracker.close()
    return state


def _require_divisible(cfg: Config, ranks: Ranks) -> None:
    size, parts = cfg.train.batch_size, ranks.world_size * cfg.model.pac
    if size % parts:
        raise ValueError(
            f"train.batch_size must be a multiple of {parts} ({ranks.world_size} processes times "
            f"model.pac {cfg.model.pac}); got {size}"
        )


def _loop(run: Run, stop: StopRequest) -> None:
    train, state = run.cfg.train, run.state
    stream = _batches(run)
    judge = Judge(run) if run.tracker and train.evaluate_every_steps else None
    window, ending = Window(), 0
    values: dict[str, Tensor] = {}
    while state.step < train.num_steps and not ending:
        values = _one_step(run, stream, window)
        window.add(values)
        ending = _ending(run, stop)
        last = bool(ending) or state.step == train.num_steps
        completes = last and ending <= _TIME_UP
        logged = _due(state.step, train.log_every_steps, last)
        if logged:
            _log(run, window, values)
        saves = _due(state.step, train.checkpoint_every_steps, last)
        shows = _due(state.step, train.sample_every_steps, last)
        judges = judge and _due(state.step, train.evaluate_every_steps, completes)
        if run.tracker and (saves or shows or judges):
            settle(state, run.cfg)
        if saves and not completes:
            _save(run)  # before all that takes time: a signal's sender may not wait
        if run.tracker and shows:
            report.sample(run)
        if judge and judges:
            _require_finite(run)
            judge.evaluate(run)
        if completes:
            _save(run)  # last: if anything before it fails, the same command makes up for it
        if logged:
            window = Window()  # made last, so that its clock runs for steps alone
    if run.tracker and values:
        report.finish(run, done=ending <= _TIME_UP)
    elif run.tracker:
        run.tracker.say(f"done before: step {state.step:,} of train.num_steps {train.num_steps:,}")
    if ending == _COLLAPSED:
        _collapsed(run)
    if ending not in (0, _TIME_UP):
        raise Stopped(ending, run.run_dir)


def _due(step: int, every_steps: int, last: bool) -> bool:
    return last or step % every_steps == 0


def _one_step(run: Run, stream: Iterator[Batch], window: Window) -> dict[str, Tensor]:
    waiting = time.perf_counter()
    images, labels = next(stream)
    window.waited_s += time.perf_counter() - waiting
    return one_step(run.state, run.cfg, images, labels)


def _batches(run: Run) -> Iterator[Batch]:
    ranks = run.state.ranks
    return batches(
        run.packed,
        run.cfg.train.batch_size,
        seed=run.cfg.train.seed,
        start_step=run.state.step,
        rank=ranks.rank,
        world_size=ranks.world_size,
        flip=run.cfg.data.flip,
        device=run.state.device,
    )


def _log(run: Run, window: Window, values: dict[str, Tensor]) -> None:
    norms = {tag: norm.item() for tag, norm in report.gradient_norms(run).items()}
    means = window.means() | norms
    bad = [tag for tag, value in means.items() if not torch.tensor(value).isfinite()]
    if largest(len(bad), run.state.ranks):
        _diverged(run, ", ".join(bad) or "another rank's loss")
    if run.tracker:
        report.log(run, window, means, values)


def _require_finite(run: Run) -> None:
    if not all_finite(run.state):
        _diverged(run, "a weight")


def _save(run: Run) -> None:
    _require_finite(run)
    if not run.state.ranks.is_first:
        return
    path = checkpoint_path(run.checkpoints, run.state.step)
    payload = to_payload(run.state, run.cfg, run.packed.classes, run.packed.checksum)
    save_checkpoint(path, payload)
    prune_checkpoints(path, run.cfg.train.keep_checkpoints)


def _diverged(run: Run, what: str) -> None:
    raise NonFinite(
        f"{what} is not a finite number at step {run.state.step:,}; nothing of it was saved. Start "
        "a new run with lower learning rates or hardware.precision fp32, from the last checkpoint "
        "by train.init_from"
    )


def _collapsed(run: Run) -> None:
    best = run.checkpoints / "best.pt"
    signs = from_first(run.collapsed, run.state.ranks)
    raise Collapsed(
        f"{signs}. Stopped and saved at step {run.state.step:,}, since train.on_collapse "
        f"is stop; warn goes on"
        + (f". The best checkpoint is {best}: train.init_from starts a new run "
           "from it, whose learning rates should be as low as this one's had become"
           if best.exists() else "")
    )  # fmt: skip


def _ending(run: Run, stop: StopRequest) -> int:
    """Returns 0 to go on, _TIME_UP, _COLLAPSED, or the number of the signal that asked for it."""
    limit = run.cfg.train.max_minutes
    ending = stop.signum or (_TIME_UP if limit is not None and run.minutes >= limit else 0)
    if run.collapsed and run.cfg.train.on_collapse == "stop":
        ending = max(ending, _COLLAPSED)
    ranks = run.state.ranks
    if ranks.world_size == 1:
        return ending
    return largest(ending, ranks) if run.state.step % _AGREE_EVERY_STEPS == 0 else 0
