"""Trains and evaluates the recipe of the well-known PyTorch DCGAN example, as a baseline.

    python scripts/classic.py configs/mnist.yaml --run-dir runs/classic --out classic.json

fp32, cross-entropy, two backward passes of D, D's weight gradients computed in G's step too, losses
read every step; 64 pixels, width 64, batch 64, learning rates 2e-4, no classes, no averaged
generator. The networks, the data and the evaluation are this project's.
"""

import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import click
import torch
from benchmark_parts import machine
from torch import Tensor, nn

from gan.analysis.evaluate import evaluate
from gan.checkpoint import save_checkpoint
from gan.config.reader import load_config
from gan.config.settings import Config, DataConfig, HardwareConfig, TrainConfig
from gan.data.batches import batches
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.machine.precision import choose_device, choose_precision
from gan.pretrained.load import load_generator
from gan.training.state import TrainState, make_state, to_checkpoint

_FP32 = HardwareConfig(precision="fp32", channels_last="off")


def classic_config(data: DataConfig, seed: int, side: int) -> Config:
    """Returns the example's recipe for any data; width 64 and batch 64 are our defaults."""
    return Config(
        data=data.model_copy(update={"image_size": side, "fit": "crop", "flip": False}),
        train=TrainConfig(
            seed=seed,
            g_learning_rate=2e-4,
            d_learning_rate=2e-4,
            learning_rate_halflife_images=None,
            ema_halflife_images=None,
        ),
        hardware=_FP32,
    )


def classic_state(cfg: Config, device: torch.device) -> TrainState:
    """Returns new networks in fp32 with PyTorch's own Adam."""
    state = make_state(cfg, 0, device, choose_precision(_FP32, device))
    state.g_optim, state.d_optim = (
        torch.optim.Adam(network.parameters(), cfg.train.g_learning_rate, (0.5, 0.999))
        for network in (state.g, state.d)
    )
    return state


def classic_step(state: TrainState, images: Tensor, z: Tensor) -> tuple[float, float]:
    """Takes one step on uint8 images (N, C, H, W) and latents (N, Z); returns D's and G's loss."""
    g, d, num = state.g, state.d, len(images)
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(num, device=state.device), torch.zeros(num, device=state.device)
    real = images.to(state.device).float() / 127.5 - 1
    d.zero_grad()
    d_real = criterion(d(real).logits, ones)
    d_real.backward()
    fake = g(z.to(state.device))
    d_fake = criterion(d(fake.detach()).logits, zeros)
    d_fake.backward()
    state.d_optim.step()
    g.zero_grad()
    g_loss = criterion(d(fake).logits, ones)
    g_loss.backward()
    state.g_optim.step()
    state.step += 1
    state.images_seen += num
    return (d_real + d_fake).item(), g_loss.item()


def save(state: TrainState, cfg: Config, packed: PackedImages, path: Path) -> None:
    """Writes a checkpoint for `gan sample` and `gan evaluate`, with G as its own average."""
    state.g_ema.load_state_dict(state.g.state_dict())
    save_checkpoint(path, to_checkpoint(state, cfg, packed.classes, packed.checksum))


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--minutes", default=15.0, show_default=True, help="Training time.")
@click.option("--num", default=5000, show_default=True, help="Images to evaluate.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1))
@click.option("--size", default=64, show_default=True, help="Image side in pixels.")
@click.option("--data-root", help="Folder of the real images [default: CONFIG's].")
@click.option("--device", "device_name", default="auto", show_default=True)
@click.option("--run-dir", required=True, type=click.Path(path_type=Path), help="Must not exist.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
def main(
    config: Path, minutes: float, num: int, seed: int, size: int, data_root: str | None,
    device_name: str, run_dir: Path, out: Path,
) -> None:  # fmt: skip
    """Trains on CONFIG's data, evaluates after one epoch and at the end, and writes a record."""
    try:
        device = choose_device(device_name)
        out.parent.mkdir(parents=True, exist_ok=True)
        changes = [] if data_root is None else [f"data.root={data_root}"]
        cfg = classic_config(load_config(config, changes).data, seed, size)
        packed = pack(open_source(cfg.data), cfg.data)
        run_dir.mkdir(parents=True)  # last, so that a corrected command can be repeated
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    saved = train(cfg, packed, minutes * 60, run_dir, device)
    record = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine(),
        "checkpoints": [evaluated(seconds, path, cfg, num) for seconds, path in saved],
    }
    out.write_text(json.dumps(record, indent=1) + "\n")


def train(
    cfg: Config, packed: PackedImages, limit_s: float, run_dir: Path, device: torch.device
) -> list[tuple[float, Path]]:
    """Trains for `limit_s`; returns seconds and checkpoint after one epoch and at the end."""
    torch.manual_seed(cfg.train.seed)
    state = classic_state(cfg, device)
    num = cfg.train.batch_size
    epoch = -(-len(packed) // num)
    stream = batches(packed, num, seed=cfg.train.seed)
    spent, saved = 0.0, []
    while spent < limit_s:
        started = time.perf_counter()
        losses = classic_step(state, next(stream)[0], torch.randn(num, cfg.model.z_dim))
        spent += time.perf_counter() - started
        if state.step == epoch or spent >= limit_s:
            saved.append((spent, run_dir / f"step_{state.step:08}.pt"))
            save(state, cfg, packed, saved[-1][1])
        if state.step % 100 == 0:
            progress = f"{spent:.0f} s  {state.images_seen:,} images"
            click.echo(f"{progress}  D {losses[0]:.3f} G {losses[1]:.3f}")
    return saved


def evaluated(seconds: float, path: Path, cfg: Config, num: int) -> dict[str, Any]:
    """Returns the record of a checkpoint saved after `seconds` of training."""
    cpu = torch.device("cpu")
    trained = load_generator(path, cpu, data_root=cfg.data.root)
    found = evaluate(trained, num=num, device=cpu)
    click.echo(f"{seconds:.0f} s: {json.dumps(found['values'])}")
    kept = ("values", "floor", "network", "checkpoint")
    return {"seconds": seconds} | {key: found[key] for key in kept}


if __name__ == "__main__":
    main()
