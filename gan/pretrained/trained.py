"""A checkpoint's averaged generator, ready to sample."""

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gan.checkpoint import BadCheckpoint, Checkpoint, check_tensors
from gan.config.reader import parse_config
from gan.config.settings import Config, HardwareConfig
from gan.errors import ConfigError, NonFinite, printable
from gan.latents import draw_labels, draw_latents
from gan.machine.precision import Precision, choose_precision
from gan.machine.replay import Replay
from gan.nn.generator import BalancedTransposedConv2d, Generator
from gan.sampling import generate


@dataclass(frozen=True)
class Trained:
    """The averaged generator of a checkpoint, ready to sample."""

    generator: Generator
    precision: Precision
    cfg: Config
    checkpoint: Checkpoint
    replay: Replay | None = None  # on a GPU
    truncation: float = 1.0  # the factor of all latents

    def __post_init__(self) -> None:
        if not 0 < self.truncation <= 1:
            raise ConfigError(f"truncation must be above 0 and at most 1; got {self.truncation}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the data's classes, which are inputs only if the run was conditional."""
        return tuple(self.checkpoint.classes)

    @property
    def origin(self) -> str:
        """Names the checkpoint in messages."""
        return f"{self.checkpoint.path}, step {self.checkpoint.step:,}"

    def latents(self, num: int, seed: int) -> Tensor:
        """Returns the latents (N, Z) of a seed."""
        return draw_latents(num, self.cfg.model, seed=seed) * self.truncation

    def labels(self, num: int, seed: int, only: str | None = None) -> Tensor | None:
        """Returns the labels (N,) of a seed, or N times one class, given by name or number; with
        "all", equally many of each class in turn, at least N together."""
        if only is None:
            return draw_labels(num, self.generator.num_classes, seed=seed)
        names = self.classes[: self.generator.num_classes]
        if only == "all" and names:
            return torch.arange(len(names)).repeat_interleave(-(-num // len(names)))
        if only not in names and not (only.isdecimal() and int(only) < len(names)):
            shown = ", ".join([*map(printable, names[:20]), *["..."] * (len(names) > 20)])
            choices = f"the classes 0 to {len(names) - 1}: {shown}" if names else "no classes"
            near = get_close_matches(only.lower(), names, n=1)
            hint = f"; did you mean {printable(near[0])}?" if near else ""
            raise ConfigError(f"--label {only}: {self.origin} has {choices}{hint}")
        return torch.full((num,), names.index(only) if only in names else int(only))

    def images(self, z: Tensor, labels: Tensor | None = None) -> np.ndarray:
        """Maps latents (N, Z) and labels (N,) to uint8 images (N, C, H, W)."""
        try:
            return generate(self.generator, z, labels, self.precision, self.replay)
        except NonFinite as error:
            raise BadCheckpoint(f"{self.checkpoint.path}: {error}") from None


def make_trained(checkpoint: Checkpoint, device: torch.device) -> Trained:
    """Makes the averaged generator of a checkpoint ready to sample.

    Its settings are those of the checkpoint, but the data set is in its default place.
    """
    try:
        cfg = parse_config(checkpoint.config, origin=str(checkpoint.path))
        if not all(isinstance(name, str) for name in checkpoint.classes):
            raise BadCheckpoint("classes must be names")
        generator = build_generator(cfg, len(checkpoint.classes), checkpoint.g_ema)
    except ConfigError as error:
        raise BadCheckpoint(str(error)) from None  # it names the file
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{checkpoint.path}: {error}") from None
    precision = choose_precision(HardwareConfig(), device)
    fold_norms(generator, precision.dtype)
    generator.to(device, memory_format=precision.layout)  # type: ignore[call-overload]
    replay = Replay() if device.type == "cuda" else None
    return Trained(generator, precision, cfg, checkpoint, replay)


def build_generator(cfg: Config, num_classes: int, weights: dict[str, Tensor]) -> Generator:
    """Builds a generator with the given weights, in eval mode.

    Raises BadCheckpoint, before memory is allocated, if they do not fit the config.
    """
    with torch.device("meta"):
        generator = Generator(cfg.model, cfg.data.image_shape, num_classes)
    check_tensors(generator.state_dict(), weights, "g_ema")
    generator.load_state_dict(weights, assign=True)
    return generator.eval().requires_grad_(False)


def fold_norms(generator: Generator, dtype: torch.dtype) -> None:
    """Folds each batch normalisation into the layer before it; its scale and shift are fixed."""
    layers: list[nn.Module] = []
    for layer in generator.layers:
        if isinstance(layer, BalancedTransposedConv2d):
            layer = layer.plain()
        if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.ConvTranspose2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer, transpose=True).to(dtype)
        else:
            layers.append(layer)
    generator.layers = nn.Sequential(*layers)
