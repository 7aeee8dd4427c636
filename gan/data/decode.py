"""Owns the way from one image file to pixels; a worker process imports this and little else.

An image that cannot be used raises BadImage with the reason. Shapes: C channels, H x W pixels.
"""

import io
import warnings
import zipfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = frozenset(".png .jpg .jpeg .webp .bmp .gif .tif .tiff .ppm .pgm".split())
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 256 << 20
MAX_ZIP_RATIO = 1000


class BadImage(ValueError):
    """Says why an image cannot be used."""


def read_file(folder: str, names: Sequence[str], index: int) -> Image.Image:
    """Decodes the image file names[index] under `folder`."""
    path = Path(folder, names[index])
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadImage(f"{path.stat().st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        return decode(path.read_bytes())
    except OSError as error:
        raise BadImage(error.strerror or str(error)) from None


def read_zip_member(archive: str, names: Sequence[str], index: int) -> Image.Image:
    """Decodes the member names[index] of a zip in place; nothing is extracted."""
    zipped = _open_zip(archive)
    member = zipped.getinfo(names[index])
    if member.file_size > min(MAX_FILE_BYTES, MAX_ZIP_RATIO * max(member.compress_size, 1)):
        raise BadImage(f"claims {member.file_size:,} bytes in {member.compress_size:,} packed ones")
    try:
        data = zipped.read(member)
    except Exception as error:  # decompressors raise kinds of their own
        raise BadImage(f"damaged in the zip: {error}") from None
    return decode(data)


def decode(data: bytes) -> Image.Image:
    """Decodes bytes into an upright image of mode L or RGB.

    16-bit grey is scaled to 8 bits, transparency is laid over white, EXIF rotation is applied.
    """
    if not data:
        raise BadImage("empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limits speak instead of Pillow's warnings
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise BadImage(f"{image.width}x{image.height}: over {MAX_PIXELS:,} pixels")
            image.load()
            return _plain(ImageOps.exif_transpose(image))
    except BadImage:
        raise
    except Exception as error:  # decoders raise whatever the damaged bytes lead them to
        reason = str(error) if "BytesIO" not in str(error) else "not an image, or a damaged one"
        raise BadImage(" ".join(reason.split())[:200] or type(error).__name__) from None


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise BadImage(f"pixel format {image.mode} is not 8- or 16-bit")
        # Pillow itself would clip everything above 255 to white
        return Image.fromarray(np.rint(values / 257).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def fit_image(image: Image.Image, shape: tuple[int, int, int], fit: str) -> np.ndarray:
    """Returns the image as uint8 (C, H, W) of the given shape."""
    channels, height, width = shape
    image = image.convert("L" if channels == 1 else "RGB")
    if fit == "pad":
        image = _pad(image, height, width)
    elif image.size != (width, height):
        if fit == "crop":
            image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
        else:
            image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _pad(image: Image.Image, height: int, width: int) -> Image.Image:
    if image.width > width or image.height > height:
        raise BadImage(
            f"{image.width}x{image.height} does not fit into {width}x{height} with data.fit pad; "
            "use crop or squash"
        )
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return canvas


def decode_chunk(
    read: Callable[[int], Image.Image],
    indices: Sequence[int],
    shape: tuple[int, int, int],
    fit: str,
) -> tuple[np.ndarray, dict[int, str]]:
    """Returns the usable images uint8 (n, C, H, W) and, by index, why the others are not."""
    images, bad = [], {}
    for index in indices:
        try:
            images.append(fit_image(read(index), shape, fit))
        except BadImage as error:
            bad[index] = str(error)
    return np.stack(images) if images else np.empty((0, *shape), np.uint8), bad


@lru_cache(maxsize=1)  # one directory read for all images of a worker
def _open_zip(path: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)
