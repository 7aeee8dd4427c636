"""Finds a generator: a run, a checkpoint file, a folder, or the name of a shipped one."""

import difflib
import os
from dataclasses import replace
from pathlib import Path

import torch

from gan.checkpoint import BadCheckpoint, Checkpoint, newest_checkpoint, read_checkpoint
from gan.config.reader import load_config
from gan.errors import ConfigError, say
from gan.pretrained.folder import read_folder
from gan.pretrained.shipped import SHIPPED, is_folder, shipped_names
from gan.pretrained.trained import Trained, make_trained


def read_source(source: str | Path) -> Checkpoint:
    """Reads a run's newest checkpoint, a checkpoint file, a folder, or a shipped generator.

    An existing path wins over a name. Raises BadCheckpoint if it cannot be used, ConfigError if
    there is no such thing.
    """
    path = Path(os.path.expanduser(source))  # leaves the ~ of an unknown user
    names = shipped_names()
    if path.is_dir() and is_folder(path):
        return read_folder(path)
    if path.exists():
        return _find_checkpoint(path)
    if str(source) in names:
        return read_folder(SHIPPED / source)
    near = difflib.get_close_matches(str(source)[:200], names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"no run, checkpoint or folder {str(source)[:200]!r}, and no shipped generator has that "
        f"name; shipped are {', '.join(names)}{hint}"
    )


def _find_checkpoint(run_or_checkpoint: Path) -> Checkpoint:
    """Reads a checkpoint file, or a run's newest good checkpoint."""
    if not run_or_checkpoint.is_dir():
        return read_checkpoint(run_or_checkpoint)
    found, errors = newest_checkpoint(run_or_checkpoint / "checkpoints")
    if not found:
        reasons = "".join(f"\n  {error}" for error in errors)
        raise BadCheckpoint(f"{run_or_checkpoint}: no good checkpoint in it{reasons}")
    for error in errors:
        say(f"warning: {error}; using an older checkpoint")
    return found


def load_generator(
    source: str | Path,
    device: torch.device,
    *,
    data_root: str | None = None,
    truncation: float = 1.0,
) -> Trained:
    """Loads the averaged generator of what `read_source` finds.

    `data_root` is the place of its data set, by default that of a run of own images, else
    $GAN_DATA, else data; `truncation` is the factor of all latents.
    """
    trained = make_trained(read_source(source), device)
    cfg = trained.cfg
    if root := data_root or _own_images(source):
        cfg = cfg.model_copy(update={"data": cfg.data.model_copy(update={"root": root})})
    return replace(trained, cfg=cfg, truncation=truncation)


def _own_images(source: str | Path) -> str | None:
    """Returns the folder or zip of a run directory whose images are a user's own."""
    try:
        data = load_config(Path(os.path.expanduser(source), "config.yaml")).data
    except ValueError:  # no run directory
        return None
    return data.root if data.source == "folder" else None
