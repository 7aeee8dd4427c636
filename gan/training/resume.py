"""Where a run starts: its newest good checkpoint, another run's networks, or initial weights."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from reprlib import repr as brief

from gan.checkpoint import BadCheckpoint, Checkpoint, newest_checkpoint, read_checkpoint
from gan.config.reader import differences, identity, parse_config
from gan.config.settings import Config
from gan.machine.ranks import Ranks, from_first, largest
from gan.training.run import Run
from gan.training.run_dir import locked
from gan.training.state import environment, load_networks, restore

Reader = Callable[[Path], Checkpoint]  # of what train.init_from names

# the settings that decide the shapes of the weights
_G_SIZES = ("data.image_size:", "data.channels:", "model.z_dim:", "model.g_width:",
            "model.kernel:", "model.conditional:")  # fmt: skip
_D_SIZES = ("model.d_width:", "model.d_extra_layers:")


def check_start(run_dir: Path | None, cfg: Config, read: Reader) -> None:
    """Raises ValueError if the run cannot start: a directory that is in use or holds a run with
    other settings, or a checkpoint of train.init_from that cannot be read."""
    checkpoint = None
    if run_dir and run_dir.exists():
        with locked(run_dir):
            checkpoint, _ = newest_checkpoint(run_dir / "checkpoints")
    if checkpoint:
        _require_same_run(checkpoint, cfg, checkpoint.data)
    else:
        _initial_checkpoint(cfg, read)


def resume(run: Run) -> list[str]:
    """Restores the newest good checkpoint of the run directory; returns notes for the log."""
    checkpoint, errors = newest_checkpoint(run.checkpoint_dir) if run.is_first else (None, [])
    if errors and not checkpoint:
        raise BadCheckpoint(
            "\n".join(map(str, errors))
            + f"\nno good checkpoint in {run.checkpoint_dir}; nothing was deleted; move that "
            "folder away to start again"
        )
    path = from_first(checkpoint.path if checkpoint else None, run.state.ranks)
    if path is None:
        lost = run.is_first and (run.run_dir / "log.txt").exists()
        return ["no checkpoint of the earlier calls; starting at step 0"] if lost else []
    run.has_checkpoint = True
    checkpoint = checkpoint or read_checkpoint(path)
    _require_same_file(checkpoint, run.state.ranks)
    _require_same_run(checkpoint, run.cfg, run.packed.checksum)
    try:
        restore(run.state, checkpoint)
    except BadCheckpoint as error:
        raise BadCheckpoint(
            f"{path}: {error}; move that file away to resume from an older one"
        ) from None
    notes = [f"{error}; using an older checkpoint" for error in errors]
    now = environment(run.state)
    differ = [
        f"{_short(key)}: checkpoint has {_short(value)}, this machine has {now.get(key)}"
        for key, value in checkpoint.environment.items()
        if not (isinstance(value, str | int) and value == now.get(key))  # not a tensor
    ]
    if differ:
        notes.append(f"not bit-identical to an unbroken run: {'; '.join(differ)}")
    return [*notes, f"resuming from {path.name}"]


def _short(value: object) -> str:
    return ascii(value[:100])[1:-1] if isinstance(value, str) else brief(value)


def _require_same_file(checkpoint: Checkpoint, ranks: Ranks) -> None:
    """Raises BadCheckpoint on all ranks if they have read different files, as from local disks."""
    if largest(from_first(checkpoint.sha256, ranks) != checkpoint.sha256, ranks):
        raise BadCheckpoint(f"{checkpoint.path}: the ranks have read different files of this name")


def _require_same_run(checkpoint: Checkpoint, cfg: Config, data: str) -> None:
    path = checkpoint.path
    old = identity(parse_config(checkpoint.config, origin=str(path)))
    differ = differences(old, identity(cfg), "checkpoint", "config")
    if checkpoint.data != data:
        differ.append(f"data.source {cfg.data.source}: the images have changed")
    if differ:
        raise ValueError(
            f"{path.parent.parent} holds another run; choose a new --run-dir (and train.init_from: "
            f"{path} to start from its networks), or undo these changes:\n  " + "\n  ".join(differ)
        )


def initialise(run: Run, read: Reader) -> list[str]:
    """Loads the networks of train.init_from, unless the run was resumed; returns notes for the log.

    D keeps its initial weights if the generator comes alone.
    """
    checkpoint = None if run.has_checkpoint else _initial_checkpoint(run.cfg, read)
    if checkpoint is None:
        return []
    _require_same_file(checkpoint, run.state.ranks)
    try:
        d = checkpoint.d or run.state.d.state_dict()
        load_networks(run.state, replace(checkpoint, d=d))
    except BadCheckpoint as error:
        raise ValueError(f"train.init_from: {checkpoint.path}: {error}") from None
    what = "networks" if checkpoint.d else "generator"
    return [f"{what} from {checkpoint.path}, step {checkpoint.step:,}"]


def _initial_checkpoint(cfg: Config, read: Reader) -> Checkpoint | None:
    if cfg.train.init_from is None:
        return None
    try:
        checkpoint = read(Path(os.path.expanduser(cfg.train.init_from)))
        old = identity(parse_config(checkpoint.config, origin=str(checkpoint.path)))
        differ = differences(old, identity(cfg), "checkpoint", "config")
        sizes = _G_SIZES + _D_SIZES if checkpoint.d else _G_SIZES
        if wrong := [line for line in differ if line.startswith(sizes)]:
            raise ValueError(f"{checkpoint.path}: other networks\n  " + "\n  ".join(wrong))
        return checkpoint
    except ValueError as error:
        raise ValueError(f"train.init_from: {error}") from None
