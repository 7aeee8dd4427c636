"""Trains as the well-known PyTorch DCGAN example does, for comparison, and judges what comes out.

    python scripts/classic.py configs/mnist.yaml --minutes 15 --out classic.json

fp32, cross-entropy, two backward passes of D, D's weight gradients computed in G's step too, losses
read every step; 64 pixels, width 64, batch 64, learning rates 2e-4, no classes, G itself instead of
an average. The networks, the images and the judgement are this project's.
"""

import json
import time
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from gan.config import Config, ConfigError, HardwareConfig, load_config
from gan.data.batches import batches
from gan.data.pack import pack
from gan.data.sources import open_source
from gan.metrics.evaluate import evaluate
from gan.sampling import load_trained
from gan.training.checkpoint import save_checkpoint
from gan.training.precision import choose_device, choose_precision
from gan.training.state import TrainState, make_state, to_payload

_RECIPE = (
    "data.image_size=64",
    "data.fit=crop",
    "data.flip=false",
    "model.conditional=false",
    "model.g_width=64",
    "model.d_width=64",
    "train.batch_size=64",
    "train.ema_halflife_images=0",
    "train.g_learning_rate=2e-4",
    "train.d_learning_rate=2e-4",
    "train.learning_rate_halflife_images=null",
)


def classic_state(cfg: Config, device: torch.device) -> TrainState:
    """Returns fresh networks in fp32 with PyTorch's Adam as it comes."""
    plain = HardwareConfig(precision="fp32", channels_last="off", compile="off")
    state = make_state(cfg, 0, device, choose_precision(plain, device))
    state.g_optim, state.d_optim = (
        torch.optim.Adam(network.parameters(), cfg.train.g_learning_rate, (0.5, 0.999))
        for network in (state.g, state.d)
    )
    return state


def classic_step(state: TrainState, images: Tensor, z: Tensor) -> tuple[float, float]:
    """Does one step on uint8 images (N, C, H, W) and latents (N, Z); returns D's and G's loss."""
    g, d, num = state.g, state.d, len(images)
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(num, device=state.device), torch.zeros(num, device=state.device)
    real = (images.float() / 127.5 - 1).to(state.device)
    d.zero_grad()
    d_real = criterion(d(real), ones)
    d_real.backward()
    fake = g(z.to(state.device))
    d_fake = criterion(d(fake.detach()), zeros)
    d_fake.backward()
    state.d_optim.step()
    g.zero_grad()
    g_loss = criterion(d(fake), ones)
    g_loss.backward()
    state.g_optim.step()
    state.step += 1
    state.images_seen += num
    return (d_real + d_fake).item(), g_loss.item()


def save(state: TrainState, cfg: Config, path: Path) -> None:
    """Writes a checkpoint that `gan sample` and `gan evaluate` read; its average is G itself."""
    state.g_ema.module.load_state_dict(state.g.state_dict())
    save_checkpoint(path, to_payload(state, cfg, (), "classic"))


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="As in gan train.")
@click.option("--minutes", default=15.0, show_default=True, help="Of training alone.")
@click.option("--num", default=5000, show_default=True, help="Images to judge.")
@click.option("--run-dir", default="runs/classic", show_default=True, type=click.Path())
@click.option("--device", "device_name", default="auto", show_default=True)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
def main(
    config: Path,
    changes: tuple[str, ...],
    minutes: float,
    num: int,
    run_dir: str,
    device_name: str,
    out: Path,
) -> None:
    """Trains on CONFIG's data, judges after one epoch and at the end, and writes a record."""
    try:
        cfg = load_config(config, [*_RECIPE, *changes])
        packed = pack(open_source(cfg.data), cfg.data)
    except (ConfigError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    device, folder = choose_device(device_name), Path(run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(cfg.train.seed)
    state = classic_state(cfg, device)
    stream = batches(packed, cfg.train.batch_size, seed=cfg.train.seed, flip=cfg.data.flip)
    epoch = -(-len(packed) // cfg.train.batch_size)
    spent, kept = 0.0, []
    while spent < minutes * 60:
        started = time.perf_counter()
        z = torch.randn(cfg.train.batch_size, cfg.model.z_dim)
        losses = classic_step(state, next(stream)[0], z)
        spent += time.perf_counter() - started
        if state.step == epoch or spent >= minutes * 60:
            kept.append((spent, folder / f"step_{state.step:08}.pt"))
            save(state, cfg, kept[-1][1])
        if state.step % 100 == 0:
            said = f"{spent:.0f} s  {state.images_seen:,} images"
            click.echo(f"{said}  D {losses[0]:.3f} G {losses[1]:.3f}")
    found = [judged(seconds, path, num, device) for seconds, path in kept]
    sets = "".join(f" --set {change}" for change in changes)
    command = f"python scripts/classic.py {config} --minutes {minutes:g} --num {num}{sets}"
    out.write_text(json.dumps({"command": command, "checkpoints": found}, indent=1) + "\n")


def judged(seconds: float, path: Path, num: int, device: torch.device) -> dict[str, Any]:
    """Returns the values of a checkpoint that so many seconds of training led to."""
    found = evaluate(load_trained(path, device), num=num, device=device)
    click.echo(f"{seconds:.0f} s: {json.dumps(found['values'])}")
    kept = ("values", "floor", "network", "checkpoint")
    return {"seconds": seconds} | {key: found[key] for key in kept}


if __name__ == "__main__":
    main()
