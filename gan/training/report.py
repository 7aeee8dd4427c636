"""Owns what a run shows while it trains: start, status line, curves, grids, end. Rank 0 only."""

import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gan.config.reader import identity
from gan.config.settings import HardwareConfig
from gan.latents import rng
from gan.machine.precision import choose_precision
from gan.sampling import generate, grid, save_gif, to_pil
from gan.tracking import Tracker, gradient_norm, network_histograms
from gan.training.collapse import diversity
from gan.training.run import Run, Window
from gan.training.run_dir import describe_run
from gan.training.state import environment, make_state, settle
from gan.training.steps import ema_decay, learning_rates

_NUM_SHOWN = 64  # images in the grids of a run
_HISTOGRAM_EVERY_LOGS = 20
_MAX_GIF_FRAMES = 60


def begin(run: Run, notes: list[str]) -> None:
    """Opens the tracker and writes what the run directory explains itself by."""
    state, cfg = run.state, run.cfg
    facts = {**environment(state), "images": len(run.packed), "data": run.packed.checksum}
    describe_run(run.run_dir, cfg, facts)
    run.tracker = Tracker(
        run.run_dir, step=state.step, images_seen=state.images_seen, num_steps=cfg.train.num_steps
    )
    sizes = [f"{sum(p.numel() for p in net.parameters()):,}" for net in (state.g, state.d)]
    shape = "x".join(map(str, cfg.data.image_shape))
    run.tracker.say(
        f"{run.run_dir}: {len(run.packed):,} images {shape} from {cfg.data.source}; "
        f"G {sizes[0]}, D {sizes[1]} parameters; {state.device.type}, {state.precision}"
    )
    for note in notes:
        run.tracker.say(note)
    if state.step == 0:
        _show_start(run, run.tracker)
        settle(state, cfg)
        sample(run)


def log(run: Run, window: Window, means: dict[str, float], values: dict[str, Tensor]) -> None:
    """Writes the curves since the last log and the status line."""
    assert run.tracker
    state, train = run.state, run.cfg.train
    elapsed = time.perf_counter() - window.started
    speed = window.count * train.batch_size / elapsed
    before = state.images_seen - train.batch_size  # the last step
    rates = learning_rates(train, before)
    means = means | {
        "throughput/images_per_s": speed,
        "throughput/data_wait": window.waited_s / elapsed,
        "memory/mib": _memory_mib(state.device),
        "samples/diversity": diversity(_fixed_samples(run, state.g_ema), _some_real(run)),
        "ema/decay": ema_decay(train, before),
        "learning_rate/g": rates[0],
        "learning_rate/d": rates[1],
    }
    run.tracker.scalars(state.step, state.images_seen, means)
    run.latest |= means
    if new := run.watch.look(means, state.images_seen):
        run.collapsed = "; ".join(new)
        run.tracker.warn(run.collapsed, state.images_seen)
    histograms = {tag: value for tag, value in values.items() if value.dim()}
    if (state.step // train.log_every_steps) % _HISTOGRAM_EVERY_LOGS == 0:
        histograms |= network_histograms({"g": state.g, "d": state.d})
    run.tracker.histograms(state.images_seen, histograms)
    left = (train.num_steps - state.step) * train.batch_size / speed
    if train.max_minutes is not None:
        left = min(left, 60 * max(0.0, train.max_minutes - run.minutes))
    run.tracker.status(
        state.step,
        f"step {state.step:,}/{train.num_steps:,}  {state.images_seen / 1000:,.1f}k images  "
        f"D {means['loss/d']:.3f} G {means['loss/g']:.3f}  D(x) {means['d/real']:.2f} "
        f"D(G(z)) {means['d/fake']:.2f} -> {means['d/fake_after']:.2f}  "
        f"{speed:,.0f} images/s  {_clock(left)} left",
    )


def gradient_norms(run: Run) -> dict[str, Tensor]:
    """Returns the gradient norm of each network's last step."""
    nets = {"g": run.state.g, "d": run.state.d}
    return {f"gradient_norm/{name}": gradient_norm(net) for name, net in nets.items()}


def sample(run: Run) -> None:
    """Writes grids of G and of its average, from one fixed noise batch."""
    assert run.tracker
    state = run.state
    for name, generator in (("ema", state.g_ema), ("raw", state.g)):
        sheet = grid(_fixed_samples(run, generator))
        path = run.samples / f"{name}_{state.step:08}.png"
        part = path.with_name(f".{path.name}.part")  # half an image would spoil the GIF
        to_pil(sheet).save(part, "PNG")
        part.replace(path)
        run.tracker.image(f"images/{name}", sheet, state.images_seen)


def finish(run: Run, *, done: bool) -> None:
    """Writes the GIF of one noise batch learning, and the HParams tab."""
    assert run.tracker
    frames = sorted(run.samples.glob("ema_*.png"))
    keep = range(0, len(frames), -(-len(frames) // _MAX_GIF_FRAMES))
    pictures = [_open(frames[i]) for i in keep] + [_open(frames[-1])]
    save_gif(pictures, run.samples / "learning.gif", frame_ms=150, last_ms=2000)
    settings = {
        f"{section}.{key}": value
        for section, values in identity(run.cfg).items()
        for key, value in values.items()
    }
    shown = ("loss/d", "loss/g", "d/real", "d/fake")
    final = {f"final/{t}": v for t, v in run.latest.items() if t in shown or "metric/" in t}
    run.tracker.hyperparameters(settings, final, run.state.images_seen)
    run.tracker.say(
        f"{'done' if done else 'stopping'}: step {run.state.step:,}, "
        f"{run.state.images_seen:,} images, {run.minutes:.1f} minutes; grids in {run.samples}"
    )


def _show_start(run: Run, tracker: Tracker) -> None:
    real = grid(_some_real(run))
    to_pil(real).save(run.samples / "real.png")
    tracker.image("images/real", real, 0)
    for name in ("config.yaml", "meta.json"):
        tracker.text(name, (run.run_dir / name).read_text())
    z, labels = run.latents(_NUM_SHOWN)
    tracker.graph(_GeneratorToDiscriminator(run, None if labels is None else labels[:2]), z[:2])


def _fixed_samples(run: Run, generator: nn.Module) -> np.ndarray:
    return generate(generator, *run.latents(_NUM_SHOWN), run.state.precision)


def _some_real(run: Run) -> np.ndarray:
    num = min(_NUM_SHOWN, len(run.packed))
    picks = rng(run.cfg.train.seed, 0, "real").choice(len(run.packed), num, replace=False)
    return run.packed.images[picks]


class _GeneratorToDiscriminator(nn.Module):
    """Fresh copies of G and D as one module on the CPU, for TensorBoard's graph."""

    def __init__(self, run: Run, labels: Tensor | None) -> None:
        super().__init__()
        cpu, plain = torch.device("cpu"), HardwareConfig(precision="fp32", compile="off")
        fresh = make_state(run.cfg, len(run.packed.classes), cpu, choose_precision(plain, cpu))
        self.generator, self.discriminator = fresh.g.eval(), fresh.d.eval()
        self.labels = labels

    def forward(self, z: Tensor) -> Tensor:
        return self.discriminator(self.generator(z, self.labels), self.labels).logits


def _open(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.copy()


def _memory_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    text = status.read_text() if status.exists() else ""
    if "VmHWM:" in text:  # on Linux ru_maxrss would begin with that of the process that started us
        return int(text.split("VmHWM:")[1].split()[0]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
