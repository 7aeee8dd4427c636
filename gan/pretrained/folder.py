"""A generator as a folder in the layout of model hubs: config.json and model.safetensors.

config.json holds the settings of the run and what else loading needs; model.safetensors the
averaged generator; discriminator.safetensors, if present, D. All are read as untrusted: sizes are
checked before memory is taken.
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

from gan.checkpoint import BadCheckpoint, Checkpoint, check_tensors
from gan.config.reader import parse_config
from gan.errors import ConfigError
from gan.files import read_json, replacing
from gan.nn.discriminator import Discriminator
from gan.nn.generator import Generator
from gan.pretrained.shipped import CONFIG, DISCRIMINATOR, MODEL, is_run

_FORMAT = 1
_MAX_HEADER = 1 << 20  # bytes; the header of a safetensors file lists the tensors
_MAX_CONFIG = 1 << 20
_MAX_NAME = 200  # characters of a class
# keys of config.json that are fields of a checkpoint, and their types
_FIELDS: dict[str, type] = {
    "config": dict,
    "classes": list,
    "data": str,
    "step": int,
    "images_seen": int,
    "environment": dict,
}


def read_folder(folder: Path) -> Checkpoint:
    """Reads a folder as a checkpoint that has the averaged generator, also as G, and D if present.

    Raises BadCheckpoint, naming the file, if something is missing, damaged, foreign or too large.
    """
    path = folder / CONFIG
    values = _read_config(path)
    try:
        cfg = parse_config(values["config"], origin=str(path))
    except ConfigError as error:
        raise BadCheckpoint(str(error).split("\n")[0]) from None  # no person edits this file
    shape, num_classes = cfg.data.image_shape, len(values["classes"])
    with torch.device("meta"):
        generator = Generator(cfg.model, shape, num_classes)
        discriminator = Discriminator(cfg.model, shape, num_classes)
    weights, d = _read_weights(folder / MODEL, str(values.get("sha256")), generator), {}
    if "discriminator_sha256" in values:
        sha256 = str(values["discriminator_sha256"])
        d = _read_weights(folder / DISCRIMINATOR, sha256, discriminator)
    return Checkpoint(
        **{key: values[key] for key in _FIELDS},
        g=weights,
        d=d,
        g_ema=weights,
        g_optim={},
        d_optim={},
        path=folder,
        sha256=str(values.get("sha256"))[:16],
    )


def _read_config(path: Path) -> dict[str, Any]:
    if path.is_file() and path.stat().st_size > _MAX_CONFIG:
        raise BadCheckpoint(f"{path}: larger than {_MAX_CONFIG:,} bytes")
    values = read_json(path) if path.is_file() else None
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise BadCheckpoint(f"{path}: not the description of a generator, format {_FORMAT}")
    for key, kind in _FIELDS.items():
        if type(values.get(key)) is not kind:
            found = brief(values.get(key))
            raise BadCheckpoint(f"{path}: {key} must be of type {kind.__name__}; got {found}")
        if kind is int and not 0 <= values[key] < 1 << 53:
            raise BadCheckpoint(f"{path}: {key} must be a count; got {brief(values[key])}")
    _check_classes(values["classes"], path)
    return values


def _check_classes(classes: list[Any], path: Path) -> None:
    for name in classes:
        if not (isinstance(name, str) and name.isprintable() and len(name) <= _MAX_NAME):
            raise BadCheckpoint(
                f"{path}: classes must be names of at most {_MAX_NAME} printable characters; got "
                f"{brief(name)}"
            )


def _read_weights(path: Path, sha256: str, network: torch.nn.Module) -> dict[str, Tensor]:
    """Reads the tensors of a network, half precision as float32, and checks their file's sum."""
    tensors = network.state_dict().values()
    most = sum(t.numel() * t.element_size() for t in tensors) + _MAX_HEADER
    try:
        if not path.is_file():
            raise BadCheckpoint(f"{path}: {'not a' if path.exists() else 'no such'} file")
        size = path.stat().st_size
        with open(path, "rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > min(_MAX_HEADER, size - 8):
            raise BadCheckpoint(f"{path}: not a safetensors file, or cut short")
        if size > most:
            raise BadCheckpoint(f"{path}: {size:,} bytes; the network of {CONFIG} has {most:,}")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BadCheckpoint(f"{path}: damaged, or not the file that {CONFIG} describes")
        found = safetensors.torch.load(data)
    except OSError as error:
        raise BadCheckpoint(f"{path}: {error.strerror}") from None
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise BadCheckpoint(f"{path}: not a safetensors file ({brief(str(error))})") from None
    weights = {k: t.float() if t.dtype == torch.float16 else t for k, t in found.items()}
    try:
        check_tensors(network.state_dict(), weights, "weights")
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{path}: {error}") from None
    return weights


def write_folder(
    checkpoint: Checkpoint,
    folder: Path,
    *,
    half: bool = False,
    discriminator: bool = False,
    **more: Any,
) -> None:
    """Writes the averaged generator of a checkpoint, and on request its D.

    `half` stores convolutions and class vectors as float16, and normalisations as they are. `more`
    are further keys of config.json, such as the evaluation. Raises ValueError if the folder is a
    run, or `read_folder` would refuse it.
    """
    if is_run(folder):
        raise ConfigError(f"{folder} is a run; choose a folder of its own")
    values = {
        "library_name": "gan",
        "format": _FORMAT,
        **{key: getattr(checkpoint, key) for key in _FIELDS},
        **more,
    }
    if start := values["config"].get("train", {}).get("init_from"):
        train = {**values["config"]["train"], "init_from": Path(start).name}  # no private paths
        values["config"] = {**values["config"], "train": train}
    _check_classes(checkpoint.classes, folder / CONFIG)
    files = {MODEL: _encode(checkpoint.g_ema, half=half)}
    values["sha256"] = hashlib.sha256(files[MODEL]).hexdigest()
    if discriminator:
        files[DISCRIMINATOR] = _encode(checkpoint.d, half=half)
        values["discriminator_sha256"] = hashlib.sha256(files[DISCRIMINATOR]).hexdigest()
    files[CONFIG] = (json.dumps(values, indent=2) + "\n").encode()
    if len(files[CONFIG]) > _MAX_CONFIG:  # before an older generator is replaced
        raise ValueError(f"{folder / CONFIG}: would have more than {_MAX_CONFIG:,} bytes")
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        with replacing(folder / name) as part:
            part.write_bytes(data)


def _encode(weights: dict[str, Tensor], *, half: bool) -> bytes:
    """Returns weights as the bytes of a safetensors file."""
    kept = {
        key: (tensor.half() if half and tensor.ndim > 1 else tensor)
        .contiguous(memory_format=torch.contiguous_format)
        .clone()
        for key, tensor in weights.items()
    }
    return safetensors.torch.save(kept, metadata={"format": "pt"})
