"""Finds a generator: a run, a checkpoint file, a folder, or the name of a shipped one."""

from pathlib import Path

import torch

from gan.checkpoint import BadCheckpoint, Checkpoint
from gan.errors import ConfigError
from gan.pretrained.folder import is_folder, read_folder
from gan.sampling import Trained, find_checkpoint, make_trained

SHIPPED = Path(__file__).parent


def shipped_names() -> list[str]:
    """Returns the names of the shipped generators."""
    return sorted(path.name for path in SHIPPED.iterdir() if is_folder(path))


def read_source(source: str | Path) -> Checkpoint:
    """Reads a run's newest checkpoint, a checkpoint file, a folder, or a shipped generator.

    An existing path wins over a name. Raises BadCheckpoint if it cannot be used, ConfigError if
    there is no such thing.
    """
    path = Path(source).expanduser()
    if path.is_dir() and is_folder(path):
        return read_folder(path)
    if path.exists():
        return find_checkpoint(path)
    if str(source) in shipped_names():
        return read_folder(SHIPPED / source)
    raise ConfigError(
        f"no run, checkpoint or folder {str(source)[:200]!r}, and no shipped generator has that "
        f"name; shipped are {', '.join(shipped_names()) or 'none'}"
    )


def load_generator(
    source: str | Path, device: torch.device, *, data_root: str | None = None
) -> Trained:
    """Loads the averaged generator of what `read_source` finds.

    `data_root` is the place of its data set, by default $GAN_DATA, else data.
    """
    return make_trained(read_source(source), device, data_root=data_root)


def require_discriminator(checkpoint: Checkpoint) -> None:
    """Raises BadCheckpoint if a source has a generator alone."""
    if not checkpoint.d:
        raise BadCheckpoint(f"{checkpoint.path}: has no discriminator; use a run or a checkpoint")
