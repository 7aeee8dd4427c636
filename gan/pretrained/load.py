"""Finds a generator: a run, a checkpoint file, a folder, or the name of a shipped one."""

import difflib
import os
from dataclasses import replace
from pathlib import Path

import torch

from gan.checkpoint import Checkpoint
from gan.config.reader import load_config
from gan.errors import ConfigError
from gan.pretrained.folder import read_folder
from gan.pretrained.shipped import SHIPPED, is_folder, shipped_names
from gan.sampling import Trained, find_checkpoint, make_trained


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
        return find_checkpoint(path)
    if str(source) in names:
        return read_folder(SHIPPED / source)
    near = difflib.get_close_matches(str(source)[:200], names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"no run, checkpoint or folder {str(source)[:200]!r}, and no shipped generator has that "
        f"name; shipped are {', '.join(names)}{hint}"
    )


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
    checkpoint = read_source(source)
    trained = make_trained(checkpoint, device, data_root=data_root or _own_images(source))
    return replace(trained, truncation=truncation)


def _own_images(source: str | Path) -> str | None:
    """Returns the folder or zip of a run directory whose images are a user's own."""
    try:
        data = load_config(Path(os.path.expanduser(source), "config.yaml")).data
    except ValueError:  # no run directory
        return None
    return data.root if data.source == "folder" else None
