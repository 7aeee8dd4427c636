"""Packs: every image of a data set, decoded once into a checked, memory-mapped uint8 array.

A pack is a folder with images.npy (N, C, H, W), labels.npy (N,) if there are labels, pack.json,
and left_out.json with the bad images. It is written under another name and then renamed, so a pack
that exists is complete. Its name holds a hash of the source's fingerprint, so a changed source gets
a new pack.
"""

import hashlib
import io
import json
import math
import os
import shutil
import zlib
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from gan.config.settings import DataConfig
from gan.data.decode import BadImage, ReadFailed
from gan.data.source import Source
from gan.data.workers import decode_all
from gan.errors import printable
from gan.files import naming, read_json

_MAX_LISTED = 20


@dataclass(frozen=True)
class PackedImages:
    """The images and labels of a pack."""

    array: np.ndarray  # uint8 (N, C, H, W), memory-mapped
    labels: np.ndarray | None  # int64 (N,)
    classes: tuple[str, ...]
    checksum: str  # of the images and labels
    folder: Path

    def __len__(self) -> int:
        return len(self.array)

    @property
    def images(self) -> np.ndarray:
        """The array. To read beyond the end of a file that was cut short would be SIGBUS."""
        file = self.array.base
        if isinstance(file, mmap) and file.size() < len(file):
            raise ValueError(f"{self.folder} was cut short; delete it and run the command again")
        return self.array


def pack(source: Source, cfg: DataConfig) -> PackedImages:
    """Returns the pack of a source, and writes it first if there is none.

    Raises ValueError with a list of the bad images, unless data.on_bad_image is skip.
    """
    folder = _choose_folder(source, cfg)
    if not folder.exists():
        note = f" (packing needs {len(source) * math.prod(cfg.image_shape) / 1e6:,.0f} MB)"
        with FileLock(f"{folder}.lock"), naming(folder.parent, note):
            if not folder.exists():  # another process may have written it meanwhile
                _write(source, cfg, folder)
    return _open(folder)


def pack_folders(source: Source, cfg: DataConfig) -> list[Path]:
    """Returns the places of a pack: in the user's cache, and beside the data."""
    key = json.dumps([source.fingerprint, cfg.image_shape, cfg.fit, cfg.on_bad_image])
    digest = hashlib.sha256(key.encode()).hexdigest()
    name = f"{cfg.source}-{'x'.join(map(str, cfg.image_shape))}-{digest[:12]}"
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "gan")
    cache = os.path.expanduser(os.environ.get("GAN_CACHE") or home)
    root = os.path.expanduser(cfg.root)
    beside = os.path.dirname(root) if os.path.isfile(root) else root
    # the ~ of an unknown home stays
    return [Path(place, "packed", name) for place in (cache, beside) if place[:1] != "~"]


def is_first_process() -> bool:
    """Tells whether this is the only rank, or the first one of torchrun."""
    # as machine.ranks.launched_rank, but without torch, which takes seconds to import
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["RANK"] == "0"


def resolved_place(source: Source) -> str:
    """Names the folder, file or library that a source is made from."""
    return os.path.realpath(source.place) if source.parallel else source.place


def _choose_folder(source: Source, cfg: DataConfig) -> Path:
    """Returns the first place that has the pack (it may be read-only), else a writable one."""
    folders = pack_folders(source, cfg)
    for folder in folders:
        if os.access(folder / "pack.json", os.R_OK):
            return folder
    for folder in folders:
        with suppress(OSError):
            folder.parent.mkdir(parents=True, exist_ok=True)
            if os.access(folder.parent, os.W_OK):
                return folder
    places = " or ".join(str(folder.parent) for folder in folders)
    raise ValueError(f"cannot write to {places}; set GAN_CACHE to a folder that can be written")


