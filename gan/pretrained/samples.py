"""Samples of a generator as files: a grid, an array, a folder of images."""

import csv
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL.PngImagePlugin import PngInfo

from gan.errors import ConfigError
from gan.files import naming, replacing
from gan.pretrained.trained import Trained
from gan.sampling import grid, to_pil

_MAX_JPEG = 65_500  # pixels a side, by libjpeg


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
        _save_grid(grid(images, columns), out, origin)
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


def enlarge(images: np.ndarray, scale: int) -> np.ndarray:
    """Repeats each pixel of images (N, C, H, W) `scale` times in both directions."""
    return images.repeat(scale, axis=2).repeat(scale, axis=3)


def _save_grid(sheet: np.ndarray, out: Path, origin: PngInfo) -> None:
    if out.suffix == ".jpg" and max(sheet.shape) > _MAX_JPEG:
        raise ConfigError(f"{out}: a .jpg has at most {_MAX_JPEG:,} pixels a side; write a .png")
    with replacing(out) as part:
        to_pil(sheet).save(part, pnginfo=origin, quality=95)


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
