"""A closed path through latents and classes: images, and a strip or a film of them."""

import copy
import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from gan.data.decode import on_white
from gan.errors import ConfigError
from gan.files import replacing
from gan.pretrained.samples import enlarge
from gan.pretrained.trained import Trained
from gan.sampling import generate, grid, save_gif, to_pil

ZDist = Literal["normal", "uniform"]

_MIN_SIDE = 256  # pixels of a film, unless it has a scale
_FRAME_MS = 80


def walk(trained: Trained, ends: Tensor, labels: Tensor | None = None, *, steps: int) -> np.ndarray:
    """Returns images (P * steps, C, H, W) along a path through the latents `ends` (P, Z).

    The path returns to its start. `labels` (P,) are the classes at the ends, for a generator that
    has classes; between two ends the class vector is interpolated too.
    """
    path = _closed(ends, steps, trained.cfg.model.z_dist)
    if labels is None:
        return trained.images(path)
    embedding = trained.generator.embedding
    assert embedding is not None, "a generator with labels has class vectors"
    vectors = normalize(embedding.weight.cpu())[labels]  # G uses their directions alone
    generator = copy.deepcopy(trained.generator)
    generator.embedding = nn.Embedding.from_pretrained(  # one class for each image
        _closed(vectors, steps, "normal").to(embedding.weight.device)
    )
    return generate(generator, path, torch.arange(len(path)), trained.precision)


def path_ends(
    trained: Trained,
    *,
    points: int,
    seed: int = 0,
    seeds: str | None = None,
    labels: str | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Returns the latents (P, Z), and the labels (P,) of a conditional run, that a walk visits.

    The latents are the first of each of `seeds`, numbers with commas between them, else `points`
    latents of `seed`. `labels` are classes by name or number; without them all have one class of
    `seed`. The shorter list is repeated.
    """
    if seeds is not None:
        latents = torch.cat([trained.latents(1, each) for each in _numbers(seeds)])
    else:
        latents = trained.latents(points, seed)
    found = [
        trained.labels(1, seed, name) for name in ((None,) if labels is None else labels.split(","))
    ]
    classes = torch.cat([label for label in found if label is not None] or [torch.empty(0)])
    order = torch.arange(max(len(latents), len(classes)))
    ends = latents[order % len(latents)]
    return ends, classes[order % len(classes)] if len(classes) else None


def save_walk(
    trained: Trained,
    out: Path,
    ends: Tensor,
    labels: Tensor | None,
    *,
    steps: int,
    scale: int | None = None,
) -> int:
    """Writes a walk as a strip (.png), one leg per row, or as a film (.gif, .mp4).

    By default the pixels of a film are repeated until its shorter side has 256. Returns the number
    of images. Raises ValueError for .mp4 without ffmpeg.
    """
    if out.suffix == ".mp4":
        require_ffmpeg()
    images = walk(trained, ends, labels, steps=steps)
    is_strip = out.suffix == ".png"
    images = enlarge(images, scale or (1 if is_strip else -(-_MIN_SIDE // min(images.shape[2:]))))
    out.parent.mkdir(parents=True, exist_ok=True)
    if is_strip:
        with replacing(out) as part:
            to_pil(grid(images, columns=steps)).save(part)
    elif out.suffix == ".gif":
        frames = [to_pil(image.transpose(1, 2, 0)) for image in images]
        save_gif(frames, out, frame_ms=_FRAME_MS)
    else:
        save_mp4(images, out)
    return len(images)


def save_mp4(images: np.ndarray, out: Path) -> None:
    """Writes images (N, C, H, W) as a film; raises ValueError if ffmpeg is missing or fails."""
    frames = [on_white(to_pil(image.transpose(1, 2, 0))) for image in images]
    (width, height), mode = frames[0].size, frames[0].mode
    source = ["-f", "rawvideo", "-pix_fmt", "gray" if mode == "L" else "rgb24",
              "-s", f"{width}x{height}", "-r", str(1000 / _FRAME_MS), "-i", "-"]  # fmt: skip
    # players need this pixel format, which needs even sides
    even = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"]
    command = [require_ffmpeg(), "-y", "-loglevel", "error", *source, *even]
    pixels = b"".join(frame.tobytes() for frame in frames)
    with replacing(out) as part:
        done = subprocess.run([*command, str(part.resolve())], input=pixels, capture_output=True)
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip()
            raise ValueError(f"{out}: ffmpeg failed: {reason[-500:]}")


def require_ffmpeg() -> str:
    """Returns the path of ffmpeg; raises ValueError if it is not installed."""
    if not (found := shutil.which("ffmpeg")):
        raise ValueError("an .mp4 needs the program ffmpeg; install it, or choose a .gif")
    return found


def _closed(ends: Tensor, steps: int, dist: ZDist) -> Tensor:
    pairs = zip(ends, ends.roll(-1, 0), strict=True)
    return torch.cat([interpolate(start, end, steps, dist) for start, end in pairs])


def interpolate(start: Tensor, end: Tensor, steps: int, dist: ZDist) -> Tensor:
    """Returns (steps, Z) from `start` (Z,) towards `end`, without `end`.

    Spherical for normal z, which keeps their length typical (White, 2016); linear for uniform z.
    """
    t = torch.arange(steps, dtype=start.dtype)[:, None] / steps
    if dist == "uniform":
        return start + t * (end - start)
    cosine = torch.dot(start, end) / (start.norm() * end.norm())
    angle = torch.acos(cosine.clamp(-1, 1))
    if torch.sin(angle) < 1e-4:  # almost parallel or opposite: 0 / 0 below
        return start + t * (end - start)
    return (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / torch.sin(angle)


def _numbers(text: str) -> list[int]:
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", text):
        raise ConfigError(
            f"--seeds must be numbers with commas between them, as 3,7,12; got {text}"
        )
    return [int(number) for number in text.split(",")]
