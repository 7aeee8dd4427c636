"""Decoding of images, in this process and in workers."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan.data.decode import BadImage, decode, fit_image, read_zip_member
from gan.data.source import from_folder


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """Returns a PNG that claims a size and has almost no data."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    values = np.array([[0, 257 * 128], [257 * 64, 65535]], dtype=np.uint16)
    image = decode(encode(Image.fromarray(values)))
    assert np.asarray(image).tolist() == [[0, 128], [64, 255]]


def test_32_bit_grey_of_unknown_range_is_refused() -> None:
    values = np.arange(256, dtype=np.int32).reshape(16, 16)
    with pytest.raises(BadImage, match="32-bit grey"):
        decode(encode(Image.fromarray(values), "TIFF"))
    scaled = decode(encode(Image.fromarray((values * 257).astype(np.uint16)), "TIFF"))
    assert np.array_equal(np.asarray(scaled), values)


def test_transparent_pixels_are_put_on_white() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    pixels = fit_image(decode(encode(image)), (3, 1, 2), "pad")
    assert pixels.transpose(1, 2, 0).tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_four_channels_keep_the_opacity() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 128))
    image.putpixel((1, 0), (0, 0, 9, 0))
    pixels = fit_image(decode(encode(image)), (4, 2, 2), "pad")
    assert pixels[:, 0].tolist() == [[255, 0], [0, 0], [0, 9], [128, 0]]
    assert not pixels[:, 1].any()  # the border is transparent
    opaque = fit_image(Image.new("L", (2, 2), 7), (4, 2, 2), "crop")
    assert opaque[:, 0, 0].tolist() == [7, 7, 7, 255]


_FAKE_HEIF = """
import io
from PIL import Image

def register_heif_opener():
    Image.register_open("HEIF", read, lambda start: start[:4] == b"HEIF")

def read(file, name):
    return Image.open(io.BytesIO(file.read()[4:]))
"""


def test_heic_files_are_read_where_the_library_is_installed(tmp_path: Path) -> None:
    """A module stands for pillow_heif, also in the processes that decode."""
    library, images = tmp_path / "library", tmp_path / "images"
    for folder in (library, images):
        folder.mkdir()
    (library / "pillow_heif.py").write_text(_FAKE_HEIF)
    for i in range(3):
        (images / f"{i}.HEIC").write_bytes(b"HEIF" + encode(Image.new("RGB", (20, 20))))
    words = ["-m", "gan", "data", "configs/folder.yaml", "--set", f"data.root={images}"]
    env = {**os.environ, "PYTHONPATH": f"{os.getcwd()}{os.pathsep}{library}"}
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert "packed   3 images 64x64" in done.stdout and "(3 files read)" in done.stdout


def test_heic_files_without_the_library_are_left_out_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.HEIC", "c.heic", "d.txt"):
        (tmp_path / name).write_bytes(encode(Image.new("RGB", (20, 20))))
    monkeypatch.setattr("gan.data.source.SUFFIXES", {".png"})
    assert from_folder(tmp_path).notes == [
        "left out 3 other files (2 .heic, 1 .txt; pillow-heif reads .heic): b.HEIC, c.heic, d.txt"
    ]


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    image = decode(encode(Image.new("RGB", (30, 20)), "JPEG", exif=exif))
    assert image.size == (20, 30)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_grey_or_rgb(mode: str, channels: int) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    grey = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
    image = Image.fromarray(grey).convert("RGB" if mode == "CMYK" else "L").convert(mode)
    pixels = fit_image(decode(encode(image, kind)), (channels, 32, 32), "crop")
    assert pixels.shape == (channels, 32, 32)
    assert pixels[:, :, -8:].mean() > pixels[:, :, :8].mean() + 100  # dark left, bright right


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!doctype html><html>quota exceeded</html>", "not an image"),
        (encode(Image.effect_noise((64, 64), 50), "JPEG")[:900], "truncated"),
        (png_header(10_000, 10_000), "over 64,000,000 pixels"),
        (png_header(30_000, 30_000), "pixels"),
        (encode(Image.effect_noise((64, 64), 50))[:-400] + b"x" * 400, "."),
    ],
)
def test_bad_image_error_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage, match=reason):
        decode(data)


_grey = Image.effect_noise((32, 32), 50)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([_grey, _grey.convert("RGB").quantize(16)]), st.data())
def test_flipped_bit_in_a_png_is_detected_or_harmless(
    image: Image.Image, draw: st.DataObject
) -> None:
    data = bytearray(encode(image))
    data[draw.draw(st.integers(0, len(data) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    try:
        decoded = decode(bytes(data))
    except BadImage:
        return
    assert decoded.convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_pad_keeps_every_pixel_and_rejects_larger_images() -> None:
    digit = np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)
    padded = fit_image(Image.fromarray(digit), (1, 32, 32), "pad")
    assert (padded[0, 2:30, 2:30] == digit).all()
    assert padded.sum() == digit.sum()
    with pytest.raises(BadImage, match="40x20 is larger than 32x32"):
        fit_image(Image.new("L", (40, 20)), (1, 32, 32), "pad")


def test_crop_keeps_the_centre_and_squash_the_whole_image() -> None:
    image = Image.new("L", (300, 100), 0)
    image.paste(255, (100, 0, 200, 100))  # white middle third
    assert fit_image(image, (1, 64, 64), "crop").min() > 200
    squashed = fit_image(image, (1, 64, 64), "squash")[0]
    assert squashed[:, 32].min() == 255 and squashed[:, 5].max() == 0


def test_1x1_image_fills_the_square() -> None:
    assert (fit_image(Image.new("RGB", (1, 1), (9, 8, 7)), (3, 16, 16), "crop")[0] == 9).all()


def test_zip_bomb_is_a_bad_image(tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", b"\0" * (64 << 20))
    with pytest.raises(BadImage, match="to 67,108,864 bytes"):
        read_zip_member(str(path), "bomb.png")


_KINDS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_WHOLE = [encode(Image.effect_noise((16, 16), 50), kind) for kind in _KINDS]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(_WHOLE),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4),
    st.integers(0, 2000),
    st.binary(max_size=40),
)
def test_damaged_image_is_decoded_or_has_a_short_reason(
    whole: bytes, changes: list[tuple[int, int]], length: int, noise: bytes
) -> None:
    data = bytearray(whole)
    for position, value in changes:
        data[position % len(data)] = value
    for candidate in (bytes(data), bytes(data[:length]), bytes(data[:length]) + noise, noise):
        try:
            assert decode(candidate).mode in ("L", "RGB", "RGBA")
        except BadImage as error:
            assert 0 < len(str(error)) <= 200


def test_workers_do_not_import_torch() -> None:
    code = "import gan.data.workers, sys; assert not {'torch', 'pydantic'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
