"""Compares the speed of this project with a classic DCGAN loop, interleaved in one process.

    python scripts/benchmark.py --out benchmark.json

Prints tables and, with --out, writes all numbers as JSON. Speeds are medians over rounds A B A B;
only their ratios mean something, and only on a machine that is otherwise idle.
"""

import gc
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from benchmark_parts import (
    Calls,
    command_costs,
    convolution_time,
    data_path,
    data_sizes,
    kernel_costs,
    machine,
    matrix_peaks,
    speeds,
)
from classic import classic_state, classic_step
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gan.checkpoint import save_checkpoint
from gan.config.reader import parse_config
from gan.config.settings import Config
from gan.machine.precision import choose_device, choose_precision
from gan.nn.generator import Generator
from gan.pretrained.load import load_generator
from gan.training.state import TrainState, make_state, to_checkpoint
from gan.training.steps import one_step


def config(side: int, width: int = 64, batch_size: int = 64, **hardware: str) -> Config:
    """Returns a config for one size: grey below 64 pixels, RGB from there."""
    values = {
        "data": {"image_size": side, "channels": 1 if side < 64 else 3},
        "model": {"g_width": width, "d_width": width},
        "train": {"batch_size": batch_size},
        "hardware": hardware,
    }
    return parse_config(values, origin="benchmark")


def our_state(cfg: Config, device: torch.device) -> TrainState:
    """Returns a new training state in the precision of `cfg`."""
    return make_state(cfg, 0, device, choose_precision(cfg.hardware, device))


def our_step(state: TrainState, cfg: Config, images: Tensor) -> Callable[[], Any]:
    """Returns a call of the project's own step, with images that are already on the device."""
    on_device = images.to(state.device)
    return lambda: one_step(state, cfg, on_device, None)


def random_images(cfg: Config) -> Tensor:
    """Returns a random batch, uint8 (N, C, H, W)."""
    return torch.randint(0, 256, (cfg.train.batch_size, *cfg.data.image_shape), dtype=torch.uint8)


def gflop_per_image(step: Callable[[], Any], num_images: int) -> float:
    """Returns the floating-point operations of one step, in 10^9 per image."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / num_images / 1e9


def training(
    sides: list[int], batch: int, device: torch.device, rounds: int, peaks: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """Times the steps at each size, and compares them with the machine's limits."""
    for side in sides:
        cfg = config(side, batch_size=batch)
        plain = config(side, batch_size=batch, precision="fp32")
        last = config(side, batch_size=batch, precision="fp32", channels_last="on")
        images = random_images(cfg)
        state = our_state(cfg, device)
        ours = our_step(state, cfg, images)
        z = torch.randn(len(images), cfg.model.z_dim)
        calls = {
            "classic": partial(classic_step, classic_state(cfg, device), images, z),
            "gan": ours,
            "gan, fp32": our_step(our_state(plain, device), plain, images),
            "gan, fp32, channels_last": our_step(our_state(last, device), last, images),
        }
        images_per_s = speeds(calls, len(images), rounds, device)
        kernels = kernel_costs(ours) if device.type == "cuda" else {}
        state.replay = None  # the operations of a recorded step cannot be counted
        gflop = gflop_per_image(ours, len(images))
        dtype = str(state.precision.dtype).removeprefix("torch.")
        limit_s = convolution_time(state, cfg, images, rounds)
        yield {
            "side": side,
            "precision": str(state.precision),
            "images_per_s": images_per_s,
            "gflop_per_image": gflop,
            "classic_gflop_per_image": gflop_per_image(calls["classic"], len(images)),
            "share_of_matrix_peak": gflop * images_per_s["gan"] / peaks[dtype],
            "convolution_over_step_time": images_per_s["gan"] * limit_s / len(images),
            **kernels,
        }
        del state, ours, calls
        gc.collect()


def sampling(folder: Path, device: torch.device, rounds: int) -> dict[str, dict[str, float]]:
    """Times the sampling of 64 images, and of one, at 64 pixels."""
    cfg = config(64)
    classic = Generator(cfg.model, cfg.data.image_shape).to(device).eval()
    path = folder / "sampling.pt"
    save_checkpoint(path, to_checkpoint(our_state(cfg, device), cfg, (), ""))
    ours = load_generator(path, device)

    def classic_images(z: Tensor) -> np.ndarray:
        return classic(z.to(device)).add(1).mul(127.5).byte().cpu().numpy()

    found = {}
    for num in (64, 1):
        z = torch.randn(num, cfg.model.z_dim)
        with torch.no_grad():
            calls: Calls = {
                "classic": lambda z=z: classic_images(z),
                "gan": lambda z=z: ours.images(z),
            }
            found[f"{num} images"] = speeds(calls, num, rounds if num > 1 else 10 * rounds, device)
    return found


