"""The Python interface: a trained generator as an object.

Shapes: N images, C channels, H x W pixels, Z latent.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from gan.checkpoint import Checkpoint
from gan.machine.precision import choose_device
from gan.nn.generator import Generator
from gan.pretrained import hub
from gan.pretrained.card import save_folder
from gan.pretrained.folder import read_folder
from gan.pretrained.load import read_source
from gan.pretrained.shipped import shipped_names
from gan.pretrained.trained import Trained, build_generator, make_trained


@dataclass(frozen=True)
class Model:
    """A trained generator; `gan.load` returns it.

    Calling it maps latents to images in float32 and can be differentiated; `sample` gives the
    bytes of `gan sample`.
    """

    trained: Trained  # normalisation folded, in the machine's fastest precision
    network: Generator  # float32, on the same device

    @classmethod
    def from_pretrained(cls, source: str | Path, *, device: str | torch.device = "auto") -> "Model":
        """Loads a run, a checkpoint file, a folder, a shipped name, or OWNER/NAME on the hub.

        `device` is auto, cpu, cuda or mps, or a torch.device, whose index is ignored. Raises
        ValueError, naming the source, if there is none, it is damaged or foreign, or a hub name
        needs a network or the extra gan[hub].
        """
        on = choose_device(device.type if isinstance(device, torch.device) else device)
        checkpoint = _read(source)
        trained = make_trained(checkpoint, on)
        network = build_generator(trained.cfg, len(checkpoint.classes), checkpoint.g_ema)
        return cls(trained, network.to(on))

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image_shape))
        return f"Model({self.trained.origin}, images {shape}, {len(self.classes)} classes)"

    @property
    def z_dim(self) -> int:
        """Length Z of a latent."""
        return self.trained.cfg.model.z_dim

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return self.trained.cfg.data.image_shape

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that are an input, in the order of their labels; () if none."""
        return self.trained.classes[: self.network.num_classes]

    def latents(self, num: int, seed: int = 0) -> Tensor:
        """Returns the latents (N, Z) that `sample` uses for a seed, on the CPU."""
        return self.trained.latents(num, seed)

    def sample(
        self, num: int, seed: int = 0, *, label: str | int | None = None, truncation: float = 1.0
    ) -> np.ndarray:
        """Returns uint8 images (N, H, W, C) with 1, 3 or 4 channels: those of `gan sample`.

        `label` is a class by name (str) or number (int), or "all" for equally many of each, which
        rounds `num` up to a multiple of the classes; without it classes are random. `truncation`,
        above 0 and at most 1, multiplies the latents. Raises ValueError for other values.
        """
        if num < 1:
            raise ValueError(f"num must be at least 1; got {num}")
        trained = replace(self.trained, truncation=truncation)
        labels = (
            torch.full((num,), label)  # not by `labels`: names of classes may be other numbers
            if isinstance(label, int) and label in range(len(self.classes))
            else trained.labels(num, seed, None if label is None else str(label))
        )
        num = num if labels is None else len(labels)
        return trained.images(trained.latents(num, seed), labels).transpose(0, 2, 3, 1)

    def __call__(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps latents (N, Z), and labels (N,) with classes, to images (N, C, H, W) in [-1, 1].

        Inputs are moved to the network's device. Raises ValueError for other shapes, and for labels
        that are missing, not wanted, or not below the number of classes.
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ValueError(f"z must have the shape (N, {self.z_dim}); got {tuple(z.shape)}")
        device = next(self.network.parameters()).device
        if labels is None and not self.classes:
            return self.network(z.to(device, torch.float32))
        if labels is None or not self.classes:
            raise ValueError(f"labels are {'needed' if self.classes else 'not an input'}")
        if labels.shape != z.shape[:1] or not ((labels >= 0) & (labels < len(self.classes))).all():
            raise ValueError(f"labels must be {len(z)} numbers from 0 to {len(self.classes) - 1}")
        return self.network(z.to(device, torch.float32), labels.to(device, torch.int64))

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes a folder in hub layout: config.json, model.safetensors, README.md, samples.png.

        Files of these names are replaced. Raises ValueError if the folder is a run, OSError if they
        cannot be written.
        """
        save_folder(self.trained, Path(folder))

    def push_to_hub(self, name: str) -> str:
        """Uploads what `save_pretrained` writes as OWNER/NAME; returns its address.

        Needs the extra gan[hub], a network, and `hf auth login` before.
        """
        library = hub.require(name)
        with TemporaryDirectory() as folder:
            save_folder(self.trained, Path(folder), name=name)
            return hub.upload(library, Path(folder), name)


def _read(source: str | Path) -> Checkpoint:
    name = str(source)
    is_local = os.path.lexists(os.path.expanduser(source)) or name in shipped_names()
    if not is_local and hub.is_hub_name(name):
        return read_folder(hub.download(name))
    return read_source(source)
