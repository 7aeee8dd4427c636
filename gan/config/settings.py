"""Owns every setting of an experiment: its type, default, bounds and meaning.

A setting that does not change what a run computes (a length, a cadence, a place) is marked free;
all others are the run's identity, which every checkpoint carries.
"""

import os
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gan.config.sizes import num_levels

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


def _free(default: Any, description: str, **bounds: Any) -> Any:
    extra: dict[str, Any] = {"free": True}
    return Field(default, description=description, json_schema_extra=extra, **bounds)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataConfig(Section):
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


class ModelConfig(Section):
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


class TrainConfig(Section):
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
    class_loss_weight: float = Field(
        0.0,
        description="of the cross-entropy by which D learns to name the class of real images; "
        "needs model.conditional",
        ge=0,
    )
    augment: Literal["none", "translate", "diffaugment"] = Field(
        "none",
        description="differentiable augmentation of all that D sees; diffaugment: colours, "
        "translation, cutout",
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


class HardwareConfig(Section):
    """How the machine computes; auto takes what is fastest here."""

    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="of the convolutions")
    channels_last: Literal["auto", "on", "off"] = Field("auto", description="memory layout")
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile; auto: off, since it gains too little to wait for"
    )
    threads: int = Field(
        0, description="CPU threads; 0: $OMP_NUM_THREADS, else one per core", ge=0, le=1024
    )


class Config(Section):
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
    if train.class_loss_weight and not (model.conditional and model.pac == 1):
        yield (
            "train.class_loss_weight needs model.conditional, whose class D is to name, and "
            "model.pac 1, since a pair has two; else set it to 0"
        )
    if train.batch_size % model.pac:
        yield f"train.batch_size must be a multiple of model.pac; got {train.batch_size}"
