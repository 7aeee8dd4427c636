"""Owns what a data set is, and how one is made of arrays, a folder or a zip of images."""

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from gan.data.decode import SUFFIXES, read_file, read_zip_member


@dataclass(frozen=True)
class Source:
    """A data set that can be read image by image."""

    place: str  # for messages: the folder or file
    names: Sequence[object]  # of each image, for messages
    read: Callable[[int], Image.Image]  # picklable when `parallel`
    fingerprint: str  # changes when a file of the source does
    labels: np.ndarray | None = None  # int64 (N,)
    classes: tuple[str, ...] = ()
    parallel: bool = False  # decoding is worth worker processes
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)


def from_arrays(
    place: str,
    images: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    fingerprint: str,
) -> Source:
    """Makes a source of uint8 images (N, H, W) or (N, H, W, 3) and int64 labels (N,)."""
    read = partial(_from_array, images)
    return Source(place, range(len(images)), read, fingerprint, labels, classes)


def _from_array(images: np.ndarray, index: int) -> Image.Image:
    return Image.fromarray(images[index])


def from_folder(folder: Path) -> Source:
    """Makes a source of all image files below a folder; ValueError if there is none.

    When all lie in subfolders, those of the first level are the classes; one folder around them
    all, as a zip of a folder has it, is none.
    """
    names, others, digest = [], 0, hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not path.is_file() or _is_aside(inside):
            continue
        if path.suffix.lower() not in SUFFIXES:
            others += 1
            continue
        stat = path.stat()
        names.append(inside.as_posix())
        digest.update(f"{inside.as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return _from_names(str(folder), names, others, partial(read_file, str(folder)), digest)


def from_zip(archive: Path) -> Source:
    """Makes a source of all image files in a zip, as `from_folder` does."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = [
                m.filename
                for m in zipped.infolist()
                if not m.is_dir() and not _is_aside(PurePosixPath(m.filename))
            ]
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{archive}: not a readable zip of images ({error})") from None
    names = sorted(name for name in members if PurePosixPath(name).suffix.lower() in SUFFIXES)
    stat = archive.stat()
    digest = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    others = len(members) - len(names)
    return _from_names(str(archive), names, others, partial(read_zip_member, str(archive)), digest)


def _is_aside(path: PurePath) -> bool:
    """Tells our packs, hidden files and folders, and what a Mac adds to a zip."""
    hidden = any(part.startswith(".") and part != ".." for part in path.parts)
    return hidden or path.parts[0] in ("packed", "__MACOSX")


def _from_names(
    place: str, names: list[str], others: int, read: Any, digest: "hashlib._Hash"
) -> Source:
    if not names:
        raise ValueError(
            f"{place}: no images (looked for {' '.join(sorted(SUFFIXES))}, also in subfolders; "
            f"{others:,} other files are there)"
        )
    labels, classes = _first_level(names)
    return Source(
        place=place,
        names=names,
        read=partial(read, names),
        fingerprint=digest.hexdigest(),
        labels=labels,
        classes=classes,
        parallel=True,
        notes=[f"{others:,} other files left out"] if others else [],
    )


def _first_level(names: Iterable[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    paths = [PurePosixPath(name).parts for name in names]
    while min(map(len, paths)) > 1 and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]  # a folder around them all, as in most zips
    if min(map(len, paths)) == 1:
        return None, ()
    classes = sorted({path[0] for path in paths})
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[path[0]] for path in paths], dtype=np.int64), tuple(classes)


def subset(source: Source, picks: Sequence[int], *, fingerprint: str, note: str) -> Source:
    """Makes a source of some of a source's images."""
    return replace(
        source,
        names=[source.names[i] for i in picks],
        read=partial(_read_picked, source.read, picks),
        fingerprint=fingerprint,
        labels=None if source.labels is None else source.labels[list(picks)],
        notes=[*source.notes, note],
    )


def _read_picked(
    read: Callable[[int], Image.Image], picks: Sequence[int], index: int
) -> Image.Image:
    return read(picks[index])
