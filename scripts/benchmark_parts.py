"""Parts of benchmark.py: interleaved timing, limits of the machine, data path and commands. Other
scripts use its `machine` and `train_whole`."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gan.config.settings import Config, DataConfig
from gan.data.batches import batches
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.machine.precision import autocast
from gan.machine.replay import PLAIN_CALLS
from gan.pretrained.load import read_source
from gan.training.loop import train
from gan.training.run import Ending
from gan.training.state import TrainState

Calls = dict[str, Callable[[], Any]]

_CPU = torch.device("cpu")
_GPU_CALLS = 20  # per measurement


def train_whole(cfg: Config, run_dir: Path, device_name: str = "auto") -> None:
    """Trains to the end, or raises click.ClickException if the run was interrupted."""
    if train(cfg, run_dir, device_name, read=read_source).ending != Ending.DONE:
        raise click.ClickException(f"{run_dir} was interrupted; give the same command to resume")


def machine() -> str:
    """Returns date, GPU, processor, threads and torch version."""
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return (
        f"{time.strftime('%Y-%m-%d')}, {gpu}{processor}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}"
    )


def speeds(
    calls: Calls, num_images: int, rounds: int, device: torch.device = _CPU
) -> dict[str, float]:
    """Returns images/s of each call: medians over rounds in which each is measured once.

    On a GPU a measurement is 20 calls between two CUDA events.
    """
    on_gpu = device.type == "cuda"
    seconds = _seconds_on_gpu if on_gpu else _seconds
    for run in calls.values():
        for _ in range(PLAIN_CALLS + 2 if on_gpu else 2):  # warm-up
            run()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, run in calls.items():
            times[name].append(seconds(run))
    return {name: num_images / statistics.median(spent) for name, spent in times.items()}


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _seconds_on_gpu(run: Callable[[], Any]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(_GPU_CALLS):
        run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000 / _GPU_CALLS


def kernel_costs(run: Callable[[], Any]) -> dict[str, float]:
    """Returns the share of a call during which the GPU computes, and the number of kernels.

    The kernels' times come from torch's profiler, the call's from events without the profiler.
    """
    whole = _seconds_on_gpu(run)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as found:
        for _ in range(_GPU_CALLS):
            run()
        torch.cuda.synchronize()
    kernels = [e for e in found.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    busy = sum(kernel.time_range.elapsed_us() for kernel in kernels) / 1e6 / _GPU_CALLS
    return {"kernel_share": busy / whole, "kernels": len(kernels) / _GPU_CALLS}


def matrix_peaks(device: torch.device) -> dict[str, float]:
    """Returns the best GFLOP/s of a square matrix product in each number format."""
    peaks, side = {}, 8192 if device.type == "cuda" else 2048
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))
        peaks[name] = speeds({"": lambda a=a, b=b: a @ b}, 1, 9, device)[""] * 2 * side**3 / 1e9
    return peaks


def convolution_time(state: TrainState, cfg: Config, images: Tensor, rounds: int) -> float:
    """Returns the seconds that the convolutions of one step take by themselves.

    Each pass counts in the fastest of four combinations of number format and memory layout.
    """
    real = torch.zeros(images.shape, device=state.device)
    z = torch.zeros(len(images), cfg.model.z_dim, device=state.device)
    total = 0.0
    for module, inputs in _convolution_inputs(state, state.g, z):
        first = module is state.g.layers[0]
        total += _fastest(module, inputs, rounds, forward=1, to_input=not first, to_weight=1)
    for module, inputs in _convolution_inputs(state, state.d, real):
        first = inputs.shape == real.shape
        to_input = 1 if first else 3
        # D sees real, fake, and fake again in G's step, which needs no weight gradients
        total += _fastest(module, inputs, rounds, forward=3, to_input=to_input, to_weight=2)
    return total


def _convolution_inputs(
    state: TrainState, network: nn.Module, x: Tensor
) -> list[tuple[nn.Module, Tensor]]:
    found: list[tuple[nn.Module, Tensor]] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, args: found.append((module, args[0])))
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    with torch.no_grad(), autocast(state.precision, state.device):
        network(x)
    for hook in hooks:
        hook.remove()
    return found


def _fastest(
    module: Any, x: Tensor, rounds: int, *, forward: int, to_input: int, to_weight: int
) -> float:
    """Returns the seconds of this many passes, each in its fastest format and layout."""
    transposed = isinstance(module, nn.ConvTranspose2d)
    how = (module.stride, module.padding, module.dilation, transposed, module.output_padding,
           module.groups)  # fmt: skip
    run, back = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
    times: dict[str, list[float]] = {"forward": [], "input": [], "weight": []}
    for dtype in (torch.float32, torch.bfloat16):
        for layout in (torch.contiguous_format, torch.channels_last):
            a = x.to(dtype).contiguous(memory_format=layout)
            w = module.weight.detach().to(dtype).contiguous(memory_format=layout)
            out = run(a, w, None, *how)
            passes: Calls = {
                "forward": partial(run, a, w, None, *how),
                "input": partial(back, out, a, w, None, *how, [True, False, False]),
                "weight": partial(back, out, a, w, None, *how, [False, True, False]),
            }
            for name, speed in speeds(passes, 1, rounds, x.device).items():
                times[name].append(1 / speed)
    counts = {"forward": forward, "input": to_input, "weight": to_weight}
    return sum(min(times[name]) * count for name, count in counts.items())


def data_path(folder: Path, rounds: int) -> dict[str, float]:
    """Times the packed array and ImageFolder with DataLoader on 2,000 JPEGs of CelebA's size."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    root = folder / "images"
    (root / "one").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(2000):
        coarse = Image.fromarray(rng.integers(0, 256, (14, 11, 3), np.uint8))
        coarse.resize((178, 218), Image.Resampling.BICUBIC).save(root / "one" / f"{i}.jpg")
    cfg = DataConfig(source="folder", root=str(root / "one"), image_size=64, channels=3)
    stream = batches(pack(open_source(cfg), cfg), 64, seed=0, flip=True)
    change = transforms.Compose(
        [transforms.Resize(64), transforms.CenterCrop(64), transforms.RandomHorizontalFlip(),
         transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    )  # fmt: skip
    loader = DataLoader(
        datasets.ImageFolder(str(root), change), 64, shuffle=True, num_workers=2,
        persistent_workers=True, drop_last=True,
    )  # fmt: skip
    whole = len(loader)

    def ours() -> None:
        for _ in range(whole):
            next(stream)[0].float().div_(127.5).sub_(1)

    return speeds({"ImageFolder": lambda: [*loader], "gan": ours}, whole * 64, rounds)


def data_sizes(folder: Path) -> list[tuple[int, float, float]]:
    """Returns (number, ms per batch of 64, private memory added in MB) for 10^3 to 10^6 images."""
    found = []
    for num in (10**3, 10**4, 10**5, 10**6):
        path = folder / f"{num}.npy"
        made = np.lib.format.open_memmap(path, "w+", np.uint8, (num, 1, 28, 28))
        made[:] = 7
        made.flush()
        del made
        before = _private_mb()
        packed = PackedImages(np.load(path, mmap_mode="r"), None, (), "", folder)
        stream = batches(packed, 64, seed=0, flip=True)
        next(stream)
        started = time.perf_counter()
        for _ in range(2000):
            next(stream)
        found.append((num, (time.perf_counter() - started) / 2, _private_mb() - before))
        del packed, stream
        path.unlink()
    return found


def _private_mb() -> float:
    """Returns this process's memory that is not backed by a file, in MB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return float(status.split("RssAnon:")[1].split()[0]) / 1024


def command_costs(folder: Path) -> dict[str, float]:
    """Returns the time and memory of `gan train` and `gan sample` as commands."""
    config = Path(__file__).parents[1] / "configs" / "smoke.yaml"
    run_dir = folder / "run"
    gan = [sys.executable, "-m", "gan"]
    environ = {**os.environ, "GAN_DATA": str(folder)}

    def seconds(*words: str) -> float:
        started = time.perf_counter()
        subprocess.run([*gan, *words], check=True, capture_output=True, env=environ)
        return time.perf_counter() - started

    train = ["train", str(config), "--run-dir", str(run_dir), "--set", "train.log_every_steps=1"]
    first = seconds(*train, "--set", "train.num_steps=1")
    image = seconds("sample", str(run_dir), "--num", "1", "--out", str(folder / "one.png"))
    changes = ("data.image_size=64", "model.g_width=64", "model.d_width=64",
               "train.batch_size=64", "train.num_steps=3")  # fmt: skip
    large = ["train", str(config), "--run-dir", str(folder / "large")]
    for change in changes:
        large += ["--set", change]
    seconds(*large)
    rows = (folder / "large" / "metrics.jsonl").read_text().splitlines()
    peak = json.loads(rows[-1])["memory/mib"]
    return {
        "seconds of `gan train` until the first step is saved and drawn": first,
        "seconds of `gan sample --num 1`": image,
        "peak memory of training at 64 px, width 64, batch 64, MiB": peak,
    }
