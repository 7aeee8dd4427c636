"""The device, number format, memory layout and threads that suit the machine."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from gan.config.settings import HardwareConfig


@dataclass(frozen=True)
class Precision:
    """How a run computes. It decides the bits, so checkpoints record it."""

    dtype: torch.dtype  # of the convolutions; losses and weights stay float32
    channels_last: bool
    threads: int

    @property
    def layout(self) -> torch.memory_format:
        """Memory layout of weights and images."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @property
    def recorded(self) -> str:
        """The text in checkpoints: with other words, resuming would report another machine."""
        layout = "channels_last" if self.channels_last else "channels_first"
        return f"{str(self.dtype).removeprefix('torch.')}, {layout}, {self.threads} threads"

    def __str__(self) -> str:
        return self.recorded.replace(", 1 threads", ", 1 thread")


def choose_device(name: str) -> torch.device:
    """Returns the device for auto, cpu, cuda or mps. Raises ValueError if it is not available."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, is_available in available.items() if is_available)
    if not available.get(name):
        usable = " or ".join(kind for kind, is_available in available.items() if is_available)
        raise ValueError(f"device {name} cannot be used on this machine; use {usable}")
    return torch.device(name)


def choose_precision(cfg: HardwareConfig, device: torch.device) -> Precision:
    """Resolves the auto values of the hardware section for one device."""
    bf16 = _has_native_bf16(device) if cfg.precision == "auto" else cfg.precision == "bf16"
    return Precision(
        dtype=torch.bfloat16 if bf16 else torch.float32,
        channels_last=cfg.channels_last == "on" or (cfg.channels_last == "auto" and bf16),
        threads=cfg.threads or torch.get_num_threads(),
    )


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager:
    """Returns the context in which networks run."""
    enabled = precision.dtype != torch.float32
    return torch.autocast(device.type, precision.dtype, enabled=enabled)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Returns the tensor on the device; the copy to a GPU is asynchronous, from pinned memory."""
    if device.type != "cuda":
        return tensor.to(device)
    if not tensor.is_cuda:
        tensor = tensor.contiguous().pin_memory()  # an expanded tensor cannot be pinned
    return tensor.to(device, non_blocking=True)


def processor(device: torch.device) -> str:
    """Returns what decides the rounding of a device: a GPU's name, or a CPU's instructions."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    amx = " with AMX" if torch.cpu._is_amx_tile_supported() else ""
    return torch.backends.cpu.get_cpu_capability() + amx


def _has_native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False
