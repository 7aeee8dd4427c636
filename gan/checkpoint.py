"""Checkpoint files: written atomically, verified before use, safe to load from anyone.

A file is what `torch.save` writes: an uncompressed zip whose members carry CRC-32 sums. It is read
with `weights_only=True`, so it can hold tensors and plain values and cannot run code.
"""

import hashlib
import io
import os
import pickletools
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from reprlib import repr as brief
from typing import Any, get_origin

import torch
from torch import Tensor

from gan.files import naming, replacing

FORMAT = 3
_MAX_BYTES = 16 << 30
_MAX_PICKLE_BYTES = 16 << 20  # all but the tensors; enough for 500,000 classes
_MAX_NESTING = 1000
_GLOBALS = re.compile(r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch \w+Storage")
_NAME = re.compile(r"step_(\d{8}|[1-9]\d{8,})\.pt")


class BadCheckpoint(ValueError):
    """Says which checkpoint cannot be used and why."""


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds; tensors are on the CPU when it was read."""

    config: dict[str, Any]  # the settings that identify the run
    classes: list[str]  # names, in the order of their labels
    data: str  # checksum of the packed images
    step: int
    images_seen: int
    environment: dict[str, Any]  # what else decides the bits, such as the torch version
    g: dict[str, Any]
    d: dict[str, Any]
    g_ema: dict[str, Any]
    g_optim: dict[str, Any]
    d_optim: dict[str, Any]
    path: Path = Path()  # the file it was read from
    sha256: str = ""  # of that file, the first 16 hex digits


_TYPES: dict[str, Any] = {
    f.name: get_origin(f.type) or f.type for f in fields(Checkpoint) if f.default is MISSING
}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a temporary file beside `path` and renames it; equal contents give equal bytes.

    Raises OSError, with the bytes needed, if that fails; an existing file is then unchanged.
    """
    payload = {"format": FORMAT, **{name: getattr(checkpoint, name) for name in _TYPES}}
    buffer = io.BytesIO()  # torch.save into a file hides the errno of a full disk
    torch.save(_canonical(payload), buffer)
    data = buffer.getbuffer()
    with naming(path, f", for a checkpoint of {len(data):,} bytes"), replacing(path) as part:
        part.write_bytes(data)


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads and verifies a checkpoint.

    Raises BadCheckpoint, naming the file, if it is truncated, damaged, foreign or of another
    format.
    """
    data, pickles = _read_verified(path)
    try:
        for values in pickles:
            _check_pickle(values)
        payload = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own message recommends unsafe loading: not shown
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise BadCheckpoint(f"{path}: larger than the available memory") from None
        raise BadCheckpoint(
            f"{path}: not a checkpoint of gan: it holds something other than tensors and plain "
            "values"
        ) from None
    if not isinstance(payload, dict) or "format" not in payload:
        raise BadCheckpoint(f"{path}: not a checkpoint of gan")
    version = payload.pop("format")
    if type(version) is not int or version not in (2, FORMAT):
        raise BadCheckpoint(
            f"{path}: checkpoint has format {brief(version)}, this version reads 2 and {FORMAT}; "
            "use the version of gan that wrote it"
        )
    _check_fields(payload, path)
    if version == 2:
        _convert_format_2(payload["config"])
    return Checkpoint(**payload, path=path, sha256=hashlib.sha256(data).hexdigest()[:16])


def _check_fields(payload: dict[str, Any], path: Path) -> None:
    if payload.keys() != _TYPES.keys():
        missing, extra = _TYPES.keys() - payload.keys(), payload.keys() - _TYPES.keys()
        unknown = ", ".join(sorted(map(brief, extra))[:9])
        raise BadCheckpoint(f"{path}: missing keys {sorted(missing)}, unknown keys [{unknown}]")
    for key, kind in _TYPES.items():
        if type(payload[key]) is not kind:
            found = type(payload[key]).__name__
            raise BadCheckpoint(f"{path}: {key} must be of type {kind.__name__}; got {found}")
        if kind is int and not 0 <= payload[key] < 1 << 53:
            raise BadCheckpoint(f"{path}: {key} must be a count; got {brief(payload[key])}")


def _convert_format_2(config: dict[str, Any]) -> None:
    """Format 2 stored hardware settings and spelled "off" as none or 0, which is null now."""
    config.pop("hardware", None)
    train = config.get("train")
    if isinstance(train, dict):
        for key, off in (("penalty", "none"), ("augment", "none"), ("ema_halflife_images", 0)):
            value = train.get(key)
            if isinstance(value, str | int | float) and value == off:  # a tensor has no plain ==
                train[key] = None


def _read_verified(path: Path) -> tuple[bytes, list[bytes]]:
    """Reads a file and its pickles, and checks that it is an intact, uncompressed zip."""
    try:
        if not path.is_file():
            raise BadCheckpoint(f"{path}: {'not a' if path.exists() else 'no such'} file")
        if path.stat().st_size > _MAX_BYTES:
            raise BadCheckpoint(f"{path}: larger than {_MAX_BYTES:,} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise BadCheckpoint(f"{path}: {error.strerror}") from None
    except MemoryError:
        raise BadCheckpoint(f"{path}: larger than the available memory") from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            compressed = any(m.compress_type != zipfile.ZIP_STORED for m in members)
            if sum(m.file_size for m in members) > len(data):  # one member that is listed often
                raise ValueError("its members overlap")
            damaged = None if compressed else archive.testzip()
            if not data.startswith(b"PK\x03\x04"):  # torch would read what is before the zip
                raise ValueError("it does not start like one")
            pickles = [archive.read(m) for m in members if m.filename.lower().endswith(".pkl")]
    except Exception as error:  # zipfile raises many kinds on damaged bytes
        raise BadCheckpoint(f"{path}: not a complete checkpoint file ({error})") from None
    if compressed:
        raise BadCheckpoint(f"{path}: compressed, which a checkpoint of gan never is")
    if damaged:
        raise BadCheckpoint(f"{path}: damaged (checksum of {damaged!r:.80} does not match)")
    return data, pickles


def _check_pickle(pickle: bytes) -> None:
    """Raises ValueError for what gan never writes: shared containers, deep nesting, other types.

    Loading hashes keys, which takes 2^n steps for a tuple that holds twice a tuple that holds twice
    another, and so on n times. A tuple nested a million deep overflows the stack.
    """
    if len(pickle) > _MAX_PICKLE_BYTES:
        raise ValueError("larger than any that gan writes")
    stack: list[int] = []  # an upper bound of the nesting of each value
    below_marks: list[list[int]] = []
    may_share: set[Any] = set()
    previous = ""
    for opcode, argument, _ in pickletools.genops(pickle):
        name, inputs = opcode.name, opcode.stack_before
        taken: list[int] = []
        if pickletools.markobject in inputs:
            taken, stack = stack, below_marks.pop()
            inputs = inputs[: inputs.index(pickletools.markobject)]
        if inputs:
            taken = stack[-len(inputs) :] + taken
            del stack[-len(inputs) :]  # in place: a copy at every opcode would take hours
        if name == "MARK":
            below_marks.append(stack)
            stack = []
        elif opcode.stack_after:
            stack.append(1 + max(taken, default=0))
            if stack[-1] > _MAX_NESTING:
                raise ValueError("nested too deeply")
        if name.endswith("PUT"):
            change = may_share.add if previous in ("BINUNICODE", "GLOBAL") else may_share.discard
            change(argument)
        elif name.endswith("GET") and argument not in may_share:
            raise ValueError("a container occurs twice")
        elif name == "GLOBAL" and not _GLOBALS.fullmatch(str(argument)):
            raise ValueError(f"holds {argument}")
        previous = name


def check_tensors(own: Mapping[str, Tensor], found: Any, name: str) -> None:
    """Raises BadCheckpoint if tensors differ from our own in names, shapes or dtypes, or are not
    finite."""
    names = found.keys() if isinstance(found, dict) else set()
    if own.keys() != names:
        differ = ", ".join(sorted(map(brief, own.keys() ^ names))[:5])
        raise BadCheckpoint(f"{name}: tensors differ from those of the config, such as {differ}")
    for key, tensor in own.items():
        other = found[key]
        shape, dtype = getattr(other, "shape", None), getattr(other, "dtype", None)
        if not isinstance(other, Tensor) or shape != tensor.shape or dtype != tensor.dtype:
            raise BadCheckpoint(
                f"{name}.{key}: checkpoint has {dtype} {tuple(shape or ())}, config has "
                f"{tensor.dtype} {tuple(tensor.shape)}"
            )
        if other.untyped_storage().nbytes() < other.numel() * other.element_size():
            raise BadCheckpoint(f"{name}.{key}: claims more values than the file has")
        if not other.isfinite().all():
            raise BadCheckpoint(f"{name}.{key}: has values that are not finite")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Returns the path of a step's checkpoint."""
    return folder / f"step_{step:08}.pt"


def numbered_checkpoints(folder: Path) -> dict[int, Path]:
    """Returns the checkpoints of a folder by step, newest first; only names that gan writes."""
    names = (_NAME.fullmatch(path.name) for path in folder.glob("step_*.pt"))
    steps = sorted((int(name[1]) for name in names if name), reverse=True)
    return {step: checkpoint_path(folder, step) for step in steps}


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[BadCheckpoint]]:
    """Reads the newest good checkpoint; returns it with the errors of the newer ones.

    That is best.pt if there is no other good one. A run that is still training may delete files
    meanwhile; those are not errors.
    """
    errors: list[BadCheckpoint] = []
    seen: set[Path] = set()
    best = folder / "best.pt"
    while found := [p for p in (*numbered_checkpoints(folder).values(), best) if p not in seen]:
        path = found[0]
        seen.add(path)
        try:
            checkpoint = read_checkpoint(path)
            # or a copy would take a run back again and again
            if path not in (best, checkpoint_path(folder, checkpoint.step)):
                raise BadCheckpoint(f"{path}: holds step {checkpoint.step:,}; rename it")
            return checkpoint, errors
        except BadCheckpoint as error:
            if os.path.lexists(path):
                errors.append(error)
    return None, errors


def prune_checkpoints(folder: Path, step: int, keep: int) -> None:
    """Deletes all but the newest `keep` checkpoints up to `step`.

    Later ones are damaged files that the run will write again; they do not count.
    """
    older = [path for at, path in numbered_checkpoints(folder).items() if at <= step]
    for path in older[keep:]:
        path.unlink(missing_ok=True)


def _canonical(value: Any) -> Any:
    """Copies nested values, since pickle writes shared objects differently from equal ones."""
    if isinstance(value, dict):
        return {_canonical(key): _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_canonical(inner) for inner in value])
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    return value
