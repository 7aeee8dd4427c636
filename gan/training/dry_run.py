"""What a run needs: classes, parameters, memory and time, found without writing anything."""

import os
import time

import torch

from gan.config.settings import Config
from gan.config.sizes import num_levels
from gan.data.datasets import Source, open_source
from gan.data.pack import peek
from gan.errors import ConfigError
from gan.machine.precision import choose_device, choose_precision
from gan.machine.replay import PLAIN_CALLS
from gan.nn.discriminator import Discriminator
from gan.nn.generator import Generator, hidden_channels
from gan.training.state import TrainState, make_state, num_parameters
from gan.training.steps import one_step

_TIMED_S = 1.0


def memory_bytes(cfg: Config, num_classes: int, world_size: int = 1) -> int:
    """Estimates the memory of one process: weights, gradients, moments, average, activations."""
    with torch.device("meta"):
        g = Generator(cfg.model, cfg.data.image_shape, num_classes)
        d = Discriminator(cfg.model, cfg.data.image_shape, num_classes)
    num_g, num_d = num_parameters(g), num_parameters(d)
    per_image = _activations(cfg.model.g_width, cfg) + 2 * _activations(cfg.model.d_width, cfg)
    batch = cfg.train.batch_size / world_size  # D holds its activations of real and fake images
    return int(4 * (5 * num_g + 4 * num_d + batch * per_image))


def require_memory(cfg: Config, num_classes: int, device: torch.device, world_size: int = 1) -> int:
    """Returns `memory_bytes`. Raises ConfigError if this machine has less memory."""
    needed = memory_bytes(cfg, num_classes, world_size)
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
    else:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > total:
        raise ConfigError(
            f"this run needs about {needed / 1e9:,.1f} GB of memory and the {device.type} has "
            f"{total / 1e9:,.1f} GB; lower train.batch_size, data.image_size, model.g_width or "
            "model.d_width"
        )
    return needed


def require_classes(cfg: Config, num_classes: int) -> None:
    """Raises ConfigError if the class is an input and the data has no classes."""
    if cfg.model.conditional and not num_classes:
        raise ConfigError(
            f"model.conditional is true and data.source {cfg.data.source} has no classes; put the "
            "images of each class into a subfolder, or set model.conditional to false"
        )


def _activations(width: int, cfg: Config) -> int:
    """Returns the values that a network keeps of one image: three for each of its features."""
    channels, height, width_px = cfg.data.image_shape
    features = hidden_channels(width, num_levels(height, width_px))
    hidden = sum(c * height * width_px >> 2 * level for level, c in enumerate(features, 1))
    return 3 * hidden + 2 * channels * height * width_px


def dry_run(cfg: Config, device_name: str = "auto") -> str:
    """Reports sizes, and times a few steps on images read directly from the source."""
    device = choose_device(device_name)
    precision = choose_precision(cfg.hardware, device)
    torch.set_num_threads(precision.threads)
    source = open_source(cfg.data)
    require_classes(cfg, len(source.classes))
    needed = require_memory(cfg, len(source.classes), device)
    state = make_state(cfg, len(source.classes), device, precision)
    num_g, num_d = num_parameters(state.g), num_parameters(state.d)
    train, shape = cfg.train, cfg.data.image_shape
    seconds = _seconds_per_step(state, cfg, source)
    minutes, limit = seconds * train.num_steps / 60, train.max_minutes
    ends = "" if limit is None or minutes <= limit else f"; train.max_minutes ends it at {limit:g}"
    hours, minutes = divmod(round(minutes), 60)
    epochs = train.num_steps * train.batch_size / len(source)
    checkpoint_mb = 4 * (4 * num_g + 3 * num_d) / 1e6
    packed_mb = len(source) * shape[0] * shape[1] * shape[2] / 1e6
    return "\n".join(
        [
            f"images        {len(source):,} in {source.place}",
            *(f"              {note}" for note in source.notes),
            f"image shape   {' x '.join(map(str, shape))}; packed {packed_mb:,.0f} MB",
            f"classes       {len(source.classes) or 'none'}",
            f"generator     {num_g:,} parameters",
            f"discriminator {num_d:,} parameters",
            f"computes on   {device.type}, {precision}",
            f"memory        about {needed / 1e6:,.0f} MB besides the libraries' own",
            f"checkpoint    {checkpoint_mb:,.0f} MB, keeps {train.keep_checkpoints}",
            f"speed         {train.batch_size / seconds:,.0f} images/s",
            f"time          {hours} h {minutes:02} min for {train.num_steps:,} steps "
            f"({epochs:,.1f} epochs){ends}",
            "nothing was written",
        ]
    )


def _seconds_per_step(state: TrainState, cfg: Config, source: Source) -> float:
    few = torch.from_numpy(peek(source, cfg.data, 16).copy())
    images = few[torch.arange(cfg.train.batch_size) % len(few)]
    labels = None
    if source.labels is not None:
        labels = torch.from_numpy(source.labels[:1]).expand(len(images))

    def timed(num_steps: int) -> float:
        started = time.perf_counter()
        for _ in range(num_steps):
            values = one_step(state, cfg, images, labels)
        float(values["loss/g"])  # synchronises with the device
        return time.perf_counter() - started

    timed(PLAIN_CALLS + 1 if state.replay else 1)  # slow, on a GPU until a graph is recorded
    num_steps = 2
    while (seconds := timed(num_steps)) < _TIMED_S:
        num_steps *= 2
    return seconds / num_steps
