"""Owns packed data: every image decoded once into a checked, memory-mapped uint8 array.

A pack is a folder with images.npy (N, C, H, W), labels.npy (N,) when there are labels, and
pack.json. It is made beside its place and renamed there, so one that exists is whole; its name
carries the source's fingerprint, so a changed source makes a new one.
"""

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from gan.config.settings import DataConfig
from gan.data.decode import decode_chunk
from gan.data.source import Source
from gan.data.workers import decode_all

_MAX_LISTED = 20
Progress = Callable[[int, int], None]  # (images done, images in all)


@dataclass(frozen=True)
class PackedImages:
    """What a run learns from."""

    images: np.ndarray  # uint8 (N, C, H, W), memory-mapped
    labels: np.ndarray | None  # int64 (N,), memory-mapped
    classes: tuple[str, ...]
    checksum: str  # of the images and labels
    folder: Path

    def __len__(self) -> int:
        return len(self.images)


def pack(source: Source, cfg: DataConfig, progress: Progress | None = None) -> PackedImages:
    """Returns the packed images of a source, packing them first if that was not done yet.

    Raises ValueError, listing each bad image with its reason, unless data.on_bad_image is skip.
    """
    key = json.dumps([source.fingerprint, cfg.image_shape, cfg.fit, cfg.on_bad_image])
    name = f"{cfg.source}-{'x'.join(map(str, cfg.image_shape))}-{_sha256(key)[:12]}"
    folder = _choose_place(cfg, name) / name
    if not folder.exists():
        with FileLock(f"{folder}.lock"):
            if not folder.exists():  # another process may have written it meanwhile
                _remove_leftovers(folder)
                _require_space(folder.parent, len(source) * int(np.prod(cfg.image_shape)))
                _write(source, cfg, folder, progress or (lambda done, total: None))
    return _open(folder)


def peek(source: Source, cfg: DataConfig, count: int) -> np.ndarray:
    """Decodes the first images straight from the source: uint8 (n, C, H, W); writes nothing."""
    indices = range(min(count, len(source)))
    images, bad = decode_chunk(source.read, indices, cfg.image_shape, cfg.fit)
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


def _write(source: Source, cfg: DataConfig, folder: Path, progress: Progress) -> None:
    part = folder.with_name(f"{folder.name}.part{os.getpid()}")
    part.mkdir()
    try:
        images = np.lib.format.open_memmap(
            part / "images.npy", mode="w+", dtype=np.uint8, shape=(len(source), *cfg.image_shape)
        )
        good: list[int] = []
        bad: dict[int, str] = {}
        for indices, decoded, failures in decode_all(source, cfg):
            images[len(good) : len(good) + len(decoded)] = decoded
            good += [index for index in indices if index not in failures]
            bad.update(failures)
            progress(len(good) + len(bad), len(source))
        _refuse_bad(source, cfg, bad, len(good))
        images.flush()
        _finish(source, part, images, np.array(good), bad)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _finish(
    source: Source, part: Path, images: np.ndarray, good: np.ndarray, bad: dict[int, str]
) -> None:
    if bad:
        np.save(part / "whole.npy", images[: len(good)])
        os.replace(part / "whole.npy", part / "images.npy")
    if source.labels is not None:
        np.save(part / "labels.npy", source.labels[good])
    meta = {
        "images_crc32": _crc32(part / "images.npy"),
        "labels_crc32": _crc32(part / "labels.npy"),
        "classes": source.classes,
        "place": source.place,
        "left_out": {str(source.names[index]): reason for index, reason in bad.items()},
    }
    (part / "pack.json").write_text(json.dumps(meta, indent=1))
    for path in part.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _open(folder: Path) -> PackedImages:
    meta = json.loads((folder / "pack.json").read_text())
    for name in ("images", "labels"):
        # also brings the file into the page cache, where training wants it
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


def _refuse_bad(source: Source, cfg: DataConfig, bad: dict[int, str], num_good: int) -> None:
    if not bad or (cfg.on_bad_image == "skip" and num_good):
        return
    lines = [f"  {source.names[i]}: {reason}" for i, reason in list(bad.items())[:_MAX_LISTED]]
    if len(bad) > _MAX_LISTED:
        lines.append(f"  and {len(bad) - _MAX_LISTED:,} more")
    advice = " (set data.on_bad_image to skip to leave them out)" if num_good else ""
    raise ValueError(
        f"{len(bad):,} of {len(source):,} images of {source.place} cannot be used{advice}:\n"
        + "\n".join(lines)
    )


def _remove_leftovers(folder: Path) -> None:
    for path in folder.parent.glob(f"{folder.name}.part*"):
        shutil.rmtree(path, ignore_errors=True)


def _require_space(place: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(place).free
    if free < num_bytes:
        raise OSError(
            errno.ENOSPC,
            f"packing needs {num_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            str(place),
        )


def _crc32(path: Path) -> int | None:
    if not path.exists():
        return None
    crc = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def summary(source: Source, packed: PackedImages) -> str:
    """Says what was found, packed and left out."""
    _, channels, height, width = packed.images.shape
    num_bad = len(source) - len(packed)
    lines = [
        f"found    {len(source):,} images in {source.place}",
        *(f"         {note}" for note in source.notes),
        *([f"left out {num_bad:,} bad images, listed in pack.json"] if num_bad else []),
        f"first    {', '.join(str(name) for name in source.names[:3])}",
        f"classes  {len(packed.classes)}: {', '.join(packed.classes[:10])}"
        if packed.classes
        else "classes  none",
        f"packed   {len(packed):,} images {channels}x{height}x{width}, "
        f"{packed.images.nbytes / 1e6:,.1f} MB, in {packed.folder}",
    ]
    return "\n".join(lines)
