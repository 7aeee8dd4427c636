"""Source: a data set that is read image by image, from arrays, a folder or a zip file."""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from gan.data.decode import SUFFIXES, read_file, read_zip_member


@dataclass(frozen=True)
class Source:
    """A data set that can be read image by image."""

    place: str  # the folder or file, for messages
    names: Sequence[Any]  # of the images: paths in a folder or zip, or numbers
    read: Callable[[Any], Image.Image]  # of a name; can be pickled if `parallel`
    fingerprint: str  # changes when a file of the source changes
    labels: np.ndarray | None = None  # int64 (N,)
    classes: tuple[str, ...] = ()
    parallel: bool = False  # whether to decode in worker processes
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)


def from_arrays(
    images: np.ndarray,
    labels: ArrayLike,
    *,
    classes: tuple[str, ...],
    place: str,
    fingerprint: str,
) -> Source:
    """Makes a source of uint8 images (N, H, W) or (N, H, W, 3) and integer labels (N,)."""
    return Source(
        place=place,
        names=range(len(images)),
        read=lambda i: Image.fromarray(images[i]),
        fingerprint=fingerprint,
        labels=np.asarray(labels, dtype=np.int64),
        classes=classes,
    )


def from_folder(folder: Path) -> Source:
    """Makes a source of all image files in a folder and its subfolders.

    If every image is in a subfolder, the subfolders of the first level are the classes. A single
    folder around all images, as in most zips, is not a class. Raises ValueError if there are no
    images.
    """
    paths = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    source = _from_files(folder, [path.as_posix() for path in paths], read_file)
    digest = hashlib.sha256()
    for name in source.names:
        stat = (folder / name).stat()
        digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return replace(source, fingerprint=digest.hexdigest())


def from_zip(archive: Path) -> Source:
    """Makes a source of all image files in a zip, with classes as in `from_folder`."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            files = sorted(member.filename for member in zipped.infolist() if not member.is_dir())
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{archive}: not a readable zip file ({error})") from None
    stat = archive.stat()
    digest = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return replace(_from_files(archive, files, read_zip_member), fingerprint=digest.hexdigest())


def _from_files(place: Path, files: list[str], read: Callable[[str, str], Image.Image]) -> Source:
    """Makes a source of the image files among `files`, without a fingerprint."""
    visible = [name for name in files if not _is_hidden(PurePosixPath(name))]
    names = [name for name in visible if PurePosixPath(name).suffix.lower() in SUFFIXES]
    num_others = len(visible) - len(names)
    if not names:
        suffixes = " ".join(sorted(SUFFIXES))
        raise ValueError(f"{place}: no images ({suffixes}) among {num_others:,} files")
    labels, classes = _classes(names)
    return Source(
        place=str(place),
        names=names,
        read=partial(read, str(place)),
        fingerprint="",
        labels=labels,
        classes=classes,
        parallel=True,
        notes=[f"{num_others:,} other files left out"] if num_others else [],
    )


def _is_hidden(path: PurePosixPath) -> bool:
    """Returns whether to ignore a file: hidden, in our own packs, or added to a zip by macOS."""
    is_dotted = any(part.startswith(".") and part != ".." for part in path.parts)
    return is_dotted or path.parts[:1] in (("packed",), ("__MACOSX",))


def _classes(names: list[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    paths = [PurePosixPath(name).parts for name in names]
    while min(map(len, paths)) > 1 and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]  # a folder around all images
    if min(map(len, paths)) == 1:
        return None, ()
    classes, labels = np.unique([path[0] for path in paths], return_inverse=True)
    return labels.astype(np.int64), tuple(classes.tolist())
