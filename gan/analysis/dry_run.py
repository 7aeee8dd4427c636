"""What a run would need: classes, parameters, memory and time; nothing is written."""

import time

import torch

from gan.analysis.packs import peek
from gan.config.settings import Config
from gan.data.datasets import open_source
from gan.data.source import Source
from gan.machine.precision import choose_device, choose_precision
from gan.machine.replay import PLAIN_CALLS
from gan.training.needs import require_classes, require_memory
from gan.training.state import TrainState, make_state, num_parameters
from gan.training.steps import one_step

_TIMED_S = 1.0


def dry_run(cfg: Config, device_name: str = "auto", source: Source | None = None) -> str:
    """Reports sizes, and times a few steps on images read directly from the source.

    `source` is that of cfg.data, if it has been opened.
    """
    device = choose_device(device_name)
    precision = choose_precision(cfg.hardware, device)
    torch.set_num_threads(precision.threads)
    source = source or open_source(cfg.data)
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
