"""A generator as a folder in the layout of model hubs: config.json and model.safetensors.

config.json holds the settings of the run and what else loading needs; model.safetensors the
averaged generator. Both are read as untrusted: sizes are checked before memory is taken.
"""

import hashlib
import json
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from gan.checkpoint import BadCheckpoint, Checkpoint
from gan.files import read_json, replacing

CONFIG, MODEL, DISCRIMINATOR = "config.json", "model.safetensors", "discriminator.safetensors"
_FORMAT = 1
_MAX_HEADER = 1 << 20  # bytes; the header of a safetensors file lists the tensors
_MAX_BYTES = 4 << 30
# keys of config.json that are fields of a checkpoint, and their types
_FIELDS: dict[str, type] = {
    "config": dict,
    "classes": list,
    "data": str,
    "step": int,
    "images_seen": int,
    "environment": dict,
}


def is_folder(path: Path) -> bool:
    """Says whether a path is a generator's folder and not a run's."""
    return (path / CONFIG).is_file() or (path / MODEL).is_file()


def read_folder(folder: Path) -> Checkpoint:
    """Reads a folder as a checkpoint that has the averaged generator alone.

    Raises BadCheckpoint, naming the file, if something is missing, damaged or too large.
    """
    path = folder / CONFIG
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise BadCheckpoint(f"{path}: not the description of a generator, format {_FORMAT}")
    for key, kind in _FIELDS.items():
        if type(values.get(key)) is not kind:
            found = brief(values.get(key))
            raise BadCheckpoint(f"{path}: {key} must be of type {kind.__name__}; got {found}")
        if kind is int and not 0 <= values[key] < 1 << 53:
            raise BadCheckpoint(f"{path}: {key} must be a count; got {brief(values[key])}")
    weights = read_weights(folder / MODEL, str(values.get("sha256")))
    return Checkpoint(
        **{key: values[key] for key in _FIELDS},
        g={},
        d={},
        g_ema=weights,
        g_optim={},
        d_optim={},
        path=folder,
        sha256=str(values.get("sha256"))[:16],
    )


def read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Reads the tensors of a safetensors file, half precision as float32, and checks its sum.

    Raises BadCheckpoint if the file is missing, damaged or foreign.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if size > _MAX_BYTES or header > min(_MAX_HEADER, size):
            raise BadCheckpoint(f"{path}: not a safetensors file, or too large")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BadCheckpoint(f"{path}: damaged, or not the file that {CONFIG} describes")
        weights = safetensors.torch.load(data)
    except OSError as error:
        raise BadCheckpoint(f"{path}: {error.strerror}") from None
    except (SafetensorError, ValueError, KeyError) as error:
        if isinstance(error, BadCheckpoint):
            raise
        raise BadCheckpoint(f"{path}: not a safetensors file ({brief(str(error))})") from None
    return {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in weights.items()
    }


def write_folder(checkpoint: Checkpoint, folder: Path, *, half: bool = False, **more: Any) -> None:
    """Writes the averaged generator of a checkpoint; `half` stores float16.

    `more` are further keys of config.json, such as the evaluation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = write_weights(checkpoint.g_ema, folder / MODEL, half=half)
    values = {
        "library_name": "gan",
        "format": _FORMAT,
        **{key: getattr(checkpoint, key) for key in _FIELDS},
        "sha256": sha256,
        **more,
    }
    with replacing(folder / CONFIG) as part:
        part.write_text(json.dumps(values, indent=2) + "\n")


def write_weights(weights: dict[str, Tensor], path: Path, *, half: bool = False) -> str:
    """Writes tensors as a safetensors file; returns its sha256."""
    kept = {
        key: (tensor.half() if half and tensor.is_floating_point() else tensor)
        .contiguous(memory_format=torch.contiguous_format)
        .clone()
        for key, tensor in weights.items()
    }
    data = safetensors.torch.save(kept)
    with replacing(path) as part:
        part.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
