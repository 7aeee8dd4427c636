"""Owns checkpoint files: written whole or not at all, checked before they are believed.

A file is what `torch.save` makes: an uncompressed zip whose members carry CRC-32 sums. It is
read with `weights_only=True`, so it can hold tensors and plain values and can run nothing.
"""

import hashlib
import io
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

FORMAT = 2
TYPES: dict[str, type] = {
    "format": int,
    "config": dict,  # the settings that decide what the run computes
    "classes": list,  # their names
    "data": str,  # checksum of the packed images
    "step": int,
    "images_seen": int,
    "environment": dict,  # what else decides the last bits
    "g": dict,
    "d": dict,
    "g_ema": dict,
    "g_optim": dict,
    "d_optim": dict,
}
_MAX_BYTES = 16 << 30


class BadCheckpoint(ValueError):
    """Says which file cannot be used and why."""


class Checkpoint(NamedTuple):
    """A file that was read and checked."""

    path: Path
    payload: dict[str, Any]  # tensors on the CPU
    sha256: str  # of the file, its first 16 hex digits


def save_checkpoint(path: Path, payload: dict[str, Any]) -> None:
    """Writes a checkpoint beside its place and renames it; equal payloads give equal bytes.

    Raises OSError, with the bytes needed, if it cannot; what was there before is then untouched.
    """
    buffer = io.BytesIO()  # torch.save into a file hides the errno of a full disk
    torch.save(_canonical(payload), buffer)
    data = buffer.getbuffer()
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        reason = f"{error.strerror}, for a checkpoint of {len(data):,} bytes"
        raise OSError(error.errno, reason, str(path)) from None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Returns what a checkpoint holds, checked as `read_checkpoint` does."""
    return read_checkpoint(path).payload


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint once and checks it.

    Raises BadCheckpoint, naming the file, if it is truncated, damaged, foreign or of another
    version.
    """
    data = _read_whole(path)
    try:
        payload = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # torch's own text advises unsafe loading; it must not reach a user
        raise BadCheckpoint(
            f"{path}: holds something other than tensors and plain values; not a checkpoint of "
            "this program"
        ) from None
    if not isinstance(payload, dict) or "format" not in payload:
        raise BadCheckpoint(f"{path}: not a checkpoint of this program")
    version = payload["format"]
    if type(version) is not int or version not in (1, FORMAT):
        raise BadCheckpoint(
            f"{path}: checkpoint format {version!r:.20}; this program reads {FORMAT}"
        )
    if version == 1:
        _from_format_1(payload, path)
    if payload.keys() != TYPES.keys():
        missing, extra = TYPES.keys() - payload.keys(), payload.keys() - TYPES.keys()
        raise BadCheckpoint(
            f"{path}: missing keys {sorted(missing)}, unknown keys {sorted(map(str, extra))[:9]}"
        )
    for key, kind in TYPES.items():
        if type(payload[key]) is not kind:
            found = type(payload[key]).__name__
            raise BadCheckpoint(f"{path}: {key} must be of type {kind.__name__}; got {found}")
        if kind is int and not 0 <= payload[key] < 1 << 53:
            raise BadCheckpoint(f"{path}: {key} must be a count; got {payload[key]!r:.40}")
    return Checkpoint(path, payload, hashlib.sha256(data).hexdigest()[:16])


def _from_format_1(payload: dict[str, Any], path: Path) -> None:
    """Makes format 2 of format 1, which had the step twice and whose classes could grow."""
    config = payload.get("config")
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict) or model.get("conditional"):
        raise BadCheckpoint(
            f"{path}: checkpoint format 1 with classes, which are computed in another way now; "
            "use the version that wrote it, or train again"
        )
    payload["format"] = FORMAT
    payload.pop("g_ema_updates", None)


def _read_whole(path: Path) -> bytes:
    """Reads a file and checks that it is a whole, unpacked zip; raises BadCheckpoint if not."""
    try:
        if not path.is_file():
            raise BadCheckpoint(f"{path}: no such file")
        if path.stat().st_size > _MAX_BYTES:
            raise BadCheckpoint(f"{path}: larger than {_MAX_BYTES:,} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise BadCheckpoint(f"{path}: {error.strerror}") from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise BadCheckpoint(f"{path}: packed with compression, which a checkpoint never is")
            damaged = archive.testzip()
    except BadCheckpoint:
        raise
    except Exception as error:  # zipfile raises what the damaged bytes lead it to
        raise BadCheckpoint(f"{path}: not a whole checkpoint file ({error})") from None
    if damaged:
        raise BadCheckpoint(f"{path}: damaged (checksum of {damaged!r:.80} does not match)")
    return data


def check_weights(module: nn.Module, weights: Any, name: str) -> None:
    """Raises BadCheckpoint if a state_dict's keys, shapes or types are not the module's."""
    own = module.state_dict()
    if not isinstance(weights, dict) or own.keys() != weights.keys():
        found = weights.keys() if isinstance(weights, dict) else set()
        differ = sorted(map(str, own.keys() ^ found))[:5]
        raise BadCheckpoint(f"{name}: other layers than the config's, such as {differ}")
    for key, tensor in own.items():
        other = weights[key]
        shape, dtype = getattr(other, "shape", None), getattr(other, "dtype", None)
        if not isinstance(other, Tensor) or shape != tensor.shape or dtype != tensor.dtype:
            raise BadCheckpoint(
                f"{name}.{key}: {dtype} {tuple(shape or ())} where the config's network has "
                f"{tensor.dtype} {tuple(tensor.shape)}"
            )


def checkpoint_path(folder: Path, step: int) -> Path:
    """Returns the place of a step's checkpoint."""
    return folder / f"step_{step:08}.pt"  # zero-padded, so name order is step order


def newest_checkpoints(folder: Path) -> list[Path]:
    """Returns the numbered checkpoints of a folder, newest first."""
    return sorted(folder.glob("step_*.pt"), reverse=True)


def newest_good(folder: Path) -> Iterator[Checkpoint | BadCheckpoint]:
    """Yields the faults of the newest checkpoints and then the first good one, if there is one.

    A run may go on meanwhile and delete what is about to be read, which is no fault.
    """
    seen: set[Path] = set()
    while paths := [path for path in newest_checkpoints(folder) if path not in seen]:
        seen.add(paths[0])
        try:
            yield read_checkpoint(paths[0])
            return
        except BadCheckpoint as error:
            if os.path.lexists(paths[0]):
                yield error


def prune_checkpoints(newest: Path, keep: int) -> None:
    """Deletes all but `keep` numbered checkpoints up to `newest`.

    Later ones are damaged: the run went on from before them and will write them again.
    """
    upto = [path for path in newest_checkpoints(newest.parent) if path <= newest]
    for path in upto[keep:]:
        path.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Deletes what killed writers left; for the one who has the run's lock."""
    for path in folder.glob(".*.part"):
        path.unlink()


def _canonical(value: Any) -> Any:
    """Copies nested values so that equal ones pickle alike, whatever shares memory in them."""
    if isinstance(value, dict):
        return {_canonical(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_canonical(inner) for inner in value])
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    return value


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # makes the rename itself durable
    finally:
        os.close(handle)
