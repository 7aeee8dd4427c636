"""What a run needs: memory, and classes if they are an input."""

import os

import torch

from gan.config.settings import Config
from gan.config.sizes import num_levels
from gan.errors import ConfigError
from gan.nn.discriminator import Discriminator
from gan.nn.generator import Generator, hidden_channels
from gan.training.state import num_parameters


def require_memory(cfg: Config, num_classes: int, device: torch.device, world_size: int = 1) -> int:
    """Returns the bytes that one process needs, an estimate: weights, gradients, moments, average,
    activations. Raises ConfigError if this machine has less memory."""
    with torch.device("meta"):
        g = Generator(cfg.model, cfg.data.image_shape, num_classes)
        d = Discriminator(cfg.model, cfg.data.image_shape, num_classes)
    per_image = _activations(cfg.model.g_width, cfg) + 2 * _activations(cfg.model.d_width, cfg)
    batch = cfg.train.batch_size / world_size  # D holds its activations of real and fake images
    needed = int(4 * (5 * num_parameters(g) + 4 * num_parameters(d) + batch * per_image))
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
    else:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > total:
        raise ConfigError(
            f"this run needs about {needed / 1e9:,.1f} GB of memory and the {device.type} has "
            f"{total / 1e9:,.1f} GB; lower train.batch_size, data.image_size, model.g_width or "
            "model.d_width"
        )
    return needed


def require_classes(cfg: Config, num_classes: int) -> None:
    """Raises ConfigError if the class is an input and the data has no classes."""
    if cfg.model.conditional and not num_classes:
        raise ConfigError(
            f"model.conditional is true and data.source {cfg.data.source} has no classes; put the "
            "images of each class into a subfolder, or set model.conditional to false"
        )


def _activations(width: int, cfg: Config) -> int:
    """Returns the values that a network keeps of one image: three for each of its features."""
    channels, height, width_px = cfg.data.image_shape
    features = hidden_channels(width, num_levels(height, width_px))
    hidden = sum(c * height * width_px >> 2 * level for level, c in enumerate(features, 1))
    return 3 * hidden + 2 * channels * height * width_px
