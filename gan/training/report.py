"""What a run shows: first lines, status line, curves, image grids, last lines. First rank only."""

import math
import resource
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from gan.config.reader import flat_identity
from gan.config.settings import TrainConfig
from gan.files import read_rows, replacing
from gan.sampling import grid, save_gif, to_pil
from gan.tracking import Tracker
from gan.training.run import Ending, Run
from gan.training.run_dir import describe_run
from gan.training.state import environment, num_parameters
from gan.training.steps import ema_decay, learning_rates

NUM_SHOWN = 64  # images in the grids of a run without classes
COLUMNS = 8
_FIRST_HISTOGRAMS = 1000  # images seen; the next ones follow at twice as many, and so on
_MAX_GIF_FRAMES = 60
_SHOW_EVERY_S = 1.0


def open_tracker(run: Run) -> Tracker:
    """Opens the output of a run, which continues after its present step."""
    state, num_steps = run.state, run.cfg.train.num_steps
    return Tracker(run.run_dir, step=state.step, images_seen=state.images_seen, num_steps=num_steps)


def begin(run: Run, notes: list[str]) -> None:
    """Describes the run, and shows real images when it is new."""
    state, cfg = run.state, run.cfg
    facts = {"images": len(run.packed), "data": run.packed.checksum, "step": state.step}
    describe_run(run.run_dir, cfg, environment(state) | facts)
    shape = "x".join(map(str, cfg.data.image_shape))
    say = run.tracker.console.say
    say(
        f"{run.run_dir}: {len(run.packed):,} images {shape} from {cfg.data.source}; "
        f"G {num_parameters(state.g):,}, D {num_parameters(state.d):,} parameters; "
        f"{state.device.type}, {state.precision}"
    )
    for note in notes:
        say(note)
    run.tracker.board.begin_session(flat_identity(cfg))
    run.watch.recall(read_rows(run.run_dir / "metrics.jsonl"))
    if state.step == 0:
        real = grid(run.real_images(NUM_SHOWN))
        with replacing(run.sample_dir / "real.png") as part:
            to_pil(real).save(part)
        run.tracker.board.image("images/real", real, 0)
        for name in ("config.yaml", "meta.json"):
            text = (run.run_dir / name).read_text()
            run.tracker.board.text(name, textwrap.indent(text, "    "))  # preformatted


def log(run: Run, means: dict[str, float], values: dict[str, Tensor]) -> None:
    """Writes the curves since the last log, and the status line."""
    state, train, window = run.state, run.cfg.train, run.window
    elapsed = window.seconds
    before = state.images_seen - train.batch_size  # when the last step began
    rates = learning_rates(train, before)
    means = means | {
        "throughput/images_per_s": window.count * train.batch_size / elapsed,
        "throughput/data_wait": window.waited_s / elapsed,
        "memory/mib": _memory_mib(state.device),
        "ema/decay": ema_decay(train, before),
        "learning_rate/g": rates[0],
        "learning_rate/d": rates[1],
    }
    run.latest |= means
    if "samples/diversity" in run.latest:
        means["samples/diversity"] = run.latest["samples/diversity"]  # of the newest grids
    run.tracker.scalars(state.step, state.images_seen, means)
    run.tracker.board.scalar("progress/step", state.step, state.images_seen)
    histograms = {tag: value for tag, value in values.items() if value.dim()}
    if _histograms_due(state.step, train):
        for net, module in (("g", state.g), ("d", state.d)):
            for name, parameter in module.named_parameters():
                histograms[f"weights/{net}.{name}"] = parameter
                if parameter.grad is not None:
                    histograms[f"gradients/{net}.{name}"] = parameter.grad
    for tag, value in histograms.items():
        run.tracker.board.histogram(tag, value, state.images_seen)
    run.tracker.console.status(_status(run)[1])


def progress(run: Run) -> None:
    """Updates the status line, at most once a second; called after every step."""
    if run.busy_s - run.pace[-1][1] >= _SHOW_EVERY_S:
        run.pace.append((run.state.images_seen, run.busy_s))
        run.tracker.console.show(*_status(run))


