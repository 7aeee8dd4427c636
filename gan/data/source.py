"""Source: a data set that is read image by image, from arrays, a folder or a zip file."""

import hashlib
import os
import zipfile
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from gan.data.decode import SUFFIXES, read_file, read_zip_member, zip_members
from gan.errors import printable

_MAX_LISTED = 5


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
    images: np.ndarray, labels: ArrayLike, *, classes: tuple[str, ...], place: str, fingerprint: str
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
    """Makes a source of all image files in a folder and its subfolders, run directories left out.

    If every image is in a subfolder, the subfolders of the first level are the classes. A single
    folder around all images, as in most zips, is not a class. Links are followed. Raises
    ValueError if there are no images.
    """
    return _from_files(folder, *_search(folder), read_file)


def from_zip(archive: Path) -> Source:
    """Makes a source of all image files in a zip, with classes as in `from_folder`."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = zip_members(zipped)
            repeated = {*zipped.infolist()} - {*members.values()}
    except Exception as error:  # damaged bytes can make zipfile raise anything
        raise ValueError(f"{archive}: not a readable zip file ({str(error)[:200]})") from None
    whole = _version(archive)
    versions = {
        name: f"{whole} {members[name].file_size} {members[name].CRC}"
        for name in sorted(members)
        if not _is_hidden(name)
    }
    left_out = {"members with the name of an earlier one": [m.filename for m in repeated]}
    return _from_files(archive, versions, left_out, read_zip_member)


def subset(source: Source, picks: Sequence[int], *, version: str, note: str) -> Source:
    """Returns a source of some images of another; `version` changes with the choice."""
    return replace(
        source,
        names=[source.names[i] for i in picks],
        fingerprint=f"{source.fingerprint} {version}",
        labels=None if source.labels is None else source.labels[picks],
        notes=[*source.notes, note],
    )


def _version(path: str | Path) -> str:
    found = os.stat(path, follow_symlinks=os.path.exists(path))  # or of a link to a missing file
    return f"{found.st_size} {found.st_mtime_ns}"


def _search(root: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Returns {path: version} of the files and folders/ in a folder, and what was left out.

    Follows links, but searches each folder once, if possible under a name without links. The
    version of a linked file, or one in a linked folder, changes with the link.
    """
    versions, left_out = {}, defaultdict(list)
    home = root.resolve()
    searched = {*home.parents}
    todo = deque([""])
    while todo:
        folder = todo.popleft()
        place = Path(root, folder).resolve()
        try:
            entries = [] if place in searched else list(os.scandir(place))
        except OSError:
            left_out["unreadable folders"].append(folder or ".")
            continue
        searched.add(place)
        if {"config.yaml", "checkpoints"} <= {entry.name for entry in entries}:
            left_out["run directories"].append(folder or ".")
            # if root is a run directory, only the run's own images are left out
            entries = [entry for entry in entries if not folder and entry.name != "samples"]
        else:
            versions[folder] = ""
        away = "" if place == home / folder else f"{str(place)!a} "
        for entry in entries:
            path = folder + entry.name
            if _is_hidden(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                todo.appendleft(f"{path}/")
            elif entry.is_symlink() and os.path.isdir(entry.path):
                todo.append(f"{path}/")
            elif _is_image(path) or os.path.exists(entry.path):
                link = f"{os.readlink(entry.path)!a} " if entry.is_symlink() else ""
                versions[path] = away + link + _version(entry.path)
            else:
                left_out["links to missing files"].append(path)
    return dict(sorted(versions.items(), key=lambda item: item[0].split("/"))), left_out


def _from_files(
    place: Path,
    versions: dict[str, str],
    left_out: dict[str, list[str]],
    read: Callable[[str, str], Image.Image],
) -> Source:
    """Makes a source of the images among files and folders/, given as {path: version}."""
    names = [name for name in versions if _is_image(name)]
    digest = hashlib.sha256(os.fsencode(place.resolve()))
    used = {""}
    for name in names:
        try:
            digest.update(f"\0{name}\0{versions[name]}".encode())
        except UnicodeEncodeError:
            raise ValueError(f"{place}: {name!a} is not UTF-8; rename that file") from None
        while (name := os.path.dirname(name)) not in used:
            used.add(name)
    rest = [path for path in versions if path and not (_is_image(path) or path[:7] == "packed/")]
    empty = [path for path in rest if path.endswith("/") and path[:-1] not in used]
    others = [path for path in rest if not path.endswith("/")]
    left_out |= {
        "folders without images": sorted(empty, key=lambda path: path.count("/")),
        f"other files ({_types(others)})": others,
    }
    notes = [*_describe(left_out), *_describe_loose(names)]
    if not names:
        suffixes = " ".join(sorted(SUFFIXES))
        raise ValueError("; ".join([f"{place}: no images ({suffixes})", *notes]))
    labels, classes = _classes(names)
    return Source(
        place=str(place),
        names=names,
        read=partial(read, str(place)),
        fingerprint=digest.hexdigest(),
        labels=labels,
        classes=classes,
        parallel=True,
        notes=notes,
    )


def _types(paths: list[str]) -> str:
    counts = Counter(_suffix(path) or "without a suffix" for path in paths)
    types = ", ".join(f"{num:,} {name}" for name, num in counts.most_common(_MAX_LISTED))
    return types + ("; pillow-heif reads .heic" if {".heic", ".heif"} & {*counts} else "")


def _describe(left_out: dict[str, list[str]]) -> list[str]:
    return [
        f"left out {len(paths):,} {what}: {', '.join(map(printable, paths[:_MAX_LISTED]))}"[:300]
        for what, paths in left_out.items()
        if paths
    ]


def _describe_loose(names: list[str]) -> list[str]:
    """Says why there are no classes if some images are in subfolders and others are not."""
    loose = [name for name in names if "/" not in name]
    if not 0 < len(loose) < len(names):
        return []
    return [f"no classes: {len(loose):,} images are in no subfolder, such as {printable(loose[0])}"]


def _is_hidden(name: str) -> bool:
    """Returns whether to ignore a file or folder: hidden, or added to a zip by macOS."""
    parts = PurePosixPath(name).parts
    return parts[:1] == ("__MACOSX",) or any(p.startswith(".") and p != ".." for p in parts)


def _is_image(name: str) -> bool:
    return _suffix(name) in SUFFIXES


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _classes(names: list[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    paths = [PurePosixPath(name).parts for name in names]
    while min(map(len, paths)) > 1 and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]  # a folder around all images
    if min(map(len, paths)) == 1:
        return None, ()
    classes, labels = np.unique([path[0] for path in paths], return_inverse=True)
    return labels.astype(np.int64), tuple(classes.tolist())
