"""Owns `gan train --dry-run`: what a run would take, found out without writing anything."""

import time

import torch

from gan.config.settings import Config
from gan.data.datasets import Source, open_source
from gan.data.pack import peek
from gan.machine.precision import choose_device, choose_precision
from gan.machine.replay import PLAIN_CALLS
from gan.training.needs import require_classes, require_memory
from gan.training.state import TrainState, make_state
from gan.training.steps import one_step

_TIMED_STEPS = 3


def dry_run(cfg: Config, device_name: str = "auto") -> str:
    """Resolves everything, times a few steps on images straight from the source, and reports."""
    device = choose_device(device_name)
    precision = choose_precision(cfg.hardware, device)
    torch.set_num_threads(precision.threads)
    source = open_source(cfg.data)
    require_classes(cfg, len(source.classes))
    need = require_memory(cfg, len(source.classes), device)
    state = make_state(cfg, len(source.classes), device, precision)
    seconds = _seconds_per_step(state, cfg, source)
    shape = cfg.data.image_shape
    packed_mb = len(source) * shape[0] * shape[1] * shape[2] / 1e6
    minutes = seconds * cfg.train.num_steps / 60
    limit = cfg.train.max_minutes
    ends = "" if limit is None or minutes <= limit else f"; train.max_minutes ends it at {limit:g}"
    hours, minutes = divmod(round(minutes), 60)
    speed = cfg.train.batch_size / seconds
    epochs = cfg.train.num_steps * cfg.train.batch_size / len(source)
    return "\n".join(
        [
            f"images        {len(source):,} in {source.place}",
            *(f"              {note}" for note in source.notes),
            f"image shape   {' x '.join(map(str, shape))}; packed {packed_mb:,.0f} MB",
            f"classes       {len(source.classes) or 'none'}",
            f"generator     {need.g_parameters:,} parameters",
            f"discriminator {need.d_parameters:,} parameters",
            f"computes on   {device.type}, {precision}",
            f"memory        about {need.memory_bytes / 1e6:,.0f} MB besides the libraries' own",
            f"checkpoint    {need.checkpoint_bytes / 1e6:,.0f} MB, "
            f"{cfg.train.keep_checkpoints} are kept",
            f"speed         {speed:,.0f} images/s, measured over {_TIMED_STEPS} steps",
            f"time          {hours} h {minutes:02} min for {cfg.train.num_steps:,} steps "
            f"({epochs:,.1f} epochs){ends}",
            "nothing was written",
        ]
    )


def _seconds_per_step(state: TrainState, cfg: Config, source: Source) -> float:
    few = torch.from_numpy(peek(source, cfg.data, 16).copy())
    images = few[torch.arange(cfg.train.batch_size) % len(few)]
    labels = None
    if cfg.model.conditional and source.labels is not None:
        labels = torch.from_numpy(source.labels[:1]).expand(len(images))
    # until a GPU has recorded them, steps are slow, as the first one always is: not counted
    for _ in range(PLAIN_CALLS + 1 if state.replay else 1):
        values = one_step(state, cfg, images, labels)
    float(values["loss/g"])
    started = time.perf_counter()
    for _ in range(_TIMED_STEPS):
        values = one_step(state, cfg, images, labels)
    float(values["loss/g"])  # waits for the device
    return (time.perf_counter() - started) / _TIMED_STEPS
