"""Writes files completely or not at all, and reads files of JSON rows that may be damaged."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_MAX_JSON_BYTES = 16 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path with the same suffix, which replaces `path` if the block succeeds.

    If it fails, an existing file is unchanged and OSErrors name `path`. Of several processes that
    write the same file, the last to finish wins.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        folder = os.open(path.parent, os.O_RDONLY)
        with suppress(OSError):  # not every file system can
            os.fsync(folder)  # makes the rename itself durable
        os.close(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    finally:
        with suppress(OSError):  # on a read-only disk even a missing file cannot be deleted
            part.unlink()


@contextmanager
def naming(path: Path, note: str = "") -> Iterator[None]:
    """Adds a path to OSErrors that name none, as when a disk is full, and a note to their text."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}{note}"
        raise OSError(error.errno, reason, error.filename or str(path)) from None


def remove_unfinished(folder: Path) -> None:
    """Deletes the temporary files of killed writers; the caller holds the lock."""
    for path in folder.glob(".*.part*"):
        path.unlink()


def read_json(path: Path) -> Any:
    """Returns the value of a JSON file, or None if it is missing, damaged or over 16 MiB."""
    if not path.is_file():  # a pipe would wait for ever
        return None
    try:
        with open(path, "rb") as file:
            return json.loads(file.read(_MAX_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of metrics.jsonl or evaluations.jsonl that are not damaged."""
    lines = path.read_bytes().splitlines() if path.is_file() else []  # a device would never end
    return [row for row in map(parse_row, lines) if row]


def parse_row(line: bytes) -> dict[str, Any] | None:
    """Returns one row of metrics.jsonl or evaluations.jsonl, None if it is damaged."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None
