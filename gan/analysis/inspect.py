"""What a data set holds, on one screen before training: sizes, classes, warnings, what is left out.

This module starts without torch, so that `gan data` is fast.
"""

import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
from PIL import Image

from gan.analysis.packs import clear, compare
from gan.config.settings import Config, DataConfig
from gan.data.datasets import NothingHeldOut, Split, open_source
from gan.data.decode import MAX_FILE_BYTES, check_member, formats, zip_members
from gan.data.pack import PackedImages, is_first_process, pack
from gan.data.source import Source
from gan.files import read_json, replacing

_MAX_HEADERS = 500
_MAX_CLASSES = 10
_MAX_BAD = 3
_MIN_BATCHES = 5
_MIN_SHARE = 0.5  # of data.image_size that an image should have
_MAX_EPOCHS = 1000
_SHEET = 64  # images
_TITLES = {"train": "training", "test": "held out"}
_GREY_MODES = {"1", "L", "LA", "I", "I;16"}


class Header(NamedTuple):
    """What the first bytes of an image file say."""

    width: int
    height: int
    mode: str  # Pillow's


def inspect(cfg: Config, *, verify: bool = False, sheet: Path | None = None) -> Iterator[str]:
    """Packs the images of a config and yields what a user should know about them.

    With `verify` compares existing packs with the images; `sheet` is the file of a contact sheet.
    """
    for split, source in _splits(cfg.data, download=True):
        if isinstance(source, NothingHeldOut):
            yield f"held out: none; {source}"
            continue
        packed = pack(source, cfg.data)
        if verify:
            compare(source, cfg.data, packed)
        yield f"{_TITLES[split]}\n{report(cfg.data, source, packed)}"
        if split == "train":
            found = warnings(cfg, source, packed)
            if sheet:
                yield f"sheet    {save_sheet(cfg, packed, sheet)} images in {sheet}"
    yield from (f"warning: {warning}" for warning in found)


def clear_packs(cfg: Config) -> Iterator[str]:
    """Deletes the packs of a config and yields what was freed."""
    found = _splits(cfg.data, download=False)
    yield from clear([source for _, source in found if isinstance(source, Source)], cfg.data)


def _splits(cfg: DataConfig, *, download: bool) -> Iterator[tuple[Split, Source | NothingHeldOut]]:
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        try:
            yield split, open_source(cfg, split, download=download)
        except NothingHeldOut as reason:
            yield split, reason


