"""Generators to use without training: shipped ones, and folders in the layout of model hubs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch takes seconds to import, and `gan models` does not need it
    import torch

    from gan.sampling import Trained


def load_generator(source: str | Path, device: "torch.device", **options: Any) -> "Trained":
    """Loads the averaged generator of a run, a checkpoint file, a folder or a shipped name.

    `options` are those of `gan.pretrained.load.load_generator`.
    """
    from gan.pretrained import load

    return load.load_generator(source, device, **options)
