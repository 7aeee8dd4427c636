"""How images of a test are read in worker processes, which import this module only."""

import errno
import os
import signal
from pathlib import Path

from PIL import Image


def read_unless(folder: str, what: str, name: int) -> Image.Image:
    """Makes an image; image 5 fails, or ends its process, while a file of that name exists."""
    with open(Path(folder, "pids"), "a") as file:
        file.write(f"{os.getpid()}\n")
    if name == 5 and Path(folder, what).exists():
        if what == "memory":
            raise MemoryError
        if what == "read":
            raise OSError(errno.EIO, "Input/output error")
        os.kill(os.getpid(), getattr(signal, what))
    return Image.new("RGB", (16, 16), (name, 0, 0))
