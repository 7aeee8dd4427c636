"""A deep convolutional GAN that trains, resumes, can be evaluated and can be understood.

g = gan.load("celeba64")
images = g.sample(16, seed=0)
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan.pretrained.model import Model as Model

__version__ = "0.1.0"


def load(source: str | Path, *, device: str = "auto") -> "Model":
    """Loads a trained generator: a run, a checkpoint, a folder, a shipped name or a hub name.

    See `gan.Model.from_pretrained`. Importing torch waits until the first call.
    """
    from gan.pretrained.model import Model

    return Model.from_pretrained(source, device=device)


def __getattr__(name: str) -> Any:
    if name != "Model":
        raise AttributeError(f"module 'gan' has no attribute {name!r}")
    from gan.pretrained.model import Model

    return Model