def _write(source: Source, cfg: DataConfig, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a killed process
    part.mkdir()
    try:
        bad = _write_images(part / "images.npy", source, cfg)
        if source.labels is not None:
            labels = io.BytesIO()  # np.save hides why it cannot write a file
            np.save(labels, source.labels[[name not in bad for name in source.names]])
            (part / "labels.npy").write_bytes(labels.getvalue())
        meta = {
            "images_crc32": _crc32(part / "images.npy"),
            "labels_crc32": _crc32(part / "labels.npy"),
            "classes": source.classes,
            "place": resolved_place(source),
        }
        left_out = {str(name): str(reason) for name, reason in bad.items()}
        (part / "pack.json").write_text(json.dumps(meta, indent=1))
        (part / "left_out.json").write_text(json.dumps(left_out, indent=1))
        for path in part.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_images(path: Path, source: Source, cfg: DataConfig) -> dict[Any, BadImage]:
    """Writes the usable images; returns {name: reason} for the others."""
    bad: dict[Any, BadImage] = {}
    with open(path, "wb") as file:
        shape = (len(source), *cfg.image_shape)
        if hasattr(os, "posix_fallocate"):  # Linux: a full disk is an error now, not an hour later
            os.posix_fallocate(file.fileno(), 0, math.prod(shape))
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for _, image in decode_usable(source, cfg, bad, "packing"):
            file.write(image.tobytes())
        file.truncate()
        file.seek(0)  # NumPy pads the header to the same length for any number of images
        header["shape"] = (len(source) - len(bad), *cfg.image_shape)
        np.lib.format.write_array_header_1_0(file, header)
    return bad


def decode_usable(
    source: Source, cfg: DataConfig, bad: dict[Any, BadImage], title: str
) -> Generator[tuple[Any, np.ndarray], None, None]:
    """Yields the usable images with their names, and adds the others to `bad`.

    Raises ValueError at the end if these may not be left out.
    """
    hidden = None if is_first_process() else True  # None: unless on a terminal
    with tqdm(total=len(source), desc=title, unit="image", disable=hidden) as bar:
        decoded = decode_all(source, cfg.image_shape, cfg.fit)
        for name, image in zip(source.names, decoded, strict=True):
            if isinstance(image, BadImage):
                bad[name] = image
            else:
                yield name, image
            bar.update()
    _refuse_bad(source, cfg, bad)


def _open(folder: Path) -> PackedImages:
    meta = folder / "pack.json"
    try:
        facts = read_json(meta)
        classes = tuple(map(str, facts["classes"]))
        sums = {name: facts[f"{name}_crc32"] for name in ("images", "labels")}
    except (LookupError, TypeError):
        raise ValueError(f"{meta} is damaged; delete {folder} to pack the images again") from None
    for name, crc in sums.items():
        # this also brings the file into the page cache, for training
        if _crc32(folder / f"{name}.npy") != crc:
            raise ValueError(f"{folder / name}.npy is damaged; delete {folder} to pack it again")
    return PackedImages(
        array=np.load(folder / "images.npy", mmap_mode="r"),
        labels=None if sums["labels"] is None else np.load(folder / "labels.npy"),
        classes=classes,
        checksum=f"{sums['images']}-{sums['labels']}",
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


def _refuse_bad(source: Source, cfg: DataConfig, bad: dict[Any, BadImage]) -> None:
    failed = {name: reason for name, reason in bad.items() if isinstance(reason, ReadFailed)}
    listed = failed or bad
    may_skip = not failed and len(bad) < len(source)
    if not bad or (may_skip and cfg.on_bad_image == "skip"):
        return
    lines = [
        f"  {printable(name)}: {reason}"[:300]
        for name, reason in islice(listed.items(), _MAX_LISTED)
    ]
    if len(listed) > _MAX_LISTED:
        lines.append(f"  and {len(listed) - _MAX_LISTED:,} more")
    hint = "; leave them out with --set data.on_bad_image=skip" if may_skip else ""
    if failed:
        hint = "; the cause is not in the files: correct it and run the command again"
    raise ValueError(
        f"{len(listed):,} of {len(source):,} images of {source.place} cannot be used{hint}:\n"
        + "\n".join(lines)
    )