def report(cfg: DataConfig, source: Source, packed: PackedImages) -> str:
    """Reports what was found, left out and packed."""
    _, height, width = packed.images.shape[1:]
    lines = [
        f"found    {len(source):,} images in {source.place}",
        *(f"         {note}" for note in source.notes),
        *_bad_images(packed),
        f"classes  {_classes(packed)}",
    ]
    if headers := sorted(read_headers(source), key=lambda h: h.width * h.height):
        small, middle, large = (headers[i] for i in (0, len(headers) // 2, -1))
        sizes = ", ".join(
            f"{name} {header.width}x{header.height}"
            for name, header in (("smallest", small), ("median", middle), ("largest", large))
        )
        lines.append(f"sizes    {sizes} ({len(headers):,} files read)")
    lines += [
        f"packed   {len(packed):,} images {width}x{height}, {_colours(cfg)}, data.fit {cfg.fit}",
        f"         {packed.images.nbytes / 1e6:,.1f} MB in {packed.folder}",
        "         used again while paths, names, sizes, times and zip checksums are unchanged",
        "         gan data --verify compares contents, --clear deletes it and older ones",
    ]
    return "\n".join(lines)


def warnings(cfg: Config, source: Source, packed: PackedImages | None = None) -> list[str]:
    """Lists what is likely to spoil a run on these images. Without a pack it reads headers only."""
    return [*_warn_of_number(cfg, len(packed or source)), *_warn_of_files(cfg, source, packed)]


def open_with_warnings(cfg: Config) -> tuple[Source | None, list[str]]:
    """Opens a user's own images and lists the warnings for them, on the first rank only.

    Returns no source if they cannot be found; training reports that after cheaper checks.
    """
    if cfg.data.source == "folder" and is_first_process():
        with suppress(ValueError, OSError):
            source = open_source(cfg.data)
            return source, warnings(cfg, source)
    return None, []


def save_sheet(cfg: Config, packed: PackedImages, out: Path) -> int:
    """Writes the first images of training as a grid, before augmentation; returns their number."""
    from gan.data.batches import batches  # imports torch
    from gan.sampling import grid, to_pil

    num = min(_SHEET, len(packed))
    images, _ = next(batches(packed, num, seed=cfg.train.seed, flip=cfg.data.flip))
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        to_pil(grid(images.numpy())).save(part)
    return num


def read_headers(source: Source) -> list[Header]:
    """Reads the headers of at most 500 files, evenly spaced, and decodes none."""
    if not source.parallel:  # made from arrays
        return []
    headers = []
    with ExitStack() as stack, catch_warnings():
        simplefilter("ignore")  # of large images
        members = {}
        if os.path.isfile(source.place):
            zipped = stack.enter_context(zipfile.ZipFile(source.place))
            members = zip_members(zipped)
        for name in source.names[:: -(-len(source) // _MAX_HEADERS)]:
            with suppress(Exception):  # packing reports what is wrong with an image
                path = Path(source.place, name)
                if members:
                    check_member(members[name])
                    file: IO[bytes] | Path = zipped.open(members[name])
                elif path.is_file() and path.stat().st_size <= MAX_FILE_BYTES:
                    file = path  # a pipe would wait forever, and Pillow reads all of a .webp
                else:
                    continue
                with Image.open(file, formats=formats()) as image:
                    headers.append(Header(image.width, image.height, image.mode))
    return headers


def _bad_images(packed: PackedImages) -> list[str]:
    bad = read_json(packed.folder / "left_out.json")
    if not isinstance(bad, dict) or not bad:
        return []
    shown = [f"         {name}: {reason}"[:200] for name, reason in bad.items()][:_MAX_BAD]
    return [f"left out {len(bad):,} bad images, listed in left_out.json of the pack", *shown]


def _classes(packed: PackedImages) -> str:
    if packed.labels is None:
        return "none: the images are not in subfolders"
    counts = np.bincount(packed.labels, minlength=len(packed.classes))
    pairs = zip(packed.classes[:_MAX_CLASSES], counts, strict=False)
    shown = ", ".join(f"{name} {count:,}" for name, count in pairs)
    more = ", ..." if len(packed.classes) > _MAX_CLASSES else ""
    return f"{len(packed.classes):,}: {shown}{more}"


def _colours(cfg: DataConfig) -> str:
    return {1: "grey", 3: "RGB", 4: "RGB and opacity"}[cfg.channels]


def _warn_of_number(cfg: Config, num: int) -> Iterator[str]:
    train = cfg.train
    if num < _MIN_BATCHES * train.batch_size:
        yield (
            f"{num:,} images are fewer than {_MIN_BATCHES} batches of {train.batch_size}: add "
            "images, or lower train.batch_size"
        )
    epochs = train.num_steps * train.batch_size / num
    if epochs > _MAX_EPOCHS and train.max_minutes is None:
        fewer = max(1, _MAX_EPOCHS * num // train.batch_size)
        yield (
            f"{train.num_steps:,} steps are {epochs:,.0f} epochs of {num:,} images, which D may "
            f"memorise: add images, or set train.num_steps to at most {fewer} (1,000 epochs)"
        )


def _warn_of_files(cfg: Config, source: Source, packed: PackedImages | None) -> Iterator[str]:
    headers = read_headers(source)
    is_grey = bool(headers) and {header.mode for header in headers} <= _GREY_MODES
    if packed is not None and not is_grey:
        images = packed.images[:_MAX_HEADERS, :3]
        is_grey = bool((images == images[:, :1]).all())
    if is_grey and cfg.data.channels == 3:
        yield "all images are grey: set data.channels to 1"
    _, height, width = cfg.data.image_shape
    shares = [min(header.width / width, header.height / height) for header in headers]
    if shares and sorted(shares)[len(shares) // 2] < _MIN_SHARE:
        largest = f"{round(_MIN_SHARE * width)}x{round(_MIN_SHARE * height)}"
        yield (
            f"half of the images are smaller than {largest}, and training uses {width}x{height}: "
            "lower data.image_size"
        )