def growth(device: torch.device, rounds: int) -> dict[str, dict[str, float]]:
    """Returns milliseconds per image of a step, as batch, width and size grow one at a time."""
    settings: dict[str, dict[str, dict[str, int]]] = {
        "batch": {str(n): {"batch_size": n} for n in (16, 64, 256)},
        "width": {str(n): {"width": n} for n in (16, 32, 64, 128)},
        "side": {str(n): {"side": n} for n in (16, 32, 64, 128)},
    }
    found: dict[str, dict[str, float]] = {}
    for name, values in settings.items():
        found[name] = {}
        for value, changed in values.items():
            cfg = config(**{"side": 32, **changed})
            images = random_images(cfg)
            step = our_step(our_state(cfg, device), cfg, images)
            speed = speeds({"gan": step}, len(images), max(3, rounds // 2), device)["gan"]
            found[name][value] = 1000 / speed
    return found


def report(found: dict[str, Any]) -> str:
    """Returns the numbers as tables."""
    loops = ("gan", "gan, fp32", "gan, fp32, channels_last")
    heads = ["training, images/s", "classic", *(f"{loop} | ratio" for loop in loops),
             "of matrix peak", "convolutions / step"]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * 10]
    for row in found["training"]:
        s = row["images_per_s"]
        ratios = (f"{s[loop]:,.0f} | {s[loop] / s['classic']:.2f}" for loop in loops)
        lines.append(
            f"| {row['side']} px | {s['classic']:,.0f} | {' | '.join(ratios)} "
            f"| {row['share_of_matrix_peak']:.0%} | {row['convolution_over_step_time']:.0%} |"
        )
        if "kernels" in row:
            lines.append(
                f"| | GPU computing {row['kernel_share']:.0%} of the time, "
                f"{row['kernels']:.0f} kernels per step |"
            )
    lines += ["", "| images/s | other | gan | ratio |", "|---|---|---|---|"]
    pairs = {f"sampling, {k}": (v["classic"], v["gan"]) for k, v in found["sampling"].items()}
    pairs["data path"] = (found["data_path"]["ImageFolder"], found["data_path"]["gan"])
    lines += [f"| {k} | {a:,.0f} | {b:,.0f} | {b / a:.2f} |" for k, (a, b) in pairs.items()]
    lines += ["", "| a step grows with | ms per image |", "|---|---|"]
    for name, values in found["growth"].items():
        grown = ", ".join(f"{value}: {ms:.3g}" for value, ms in values.items())
        lines.append(f"| {name} | {grown} |")
    lines += [
        "",
        "| packed images, 28 px | ms per batch | private memory, MB |",
        "|---|---|---|",
    ]
    lines += [f"| {n:,} | {ms:.3f} | {mb:.1f} |" for n, ms, mb in found["data_sizes"]]
    lines += ["", *(f"{k}: {v:,.1f}" for k, v in found["command"].items())]
    peaks = ", ".join(f"{k} {v:,.0f} GFLOP/s" for k, v in found["matrix_peak"].items())
    return "\n".join([*lines, "", f"matrix product: {peaks}", found["machine"]])


@click.command()
@click.option("--sides", default="28,32,64,128", show_default=True)
@click.option("--batch-size", default=64, show_default=True, help="For training.")
@click.option("--rounds", default=7, show_default=True, help="Measurements of each loop.")
@click.option("--device", "device_name", default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="JSON file for all numbers.")
def main(sides: str, batch_size: int, rounds: int, device_name: str, out: Path | None) -> None:
    """Measures training, sampling, the data path and the start-up."""
    device = choose_device(device_name)
    peaks = matrix_peaks(device)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GAN_CACHE"] = folder
        found = {
            "machine": f"{machine()}, {device}",
            "matrix_peak": peaks,
            "training": list(
                training(list(map(int, sides.split(","))), batch_size, device, rounds, peaks)
            ),
            "sampling": sampling(Path(folder), device, rounds),
            "growth": growth(device, rounds),
            "data_path": data_path(Path(folder), max(2, rounds // 3)),
            "data_sizes": data_sizes(Path(folder)),
            "command": command_costs(Path(folder)),
        }
    click.echo(report(found))
    if out:
        out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
