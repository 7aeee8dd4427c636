"""Owns what a run needs: classes, parameters, memory, counted before any is taken."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan.config.settings import Config
from gan.errors import ConfigError
from gan.nn.discriminator import Discriminator
from gan.nn.generator import Generator


@dataclass(frozen=True)
class Needs:
    """Counts for a whole run, bytes for one process."""

    g_parameters: int
    d_parameters: int
    checkpoint_bytes: int
    memory_bytes: int  # weights, gradients, moments, the average, and one step's activations


def needs(cfg: Config, num_classes: int, world_size: int = 1) -> Needs:
    """Builds the networks without memory and runs two images through them."""
    with torch.device("meta"), torch.no_grad():
        g = Generator(cfg.model, cfg.data.image_shape, num_classes)
        d = Discriminator(cfg.model, cfg.data.image_shape, num_classes)
        labels = torch.zeros(2, dtype=torch.long) if g.num_classes else None
        g_features = _count_outputs(g, torch.zeros(2, cfg.model.z_dim), labels)
        d_features = _count_outputs(d, torch.zeros(2, *cfg.data.image_shape), labels)
    num_g, num_d = (sum(p.numel() for p in net.parameters()) for net in (g, d))
    batch = cfg.train.batch_size / world_size
    # D holds the features of real and fake images at once; two bytes each in bf16, four in fp32
    activations = 4 * batch * (g_features + 2 * d_features) / 2
    return Needs(
        g_parameters=num_g,
        d_parameters=num_d,
        checkpoint_bytes=4 * (4 * num_g + 3 * num_d),
        memory_bytes=int(4 * (5 * num_g + 4 * num_d) + activations),
    )


def require_memory(
    cfg: Config, num_classes: int, device: torch.device, world_size: int = 1
) -> Needs:
    """Returns what a run takes.

    Raises ConfigError, with the figures, if it cannot fit into this machine's memory.
    """
    counted = needs(cfg, num_classes, world_size)
    needed = counted.memory_bytes
    if device.type == "cuda":
        there = torch.cuda.get_device_properties(device).total_memory
    else:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise ConfigError(
            f"this run needs about {needed / 1e9:,.1f} GB of memory and the {device.type} has "
            f"{there / 1e9:,.1f} GB; lower train.batch_size, data.image_size, model.g_width or "
            "model.d_width"
        )
    return counted


def require_classes(cfg: Config, num_classes: int) -> None:
    """Raises ValueError if classes are asked for and the data has none."""
    if cfg.model.conditional and not num_classes:
        raise ValueError(
            f"model.conditional: data.source {cfg.data.source} has no classes here; for a folder, "
            "put the images of each class into a subfolder of its own"
        )


def _count_outputs(network: nn.Module, *inputs: Tensor | None) -> int:
    """Counts the numbers that all layers put out for these inputs."""
    counted = 0

    def count(module: nn.Module, args: tuple, output: Tensor) -> None:
        nonlocal counted
        counted += output.numel()

    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    network(*inputs)
    return counted
