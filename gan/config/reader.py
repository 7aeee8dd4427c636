"""Reads YAML files and overrides into a Config, and writes a Config as text."""

import difflib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as brief
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import ValidationError

from gan.config.settings import Config
from gan.config.strict_yaml import parse_yaml
from gan.errors import ConfigError

_MAX_YAML_BYTES = 1 << 20
# settings that have been removed, with the values that say what is done now; older files hold them
_FORMER = {  # as text, because a foreign value may have no plain ==
    "model.d_norm": "'batch'",
    "model.pac": "1",
    "train.penalty": "None",
    "train.penalty_gamma": "1.0",
}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file and `section.key=value` overrides into a Config.

    Raises ConfigError with every problem at once: file, key, value, nearest valid key.
    """
    values = _read(Path(path))
    for override in overrides:
        key, equals, text = override.partition("=")
        section, dot, field = key.partition(".")
        if not (equals and dot):
            raise ConfigError(f"--set expects section.key=value; got {override!r:.200}")
        try:
            is_text = _annotation(section, field) in (str, str | None) and text != "null"
            parsed = text if is_text else parse_yaml(text)  # a path may look like other YAML
        except ValueError as error:
            raise ConfigError(f"--set {override:.200}: {error}") from None
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{path}: section {section} must hold keys; got {brief(inner)}")
        inner[field] = parsed
    return parse_config(values, origin=str(path))


def _annotation(section: str, field: str) -> Any:
    """Returns the type of a setting, None if there is no such setting."""
    inner: Any = Config.model_fields[section].annotation if section in Config.model_fields else None
    return inner.model_fields[field].annotation if inner and field in inner.model_fields else None


def parse_config(values: Any, *, origin: str) -> Config:
    """Validates nested plain values; errors name `origin` as their file. Raises ConfigError."""
    try:
        return Config.model_validate(_without_former(values))
    except ValidationError as error:
        lines = (line for problem in error.errors() for line in _explain(problem).split("\n"))
        # the keys of a section are listed once
        raise ConfigError("\n".join(dict.fromkeys(f"{origin}: {line}" for line in lines))) from None


def _without_former(values: Any) -> Any:
    """Leaves out the former settings that say what is done now."""
    if not isinstance(values, dict):
        return values
    kept = {
        name: {k: v for k, v in inner.items() if _FORMER.get(f"{name}.{k}") != brief(v)}
        for name, inner in values.items()
        if isinstance(inner, dict)
    }
    return {**values, **kept}


def identity(config: Config) -> dict[str, Any]:
    """Returns, as plain nested values, the settings that decide what a run computes."""
    kept = config.model_dump(mode="json")  # without the free ones
    return {name: section for name, section in kept.items() if section}


def flat_identity(config: Config) -> dict[str, Any]:
    """Returns the same settings by section.key."""
    return {
        f"{section}.{key}": value
        for section, values in identity(config).items()
        for key, value in values.items()
    }


def differences(a: dict[str, Any], b: dict[str, Any], name_a: str, name_b: str) -> list[str]:
    """Lists the settings in which two identities differ."""
    return [
        f"{section}.{key}: {name_a} has {a[section][key]!r}, {name_b} has {value!r}"
        for section, values in b.items()
        for key, value in values.items()
        if a[section][key] != value
    ]


def describe(config: Config) -> str:
    """Returns the whole configuration as YAML, with the meaning of each key as a comment."""
    lines = []
    for name, section in config:
        lines += [f"# {type(section).__doc__}", f"{name}:"]
        for key, field in type(section).model_fields.items():
            value = getattr(section, key)
            dumped = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
            text = dumped.removesuffix("...\n").strip()
            # not for a tuple, or a string such as 1e5, which YAML 1.2 reads as a number
            if parse_yaml(text) != value:
                text = json.dumps(value)
            lines.append(f"  {key}: {text}  # {field.description}{_choices(field.annotation)}")
        lines.append("")
    return "\n".join(lines)


def _choices(annotation: Any) -> str:
    kinds = annotation, *get_args(annotation)  # X | None has X among its arguments
    choices = [str(v) for kind in kinds if get_origin(kind) is Literal for v in get_args(kind)]
    if choices and type(None) in kinds:
        choices.append("null")
    return f" ({' | '.join(choices)})" if choices else ""


def _explain(problem: Any) -> str:
    keys = [str(part) for part in problem["loc"][:2]]  # deeper parts are pydantic's, not ours
    key = ".".join(keys)
    if problem["type"] == "extra_forbidden" and key in _FORMER:
        value = brief(problem["input"])
        return f"{key} has been removed, so {value} needs an earlier version of gan"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r:.120}{_suggestion(keys)}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if not keys:
        return message
    return f"{key}: {message}; got {brief(problem['input'])}{_null_hint(keys, problem['input'])}"


def _null_hint(keys: list[str], value: Any) -> str:
    can_be_null = len(keys) == 2 and type(None) in get_args(_annotation(*keys))
    is_off = isinstance(value, int | str) and value in (0, "none", "off")  # not a tensor
    return "; null turns it off" if can_be_null and is_off else ""


def _suggestion(keys: list[str]) -> str:
    section: Any = Config if len(keys) == 1 else Config.model_fields[keys[0]].annotation
    valid = list(section.model_fields)
    near = difflib.get_close_matches(keys[-1], valid, n=1, cutoff=0.5)
    where = f"keys of {keys[0]}" if len(keys) == 2 else "sections"
    return f"; did you mean {near[0]!r}?" if near else f"\nthe {where}: {', '.join(valid)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a file")
        if path.stat().st_size > _MAX_YAML_BYTES:
            raise ValueError("larger than 1 MiB; a config is a short YAML file")
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no such file {path}; {_nearest(path)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; configs/ has examples") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold the sections {', '.join(Config.model_fields)}")
    # a section whose keys are all comments
    return {name: {} if keys is None else keys for name, keys in values.items()}


def _nearest(path: Path) -> str:
    files = [*path.parent.glob("*.yaml"), *Path("configs").glob("*.yaml")]
    by_name = {file.stem: file for file in files}
    names = difflib.get_close_matches(path.stem, by_name, n=1)
    return f"did you mean {by_name[names[0]]}?" if names else "configs/ has examples"