def _status(run: Run) -> tuple[float, list[str]]:
    """Returns the share that is done, and the fields of the status line, important ones first."""
    state, train, latest = run.state, run.cfg.train, run.latest
    seen, began = run.pace[0]
    speed = (state.images_seen - seen) / (run.busy_s - began)
    left = (train.num_steps - state.step) * train.batch_size / speed if speed else 0.0
    limit = train.max_minutes or math.inf
    left = min(left, 60 * max(0.0, limit - run.minutes))
    done = min(1.0, max(state.step / train.num_steps, run.minutes / limit))
    fields = [
        f"{state.step:,}/{train.num_steps:,}",
        f"{speed:,.0f} images/s",
        f"{tqdm.format_interval(left)} left",
    ]
    if "loss/d" in latest:
        fields += [
            f"D(x) {latest['d/real']:.2f}",
            f"D(G(z)) {latest['d/fake']:.2f}",
            f"loss D {latest['loss/d']:.2f} G {latest['loss/g']:.2f}",
        ]
    return done, [*fields, f"{state.images_seen:,} images"]


def show(run: Run, samples: dict[str, np.ndarray]) -> None:
    """Writes a grid of each set of samples (num, C, H, W) by name."""
    for name, images in samples.items():
        sheet = grid(images, COLUMNS)
        with replacing(_grid_path(run, name)) as part:
            to_pil(sheet).save(part)
        run.tracker.board.image(f"images/{name}", sheet, run.state.images_seen)


def is_shown(run: Run) -> bool:
    """Tells whether the grids of the present step exist."""
    return _grid_path(run, "ema").exists()


def finish(run: Run, ending: Ending) -> None:
    """Writes learning.gif, unless a signal ended the run, and the last line."""
    run.tracker.console.show(*_status(run))
    if not ending.is_signal:  # whose sender may not wait
        _save_gif(run)
    what = {Ending.DONE: "done", Ending.TIME_UP: "time is up (train.max_minutes)"}
    run.tracker.console.end(
        f"{what.get(ending, 'stopped and saved')}: step {run.state.step:,}, "
        f"{run.state.images_seen:,} images, {run.minutes:.1f} minutes; grids in {run.sample_dir}"
    )


def _save_gif(run: Run) -> None:
    """Writes learning.gif: at most 60 of the grids, and the last one."""
    names = (path.stem[4:] for path in run.sample_dir.glob("ema_*.png"))
    numbers = (int(name) for name in names if name.isdecimal())  # not a user's own file
    steps = sorted(step for step in numbers if step <= run.state.step)  # not an earlier run's
    some = [*steps[:: -(-len(steps) // _MAX_GIF_FRAMES) or 1], *steps[-1:]]
    frames = []
    for step in some:
        # damaged bytes can make Pillow raise anything; the GIF does without that image
        path = _grid_path(run, "ema", step)
        with suppress(Exception), Image.open(path, formats=["PNG"]) as image:
            frames.append(image.copy())
    if shown := [frame for frame in frames if frame.size == frames[-1].size]:
        save_gif(shown, run.sample_dir / "learning.gif", frame_ms=150, last_ms=2000)


def _histograms_due(step: int, train: TrainConfig) -> bool:
    """Tells whether 1,000, 2,000, 4,000 ... images were passed since the last log."""
    before = (step - 1) // train.log_every_steps * train.log_every_steps
    last, now = (n * train.batch_size // _FIRST_HISTOGRAMS for n in (before, step))
    return now.bit_length() > last.bit_length()


def _grid_path(run: Run, name: str, step: int | None = None) -> Path:
    return run.sample_dir / f"{name}_{run.state.step if step is None else step:08}.png"


def _memory_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    text = status.read_text() if status.exists() else ""
    if "VmHWM:" in text:  # on Linux ru_maxrss starts at the peak of the parent process
        return int(text.split("VmHWM:")[1].split()[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
