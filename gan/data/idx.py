"""Owns the IDX files of MNIST and Fashion-MNIST."""

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np

_MAX_BYTES = 64 << 20  # the largest official file has 47,040,016


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
