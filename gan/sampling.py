"""From a checkpoint to images: grids, single files, arrays.

Shapes: N images, C channels, H x W pixels; images as uint8 (N, C, H, W).
"""

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gan.checkpoint import BadCheckpoint, Checkpoint, check_tensors
from gan.config.reader import parse_config
from gan.config.settings import Config, HardwareConfig
from gan.data.decode import on_white
from gan.errors import ConfigError, NonFinite
from gan.files import naming, replacing
from gan.latents import draw_labels, draw_latents
from gan.machine.precision import Precision, autocast, choose_precision, send
from gan.machine.replay import Replay
from gan.nn.generator import Generator

_BATCH, _GPU_BATCH = 64, 512  # images per forward pass
_GAP = 2  # pixels between the images of a grid


@dataclass(frozen=True)
class Trained:
    """The averaged generator of a checkpoint, ready to sample."""

    generator: Generator
    precision: Precision
    cfg: Config
    checkpoint: Checkpoint
    replay: Replay | None = None  # on a GPU
    truncation: float = 1.0  # the factor of all latents

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
            choices = f"the classes {', '.join(names[:20])}" if names else "no classes"
            raise ConfigError(f"--label {only}: {self.origin} has {choices}")
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
        if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.ConvTranspose2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer, transpose=True).to(dtype)
        else:
            layers.append(layer)
    generator.layers = nn.Sequential(*layers)


@torch.no_grad()
def generate(
    generator: Generator,
    z: Tensor,
    labels: Tensor | None,
    precision: Precision,
    replay: Replay | None = None,
) -> np.ndarray:
    """Maps latents (N, Z) to uint8 images (N, C, H, W), in eval mode; restores the mode.

    Raises NonFinite if a pixel is not finite.
    """
    device = next(generator.parameters()).device
    size = _GPU_BATCH if device.type == "cuda" else _BATCH

    def draw(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        with autocast(precision, device):
            images = generator(**inputs)
            return {"images": to_uint8(images), "finite": images.isfinite().all()}

    images = []
    was_training = generator.training
    generator.eval()
    try:
        for start in range(0, len(z), size):
            given = {"z": z} if labels is None else {"z": z, "labels": labels}
            inputs = {k: send(v[start : start + size], device) for k, v in given.items()}
            drawn = replay(draw, inputs) if replay else draw(inputs)
            images.append(drawn["images"].cpu().numpy())
            if not drawn["finite"]:
                raise NonFinite("the generator's images are not finite")
    finally:
        generator.train(was_training)
    return np.concatenate(images)


def to_uint8(images: Tensor) -> Tensor:
    """Maps [-1, 1] to 0..255."""
    return images.float().add(1).mul(127.5).round().clamp(0, 255).byte()


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Arranges uint8 images (N, C, H, W) in rows as one (H', W', C); by default a square."""
    num, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(num))
    rows = math.ceil(num / columns)
    shape = rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, channels
    sheet = np.zeros(shape, np.uint8)
    for i, image in enumerate(images):
        top = _GAP + (i // columns) * (height + _GAP)
        left = _GAP + (i % columns) * (width + _GAP)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return sheet


def to_pil(pixels: np.ndarray) -> Image.Image:
    """Converts uint8 pixels (H, W, C) with 1, 3 or 4 channels to a Pillow image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def enlarge(images: np.ndarray, scale: int) -> np.ndarray:
    """Repeats each pixel of images (N, C, H, W) `scale` times in both directions."""
    return images.repeat(scale, axis=2).repeat(scale, axis=3)


def save_samples(
    trained: Trained,
    out: Path,
    num: int,
    seed: int,
    label: str | None,
    *,
    columns: int | None = None,
    scale: int = 1,
) -> int:
    """Writes samples as a grid (.png, .jpg), an array (.npz: images (N, H, W, C), labels) or a
    folder; returns their number, which is above `num` if label "all" rounds it up."""
    if out.suffix == ".jpg" and trained.cfg.data.channels == 4:
        raise ConfigError(f"{out}: a .jpg has no opacity, which these images have; write a .png")
    labels = trained.labels(num, seed, label)
    num = num if labels is None else len(labels)
    images = enlarge(trained.images(trained.latents(num, seed), labels), scale)
    if label == "all" and labels is not None:
        columns = columns or int((labels == labels[0]).sum())
    origin = PngInfo()
    origin.add_text("seed", str(seed))
    origin.add_text("checkpoint_sha256", trained.checkpoint.sha256)
    origin.add_text("step", str(trained.checkpoint.step))
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix in (".png", ".jpg"):
        with replacing(out) as part:
            to_pil(grid(images, columns)).save(part, pnginfo=origin, quality=95)
    elif out.suffix == ".npz":
        arrays: dict[str, Any] = {"images": images.transpose(0, 2, 3, 1)}
        if labels is not None:
            arrays["labels"] = labels.numpy()
        with replacing(out) as part:
            np.savez_compressed(part, **arrays)
    else:
        names = [] if labels is None else [trained.classes[label] for label in labels]
        with naming(out):
            _save_folder(images, names, out, origin)
    return num


def _save_folder(images: np.ndarray, classes: list[str], out: Path, origin: PngInfo) -> None:
    """Writes 000000.png or, with classes, 000000_CLASS.png and labels.csv; removes older ones."""
    out.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix=".part", dir=out) as part:
        for i, image in enumerate(images):
            name = re.sub(r"\W+", "-", f"_{classes[i]:.40}") if classes else ""
            to_pil(image.transpose(1, 2, 0)).save(Path(part, f"{i:06}{name}.png"), pnginfo=origin)
        if classes:
            with Path(part, "labels.csv").open("w", newline="", errors="replace") as file:
                csv.writer(file).writerows([("index", "class"), *enumerate(classes)])
        for old in out.iterdir():
            if re.fullmatch(r"\d{6}(_[\w-]*)?\.png|labels\.csv", old.name):
                old.unlink()  # or images of an earlier call would mix with these
        for new in Path(part).iterdir():
            new.rename(out / new.name)


def save_gif(frames: Sequence[Image.Image], path: Path, frame_ms: int, last_ms: int = 0) -> None:
    """Writes a looping GIF, on white; `last_ms` is the duration of the last frame."""
    frames = [on_white(frame) for frame in frames]
    durations = [frame_ms] * (len(frames) - 1) + [last_ms or frame_ms]
    with replacing(path) as part:
        frames[0].save(part, save_all=True, append_images=frames[1:], duration=durations, loop=0)
