"""Owns every setting of an experiment: its type, default, bounds and meaning, and the YAML reader.

A setting that does not change what a run computes (a length, a cadence, a place) is marked free;
all others are the run's identity, which every checkpoint carries.
"""

import difflib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from gan.nn.sizes import num_levels
from gan.strict_yaml import parse_yaml

_MAX_YAML_BYTES = 1 << 20

SourceName = Literal[
    "mnist5k",
    "mnist",
    "fashion_mnist",
    "cifar10",
    "celeba",
    "stacked_mnist",
    "folder",
    "synthetic",
]


class ConfigError(ValueError):
    """Tells a user what to change in a config, one problem a line."""


def _free(default: Any, description: str, **bounds: Any) -> Any:
    extra: dict[str, Any] = {"free": True}
    return Field(default, description=description, json_schema_extra=extra, **bounds)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataConfig(_Section):
    """What the networks learn from."""

    source: SourceName = Field(
        "mnist", description="where the images come from; mnist5k needs no download"
    )
    root: str = Field(
        default_factory=lambda: os.environ.get("GAN_DATA") or "data",
        description="folder of the data sets (default: $GAN_DATA, else data); "
        "for source folder, the folder or zip of images itself",
        json_schema_extra={"free": True},
    )
    image_size: int | tuple[int, int] = Field(
        28, description="pixels, a side or [height, width], 16 to 512"
    )
    channels: Literal[1, 3] = Field(1, description="1 grey, 3 RGB")
    fit: Literal["crop", "pad", "squash"] = Field(
        "crop",
        description="crop: resize the short side, cut the centre; pad: add a black border, "
        "no resampling; squash: resize both sides",
    )
    flip: bool = Field(False, description="mirror images at random; for faces, not for digits")
    on_bad_image: Literal["error", "skip"] = Field(
        "error", description="what an unreadable image does: stop with a list, or be left out"
    )

    @field_validator("image_size", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        if isinstance(value, list):
            value = tuple(value)
        sides = value if isinstance(value, tuple) else (value, value)
        if len(sides) == 2 and all(type(side) is int for side in sides):
            num_levels(*sides)
        return value

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a training image."""
        size = self.image_size
        height, width = size if isinstance(size, tuple) else (size, size)
        return self.channels, height, width


class ModelConfig(_Section):
    """The two networks."""

    z_dim: int = Field(100, description="length of the latent vector", ge=1, le=4096)
    z_dist: Literal["normal", "uniform"] = Field("normal", description="N(0, 1) or U(-1, 1)")
    g_width: int = Field(
        64, description="channels of the generator's last hidden layer", ge=1, le=1024
    )
    d_width: int = Field(
        64, description="channels of the discriminator's first layer", ge=1, le=1024
    )
    conditional: bool = Field(False, description="tell both networks the class of each image")
    kernel: Literal[4, 5] = Field(
        4, description="kernel of the strided layers; the authors' code has 5"
    )
    upsample: Literal["transposed", "resize", "subpixel", "reference"] = Field(
        "transposed",
        description="how G doubles the size; reference: this project's own transposed convolution",
    )
    d_norm: Literal["batch", "spectral", "none"] = Field(
        "batch", description="normalisation in the discriminator"
    )
    pac: Literal[1, 2] = Field(1, description="images that D judges together (PacGAN)")


class TrainConfig(_Section):
    """The training run."""

    seed: int = Field(0, description="of weights, data order, latents", ge=0, lt=2**31)
    batch_size: int = Field(64, description="images a step, over all ranks", ge=2, le=65536)
    num_steps: int = _free(20_000, "length of the run", ge=1)
    max_minutes: float | None = _free(
        None, "stop after so many minutes of this call, if num_steps is not reached", gt=0
    )
    loss: Literal["non_saturating", "hinge", "relativistic"] = Field(
        "non_saturating", description="adversarial loss on logits"
    )
    penalty: Literal["none", "r1", "r1_r2"] = Field(
        "none", description="gradient penalty of D: on real images, or on real and fake ones"
    )
    penalty_gamma: float = Field(1.0, description="weight of the penalty", gt=0)
    augment: Literal["none", "diffaugment"] = Field(
        "none", description="differentiable augmentation of all that D sees"
    )
    g_learning_rate: float = Field(5e-4, description="Adam, generator, at the start", gt=0, le=1)
    d_learning_rate: float = Field(
        5e-4, description="Adam, discriminator, at the start", gt=0, le=1
    )
    beta1: float = Field(0.5, description="Adam", ge=0, lt=1)
    beta2: float = Field(0.999, description="Adam", ge=0, lt=1)
    learning_rate_halflife_images: int | None = Field(
        100_000,
        description="images after which both learning rates have halved; "
        "they go on as 1 / (1 + images / this); null: constant",
        ge=1,
    )
    ema_halflife_images: float = Field(
        50_000, description="half-life of G's average weights; 0: no averaging", ge=0
    )
    ema_warmup: float = Field(
        0.1, description="the half-life is at most this share of the images seen", gt=0
    )
    init_from: str | None = Field(
        None,
        description="checkpoint whose networks a new run starts from; its learning rates, their "
        "fall and the average of G start anew",
    )
    on_collapse: Literal["warn", "stop"] = _free(
        "warn", "when D has won or samples are all alike for 50,000 images: go on, or save and end"
    )
    log_every_steps: int = _free(50, "cadence of the status line, scalars and checks", ge=1)
    sample_every_steps: int = _free(500, "cadence of image grids", ge=1)
    evaluate_every_steps: int = _free(
        0, "cadence of evaluation, which keeps checkpoints/best.pt; 0: never", ge=0
    )
    checkpoint_every_steps: int = _free(1000, "cadence of checkpoints", ge=1)
    keep_checkpoints: int = _free(3, "newest checkpoints to keep", ge=2)


class HardwareConfig(_Section):
    """How the machine computes; auto takes what is fastest here."""

    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="of the convolutions")
    channels_last: Literal["auto", "on", "off"] = Field("auto", description="memory layout")
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile; auto: off, since it gains too little to wait for"
    )
    threads: int = Field(
        0, description="CPU threads; 0: $OMP_NUM_THREADS, else one per core", ge=0, le=1024
    )


class Config(_Section):
    """A whole experiment."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    hardware: HardwareConfig = Field(default_factory=HardwareConfig)

    @model_validator(mode="after")
    def _combinations(self) -> "Config":
        if problems := list(_impossible(self)):
            raise ValueError("; ".join(problems))
        return self


def _impossible(config: Config) -> Iterator[str]:
    model, train = config.model, config.train
    if train.penalty != "none" and model.d_norm == "batch":
        yield (
            f"train.penalty {train.penalty} needs a gradient for each image alone, which "
            "BatchNorm in D mixes over the batch; set model.d_norm to spectral or none"
        )
    if train.batch_size % model.pac:
        yield f"train.batch_size must be a multiple of model.pac; got {train.batch_size}"


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file and `section.key=value` overrides into a Config.

    Raises ConfigError with every problem at once: file, key path, value, nearest valid key.
    """
    values = _read(Path(path))
    for override in overrides:
        key, equals, text = override.partition("=")
        section, dot, field = key.partition(".")
        if not (equals and dot):
            raise ConfigError(f"--set wants section.key=value; got {override!r}")
        try:
            parsed = parse_yaml(text)
        except ValueError as error:
            raise ConfigError(f"--set {override}: {error}") from None
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{path}: {section} must hold keys; got {inner!r:.80}")
        inner[field] = parsed
    return parse_config(values, origin=str(path))


def parse_config(values: Any, *, origin: str) -> Config:
    """Validates nested plain values; `origin` names their file in the ConfigError."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = dict.fromkeys(f"{origin}: {_explain(problem)}" for problem in error.errors())
        raise ConfigError("\n".join(lines)) from None


def identity(config: Config) -> dict[str, Any]:
    """Returns, as plain nested values, the settings that decide what a run computes."""
    return {
        name: {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in section
            if not _is_free(type(section), key)
        }
        for name, section in config
    }


def describe(config: Config) -> str:
    """Returns the whole configuration as YAML, each key with its meaning as a comment."""
    lines = []
    for name, section in config:
        lines += [f"# {type(section).__doc__}", f"{name}:"]
        for key, field in type(section).model_fields.items():
            value = getattr(section, key)
            plain = list(value) if isinstance(value, tuple) else value
            text = (
                yaml.safe_dump(plain, default_flow_style=True, width=math.inf)
                .removesuffix("...\n")
                .strip()
            )
            lines.append(f"  {key}: {text}  # {field.description}{_choices(field.annotation)}")
        lines.append("")
    return "\n".join(lines)


def _is_free(section: type[BaseModel], key: str) -> bool:
    extra = section.model_fields[key].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("free"))


def _choices(annotation: Any) -> str:
    if getattr(annotation, "__origin__", None) is Literal:
        return f" ({' | '.join(str(choice) for choice in annotation.__args__)})"
    return ""


def _explain(problem: Any) -> str:
    keys = [str(part) for part in problem["loc"][:2]]  # deeper parts are pydantic's, not ours
    key = ".".join(keys)
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r:.120}{_suggestion(keys)}"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if not keys:
        return message
    return f"{key}: {message}; got {problem['input']!r:.80}"


def _suggestion(keys: list[str]) -> str:
    sections = Config.model_fields
    if len(keys) == 1:
        valid = list(sections)
    else:
        section: Any = sections[keys[0]].annotation
        valid = list(section.model_fields)
    near = difflib.get_close_matches(keys[-1], valid, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; valid keys: {', '.join(valid)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_YAML_BYTES:
            raise ConfigError(f"{path}: larger than 1 MiB; a config is a short YAML file")
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; name a YAML file, as in configs/") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file") from None
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must hold sections: {', '.join(Config.model_fields)}")
    return values
