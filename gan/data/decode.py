"""Decoding of image files into uint8 arrays (C, H, W): channels, height, width."""

import io
import os
import warnings
import zipfile
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

_HAS_HEIF = find_spec("pillow_heif") is not None
SUFFIXES = frozenset(".png .jpg .jpeg .webp .bmp .gif .tif .tiff .ppm .pgm".split()) | (
    {".heic", ".heif"} if _HAS_HEIF else set()
)
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 256 << 20
_MAX_ZIP_RATIO = 1000


class BadImage(ValueError):
    """An image cannot be used; the message is the reason."""


class ReadFailed(BadImage):
    """An image could not be read this time, for a reason outside of its file."""


Decoded = np.ndarray | BadImage  # uint8 (C, H, W)


def read_file(folder: str, name: str) -> Image.Image:
    """Decodes an image file; `name` is its path inside the folder."""
    path = Path(folder, name)
    if os.path.lexists(path) and not path.is_file():
        raise BadImage("not a file, or a link to a missing one")
    if (size := path.stat().st_size) > MAX_FILE_BYTES:
        raise BadImage(f"{size:,} bytes: over {MAX_FILE_BYTES:,}")
    return decode(path.read_bytes())


def read_zip_member(archive: str, name: str) -> Image.Image:
    """Decodes a member of a zip file without extracting it to disk."""
    try:
        zipped, members = _open_zip(archive)
        member = members[name]
    except Exception as error:
        raise ReadFailed(f"the zip has changed or cannot be opened: {error}") from None
    check_member(member)
    try:
        data = zipped.read(member)
    except (OSError, MemoryError):  # not because of the member
        raise
    except Exception as error:  # each decompressor raises its own types
        raise BadImage(f"damaged in the zip: {error}") from None
    return decode(data)


def check_member(member: zipfile.ZipInfo) -> None:
    """Raises BadImage if a member of a zip file must not be read, not even its first bytes."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadImage("neither stored nor deflated in the zip")  # zipfile would not limit memory
    if member.file_size > min(MAX_FILE_BYTES, _MAX_ZIP_RATIO * max(member.compress_size, 1)):
        raise BadImage(f"would unpack from {member.compress_size:,} to {member.file_size:,} bytes")


def zip_members(zipped: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Returns the members by name, the first of those with equal names."""
    # Windows may write backslashes
    return {m.filename.replace("\\", "/"): m for m in reversed(zipped.infolist())}


def decode(data: bytes) -> Image.Image:
    """Decodes the bytes of an image file into an image of mode L, RGB or RGBA.

    Scales 16-bit grey to 8 bits and applies EXIF rotation.
    """
    if not data:
        raise BadImage("empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # _MAX_PIXELS replaces Pillow's warning
            image = Image.open(io.BytesIO(data), formats=formats())
            if image.width * image.height > _MAX_PIXELS:
                raise BadImage(f"{image.width}x{image.height}: over {_MAX_PIXELS:,} pixels")
            image.load()
            if image.mode == "I" and image.format == "TIFF":
                raise BadImage("32-bit grey, which has no known range; save it with 8 or 16 bits")
            return _plain(ImageOps.exif_transpose(image))
    except (BadImage, MemoryError):
        raise
    except Exception as error:  # damaged bytes can make a decoder raise anything
        np.empty(8 * _MAX_PIXELS, np.uint8)  # MemoryError if it is short: damage, says WebP
        reason = str(error) if "BytesIO" not in str(error) else "not an image, or damaged"
        raise BadImage(" ".join(reason.split())[:200] or type(error).__name__) from None


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise BadImage(f"pixel format {image.mode} has neither 8 nor 16 bits")
        # not convert("L"), which clips everything above 255
        return Image.fromarray(np.rint(values / 257).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """Returns Pillow's names of the formats to decode: with HEIF where pillow_heif is installed."""
    if not _HAS_HEIF:
        return _FORMATS
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return (*_FORMATS, "HEIF")


def on_white(image: Image.Image) -> Image.Image:
    """Puts the transparent pixels of an RGBA image on white; returns other images unchanged."""
    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def fit_image(image: Image.Image, shape: tuple[int, int, int], fit: str) -> np.ndarray:
    """Returns an image as uint8 (C, H, W) of the given shape; `fit` is data.fit.

    With fewer than 4 channels, transparent pixels are put on white.
    """
    channels, height, width = shape
    image = (image if channels == 4 else on_white(image)).convert(_MODES[channels])
    if fit == "pad":
        image = _pad(image, height, width)
    elif fit == "crop":
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    else:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _pad(image: Image.Image, height: int, width: int) -> Image.Image:
    if image.width > width or image.height > height:
        raise BadImage(
            f"{image.width}x{image.height} is larger than {width}x{height}; "
            "shrink it, or train with data.fit crop or squash"
        )
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return canvas


def decode_image(
    name: Any, read: Callable[[Any], Image.Image], *, shape: tuple[int, int, int], fit: str
) -> Decoded:
    """Returns the image that `read` finds under a name, or why it cannot be used."""
    try:
        return fit_image(read(name), shape, fit)
    except BadImage as error:
        return error
    except OSError as error:
        return ReadFailed(error.strerror or str(error))
    except MemoryError:
        return ReadFailed("out of memory")


@lru_cache(maxsize=1)  # each worker reads the directory of the zip once
def _open_zip(path: str) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    zipped = zipfile.ZipFile(path)
    return zipped, zip_members(zipped)
