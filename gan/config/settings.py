"""The settings of an experiment: type, default, bounds, meaning, and which combinations are valid.

A setting that does not change what a run computes (a length, a cadence, a path) is free, and left
out of dumps; the others identify the run and are stored in every checkpoint. Null turns a setting
off.
"""

import os
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gan.config.sizes import largest_translation, num_levels

SourceName = Literal["mnist5k", "mnist", "fashion_mnist", "cifar10", "celeba", "stacked_mnist",
                     "folder", "synthetic"]  # fmt: skip


def _setting(default: Any, description: str, **bounds: Any) -> Any:
    return Field(default, description=description, **bounds)


def _free(default: Any, description: str, **bounds: Any) -> Any:
    return _setting(default, description, exclude=True, **bounds)


class Section(BaseModel):
    # a default is validated, so that it has the type of the same value in a file
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )


class DataConfig(Section):
    """The training images."""

    source: SourceName = _setting("mnist", "data set; mnist5k needs no download")
    root: str = Field(
        default_factory=lambda: os.environ.get("GAN_DATA") or "data",
        description="folder of the data sets (default: $GAN_DATA, else data); for source folder, "
        "the folder or zip of images itself (no default)",
        exclude=True,
    )
    image_size: int | tuple[int, int] = _setting(
        28, "pixels, one side or [height, width], 16 to 512"
    )
    channels: Literal[1, 3, 4] = _setting(1, "1 grey, 3 RGB, 4 RGB and opacity (source folder)")
    fit: Literal["crop", "pad", "squash"] = _setting(
        "crop",
        "crop: resize the short side, cut the centre; pad: add a black border (transparent with 4 "
        "channels), no resampling; squash: resize both sides",
    )
    flip: bool = _setting(False, "mirror images at random; for faces, not for digits")
    on_bad_image: Literal["error", "skip"] = _setting(
        "error", "what to do about an unreadable image: stop with a list, or skip it"
    )
    hold_out: float = _setting(
        0.0, "share of the images of source folder that is kept for evaluation", ge=0, le=0.5
    )

    @model_validator(mode="before")
    @classmethod
    def _without_root(cls, values: Any) -> Any:
        # the default would be the images of all data sets
        is_folder = isinstance(values, dict) and values.get("source") == "folder"
        return {"root": "", **values} if is_folder else values

    @field_validator("image_size", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        if isinstance(value, list):
            value = tuple(value)
        sides = value if isinstance(value, tuple) else (value, value)
        if len(sides) == 2 and all(type(side) is int for side in sides):
            num_levels(*sides)
            return value if sides[0] != sides[1] else sides[0]
        return value

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a training image."""
        size = self.image_size
        height, width = size if isinstance(size, tuple) else (size, size)
        return self.channels, height, width


class ModelConfig(Section):
    """The two networks."""

    z_dim: int = _setting(100, "length of the latent vector", ge=1, le=4096)
    z_dist: Literal["normal", "uniform"] = _setting("normal", "N(0, 1) or U(-1, 1)")
    g_width: int = _setting(64, "channels of the generator's last hidden layer", ge=1, le=1024)
    d_width: int = _setting(64, "channels of the discriminator's first layer", ge=1, le=1024)
    conditional: bool = _setting(False, "the class is an input of both networks")
    kernel: Literal[4, 5] = _setting(
        4, "kernel size of the strided layers; the paper's authors used 5"
    )
    upsample: Literal["transposed", "balanced", "resize", "subpixel", "reference"] = _setting(
        "transposed",
        "how G doubles the size; balanced: transposed, and a constant map gives a constant image; "
        "reference: this project's own transposed convolution",
    )
    d_extra_layers: int = _setting(
        0, "3x3 convolutions after D's last halving; one helps on CIFAR-10", ge=0, le=4
    )
    d_border: Literal["grey", "black"] = _setting(
        "grey", "what D sees around an image; black shows D the contrast"
    )


class TrainConfig(Section):
    """The training run."""

    seed: int = _setting(0, "seed of initial weights, data order and latents", ge=0, lt=2**31)
    batch_size: int = _setting(64, "images per step, over all ranks", ge=2, le=65536)
    num_steps: int = _free(20_000, "length of the run", ge=1)
    max_minutes: float | None = _free(None, "stop this call after this many minutes", gt=0)
    loss: Literal["non_saturating", "hinge"] = _setting(
        "non_saturating", "adversarial loss on logits"
    )
    class_loss_weight: float = _setting(
        0.0,
        "weight of D's auxiliary classification loss on real images; needs model.conditional",
        ge=0,
    )
    augment: Literal["translate"] | None = _setting(
        None, "translate: shift all images that D sees at random"
    )
    translate_pixels: int | None = _setting(
        None, "largest translation of augment; null: an eighth of the side", ge=1
    )
    augment_ramp_epochs: float | None = _setting(
        None,
        "the share of images that are augmented (and get colour_noise) rises from 0 to 1 over this "
        "many passes through the data; null: 1 from the start",
        gt=0,
    )
    colour_noise: float | None = _setting(
        None,
        "standard deviation, in grey levels of 255, of noise on the colours (not the brightness) "
        "of the images that D sees; hides from D that JPEG files have coarse colours",
        gt=0,
        le=255,
    )
    g_learning_rate: float = _setting(5e-4, "Adam, generator, at the start", gt=0, le=1)
    d_learning_rate: float = _setting(5e-4, "Adam, discriminator, at the start", gt=0, le=1)
    beta1: float = _setting(0.5, "Adam's decay of the mean gradient", ge=0, lt=1)
    beta2: float = _setting(0.999, "Adam's decay of the mean squared gradient", ge=0, lt=1)
    learning_rate_halflife_images: int | None = _setting(
        100_000,
        "both learning rates are multiplied by 1 / (1 + images / this); null: constant",
        ge=1,
    )
    ema_halflife_images: float | None = _setting(
        50_000, "half-life of G's weight average; null: no averaging", gt=0
    )
    ema_warmup: float = _setting(
        0.1, "the half-life is at most this share of the images seen", gt=0
    )
    init_from: str | None = _setting(
        None,
        "run, checkpoint, exported folder or shipped generator whose networks a new run starts "
        "from; Adam, learning rates and the average of G start again (and D, if it has none)",
        min_length=1,
    )
    on_collapse: Literal["warn", "stop"] = _free(
        "warn", "after 50,000 images with a sign of collapse: warn, or save and stop"
    )
    log_every_steps: int = _free(
        50, "cadence of losses, scalars and the check for finite losses", ge=1
    )
    sample_every_steps: int | None = _free(
        500, "cadence of image grids and of the check for collapse; null: start and end", ge=1
    )
    evaluate_every_steps: int | None = _free(
        None, "cadence of evaluation, which keeps checkpoints/best.pt; null: never", ge=1
    )
    checkpoint_every_steps: int | None = _free(
        1000, "cadence of checkpoints; null: after the first minute and at the end", ge=1
    )
    keep_checkpoints: int = _free(3, "newest checkpoints to keep", ge=2)


class HardwareConfig(Section):
    """How the machine computes; auto takes the fastest."""

    precision: Literal["auto", "fp32", "bf16"] = _free("auto", "number format of the convolutions")
    channels_last: Literal["auto", "on", "off"] = _free("auto", "memory layout")
    threads: int | None = _free(
        None, "CPU threads; null: $OMP_NUM_THREADS, else one per core", ge=1, le=1024
    )


class Config(Section):
    """A whole experiment."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    hardware: HardwareConfig = Field(default_factory=HardwareConfig)

    @model_validator(mode="after")
    def _check_combinations(self) -> "Config":
        data, model, train = self.data, self.model, self.train
        problems = []
        if data.source != "folder" and (data.hold_out or data.channels == 4):
            problems.append(
                f"data.hold_out and data.channels 4 are for source folder, not {data.source}; set "
                "data.hold_out to 0 and data.channels to 1 or 3"
            )
        if train.class_loss_weight and not model.conditional:
            problems.append(
                "train.class_loss_weight needs model.conditional true; change this, or set it to 0"
            )
        most = largest_translation(min(data.image_shape[1:]))
        if (train.translate_pixels or 0) > most:
            problems.append(
                f"train.translate_pixels {train.translate_pixels} is more than an eighth of the "
                f"side; set it to {most} or less"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self
