"""Packs: every image of a data set, decoded once into a checked, memory-mapped uint8 array.

A pack is a folder with images.npy (N, C, H, W), labels.npy (N,) if there are labels, and
pack.json. It is written under another name and then renamed, so a pack that exists is complete.
Its name holds a hash of the source's fingerprint, so a changed source gets a new pack.
"""

import errno
import hashlib
import json
import os
import shutil
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from gan.config.settings import DataConfig
from gan.data.decode import decode_chunk
from gan.data.source import Source
from gan.data.workers import decode_all

_MAX_LISTED = 20


@dataclass(frozen=True)
class PackedImages:
    """The images and labels of a pack."""

    images: np.ndarray  # uint8 (N, C, H, W), memory-mapped
    labels: np.ndarray | None  # int64 (N,), memory-mapped
    classes: tuple[str, ...]
    checksum: str  # of the images and labels
    folder: Path

    def __len__(self) -> int:
        return len(self.images)


def pack(source: Source, cfg: DataConfig) -> PackedImages:
    """Returns the pack of a source, and writes it first if there is none.

    Raises ValueError with a list of the bad images, unless data.on_bad_image is skip.
    """
    key = json.dumps([source.fingerprint, cfg.image_shape, cfg.fit, cfg.on_bad_image])
    digest = hashlib.sha256(key.encode()).hexdigest()
    name = f"{cfg.source}-{'x'.join(map(str, cfg.image_shape))}-{digest[:12]}"
    folder = _choose_place(cfg, name) / name
    if not folder.exists():
        with FileLock(f"{folder}.lock"):
            if not folder.exists():  # another process may have written it meanwhile
                _write(source, cfg, folder)
    return _open(folder)


def peek(source: Source, cfg: DataConfig, count: int) -> np.ndarray:
    """Decodes the first images without writing anything; returns uint8 (n, C, H, W)."""
    names = source.names[:count]
    images, bad = decode_chunk(names, source.read, shape=cfg.image_shape, fit=cfg.fit)
    _refuse_bad(source, cfg, bad, len(images))
    return images


def _choose_place(cfg: DataConfig, name: str) -> Path:
    """Returns the folder that has the pack (it may be read-only), else the first writable one.

    The choices are beside the data and in the user's cache.
    """
    root = Path(cfg.root).expanduser()
    root = root.parent if root.is_file() else root
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gan"
    places = [root / "packed", cache / "packed"]
    for place in places:
        if os.access(place / name / "pack.json", os.R_OK):
            return place
    for place in places:
        with suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            if os.access(place, os.W_OK):
                return place
    raise ValueError(f"cannot write to {root} or {cache}; set data.root or XDG_CACHE_HOME")


def _write(source: Source, cfg: DataConfig, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a killed process
    _require_space(folder.parent, len(source) * int(np.prod(cfg.image_shape)))
    part.mkdir()
    try:
        bad = _write_images(part / "images.npy", source, cfg)
        if source.labels is not None:
            np.save(part / "labels.npy", source.labels[[name not in bad for name in source.names]])
        meta = {
            "images_crc32": _crc32(part / "images.npy"),
            "labels_crc32": _crc32(part / "labels.npy"),
            "classes": source.classes,
            "place": source.place,
            "left_out": {str(name): reason for name, reason in bad.items()},
        }
        (part / "pack.json").write_text(json.dumps(meta, indent=1))
        for path in part.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _require_space(place: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(place).free
    if free < num_bytes:
        problem = f"packing needs {num_bytes / 1e6:,.0f} MB, but only {free / 1e6:,.0f} MB are free"
        raise OSError(errno.ENOSPC, problem, str(place))


def _write_images(path: Path, source: Source, cfg: DataConfig) -> dict[Any, str]:
    """Writes the usable images; returns {name: reason} for the others."""
    num_good = 0
    hidden = True if int(os.environ.get("RANK", "0")) else None  # None: unless on a terminal
    bad: dict[Any, str] = {}
    bar = tqdm(total=len(source), desc="packing", unit="image", disable=hidden)
    with bar, open(path, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(source), *cfg.image_shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for images, bad_of_chunk in decode_all(source, cfg.image_shape, cfg.fit):
            file.write(images.tobytes())
            num_good += len(images)
            bad |= bad_of_chunk
            bar.update(len(images) + len(bad_of_chunk))
        _refuse_bad(source, cfg, bad, num_good)
        file.seek(0)  # NumPy pads the header to the same length for any number of images
        header["shape"] = (num_good, *cfg.image_shape)
        np.lib.format.write_array_header_1_0(file, header)
    return bad


def _open(folder: Path) -> PackedImages:
    meta = json.loads((folder / "pack.json").read_text())
    for name in ("images", "labels"):
        # this also brings the file into the page cache, for training
        if _crc32(folder / f"{name}.npy") != meta[f"{name}_crc32"]:
            raise ValueError(f"{folder / name}.npy is damaged; delete {folder} to pack it again")
    has_labels = meta["labels_crc32"] is not None
    return PackedImages(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        labels=np.load(folder / "labels.npy", mmap_mode="r") if has_labels else None,
        classes=tuple(meta["classes"]),
        checksum=f"{meta['images_crc32']}-{meta['labels_crc32']}",
        folder=folder,
    )


def _crc32(path: Path) -> int | None:
    if not path.exists():
        return None
    crc = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def _refuse_bad(source: Source, cfg: DataConfig, bad: dict[Any, str], num_good: int) -> None:
    if not bad or (cfg.on_bad_image == "skip" and num_good):
        return
    lines = [f"  {name}: {reason}" for name, reason in list(bad.items())[:_MAX_LISTED]]
    if len(bad) > _MAX_LISTED:
        lines.append(f"  and {len(bad) - _MAX_LISTED:,} more")
    hint = "; leave them out with --set data.on_bad_image=skip" if num_good else ""
    raise ValueError(
        f"{len(bad):,} of {len(source):,} images of {source.place} cannot be used{hint}:\n"
        + "\n".join(lines)
    )


def summary(source: Source, packed: PackedImages) -> str:
    """Reports what was found, packed and left out."""
    num_bad = len(source) - len(packed)
    classes = f"{len(packed.classes)}: {', '.join(packed.classes[:10])}"
    lines = [
        f"found    {len(source):,} images in {source.place}",
        *(f"         {note}" for note in source.notes),
        *([f"left out {num_bad:,} bad images, listed in pack.json"] if num_bad else []),
        f"first    {', '.join(map(str, source.names[:3]))}",
        f"classes  {classes if packed.classes else 'none'}",
        f"packed   {len(packed):,} images {'x'.join(map(str, packed.images.shape[1:]))}, "
        f"{packed.images.nbytes / 1e6:,.1f} MB, in {packed.folder}",
    ]
    return "\n".join(lines)
