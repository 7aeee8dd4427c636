"""The ranks of a run: their number, averaged gradients, agreement on values.

Every function does nothing in a single process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed as dist
from torch import nn

# Its functions have the default group as a default argument. If it is first imported while a group
# exists, it keeps the group and gloo's threads alive after destroy_process_group, and a thread that
# frees a tensor during Python's shutdown can abort the process (SIGABRT).
import torch.distributed.nn.functional  # isort: skip

# The longest wait is for rank 0 to evaluate. A rank that dies is noticed at once.
_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class Ranks:
    """The rank of this process and the number of ranks."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def launched_rank() -> Ranks:
    """Returns the rank that torchrun gave this process, before the processes have joined."""
    if not dist.is_torchelastic_launched():
        return Ranks()
    return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


@contextmanager
def process_group(device: torch.device) -> Iterator[Ranks]:
    """Joins the processes that torchrun started, for the duration of the block."""
    if not dist.is_torchelastic_launched():
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # gloo carries Python objects and the stop flag without synchronising with the GPU
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    store, rank, world_size = next(dist.rendezvous("env://", timeout=_TIMEOUT))
    if os.environ["TORCHELASTIC_USE_AGENT_STORE"] == "True":
        # torchrun's store survives a restart and still has the addresses of the dead ranks
        store = dist.PrefixStore(os.environ["TORCHELASTIC_RESTART_COUNT"], store)
    dist.init_process_group(
        backend, store=store, rank=rank, world_size=world_size, timeout=_TIMEOUT
    )
    try:
        yield Ranks(rank, world_size)
    finally:
        dist.destroy_process_group()


def average_gradients(module: nn.Module, ranks: Ranks) -> None:
    """Replaces a module's gradients by their mean over the ranks, with one flat all-reduce."""
    if ranks.world_size == 1:
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= ranks.world_size
    parts = flat.split([gradient.numel() for gradient in gradients])
    shaped = [part.view(g.shape) for part, g in zip(parts, gradients, strict=True)]
    torch._foreach_copy_(gradients, shaped)


def from_first(value: Any, ranks: Ranks) -> Any:
    """Returns rank 0's value on every rank."""
    if ranks.world_size == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def largest(number: int, ranks: Ranks) -> int:
    """Returns the largest of the ranks' numbers."""
    if ranks.world_size == 1:
        return number
    shared = torch.tensor([number])
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return int(shared)
