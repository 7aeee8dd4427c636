"""Owns the way of tensors to a device, without waiting for what it is doing."""

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Returns the tensor on the device; a GPU copies it in its turn, from pinned memory."""
    if device.type != "cuda":
        return tensor.to(device)
    return (tensor if tensor.is_cuda else tensor.pin_memory()).to(device, non_blocking=True)
