"""Measures this project beside a classic DCGAN loop, interleaved in one process.

Prints a table and, with --out, writes every figure as JSON. Figures are ratios of medians over
rounds A B A B ...; they mean something only while nothing else runs on the machine.
"""

import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gan.config import Config, DataConfig, parse_config
from gan.data.batches import batches
from gan.data.pack import pack
from gan.data.sources import open_source
from gan.nn.discriminator import Discriminator
from gan.nn.generator import Generator
from gan.sampling import build_generator, generate
from gan.training.precision import Precision, choose_precision
from gan.training.state import make_state
from gan.training.steps import one_step

CPU = torch.device("cpu")
Contest = dict[str, Callable[[], Any]]


def race(contest: Contest, num_images: int, rounds: int) -> dict[str, float]:
    """Returns images/s of each contestant: medians over rounds in which each has its turn."""
    for run in contest.values():
        run()
        run()
    times: dict[str, list[float]] = {name: [] for name in contest}
    for _ in range(rounds):
        for name, run in contest.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {name: num_images / statistics.median(spent) for name, spent in times.items()}


def classic_step(cfg: Config, images: Tensor) -> Callable[[], None]:
    """Returns one step as the well-known PyTorch example does it: fp32, cross-entropy, two
    backward passes of D, D's weight gradients computed in G's step too, losses read each step."""
    g = Generator(cfg.model, cfg.data.image_shape)
    d = Discriminator(cfg.model, cfg.data.image_shape)
    criterion = nn.BCEWithLogitsLoss()
    g_optim, d_optim = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (g, d))
    real, ones, zeros = (
        images.float() / 127.5 - 1,
        torch.ones(len(images)),
        torch.zeros(len(images)),
    )

    def step() -> None:
        d.zero_grad()
        d_real = criterion(d(real), ones)
        d_real.backward()
        fake = g(torch.randn(len(images), cfg.model.z_dim))
        d_fake = criterion(d(fake.detach()), zeros)
        d_fake.backward()
        d_optim.step()
        g.zero_grad()
        g_loss = criterion(d(fake), ones)
        g_loss.backward()
        g_optim.step()
        (d_real + d_fake).item(), g_loss.item()

    return step


def our_step(cfg: Config, images: Tensor, **hardware: str) -> tuple[Callable[[], None], Precision]:
    """Returns one step of the library's own code, on this machine's precision or a given one."""
    settings = cfg.hardware.model_copy(update=hardware)
    precision = choose_precision(settings, CPU)
    state = make_state(cfg, 0, CPU, precision)
    return lambda: float(one_step(state, cfg, images, None)["loss/g"]) and None, precision


def config(side: int, width: int, batch_size: int) -> Config:
    """Returns a plain config of one size: grey below 64 pixels, RGB from there."""
    values = {
        "data": {"image_size": side, "channels": 1 if side < 64 else 3},
        "model": {"g_width": width, "d_width": width},
        "train": {"batch_size": batch_size},
    }
    return parse_config(values, origin="benchmark")


def random_images(cfg: Config) -> Tensor:
    """Returns one batch of noise, uint8 (B, C, H, W)."""
    return torch.randint(0, 256, (cfg.train.batch_size, *cfg.data.image_shape), dtype=torch.uint8)


def training(sides: list[int], width: int, batch_size: int, rounds: int) -> list[dict[str, Any]]:
    """Races the steps at each size."""
    rows = []
    for side in sides:
        cfg = config(side, width, batch_size)
        images = random_images(cfg)
        ours, precision = our_step(cfg, images)
        contest = {
            "classic": classic_step(cfg, images),
            "gan": ours,
            "gan, fp32": our_step(cfg, images, precision="fp32", channels_last="on")[0],
        }
        speeds = race(contest, batch_size, rounds)
        rows.append({"side": side, "precision": str(precision), "images_per_s": speeds})
        gc.collect()
    return rows


def sampling(width: int, rounds: int) -> dict[str, Any]:
    """Races sampling of 64 images at 64 pixels, and of one."""
    cfg = config(64, width, 64)
    classic = Generator(cfg.model, cfg.data.image_shape).eval()
    weights = {key: value.clone() for key, value in classic.state_dict().items()}
    ours = build_generator(cfg, 0, weights)
    found = {}
    for num in (64, 1):
        z = torch.randn(num, cfg.model.z_dim)
        with torch.no_grad():
            contest = {"classic": lambda z=z: classic(z), "gan": lambda z=z: generate(ours, z)}
            found[f"{num} images"] = race(contest, num, rounds)
    return found


def data_path(rounds: int) -> dict[str, float]:
    """Races the packed array against ImageFolder and DataLoader on the same 2,000 JPEGs."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "images"
        (root / "one").mkdir(parents=True)
        rng = np.random.default_rng(0)
        for i in range(2000):
            pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
            Image.fromarray(pixels).save(root / "one" / f"{i}.jpg", quality=90)
        cfg = DataConfig(source="folder", root=str(root), image_size=64, channels=3)
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
                next(stream)[0].float().div(127.5).sub(1)

        return race({"ImageFolder": lambda: [*loader], "gan": ours}, whole * 64, rounds)


def matrix_peak(dtype: torch.dtype) -> float:
    """Returns the best GFLOP/s of a 2048-cubed matrix product."""
    a, b = (torch.randn(2048, 2048, dtype=dtype) for _ in range(2))
    return max(race({"": lambda: a @ b}, 1, 5).values()) * 2 * 2048**3 / 1e9


def report(found: dict[str, Any]) -> str:
    """Returns the figures as tables."""
    lines = [
        "| training, batch 64 | classic | gan | ratio | gan, fp32 | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["training"]:
        s = row["images_per_s"]
        lines.append(
            f"| {row['side']} px | {s['classic']:,.0f} | {s['gan']:,.0f} "
            f"| {s['gan'] / s['classic']:.2f} | {s['gan, fp32']:,.0f} "
            f"| {s['gan, fp32'] / s['classic']:.2f} |"
        )
    lines += ["", "| besides | other | gan | ratio |", "|---|---|---|---|"]
    others = {f"sampling, {k}": (v["classic"], v["gan"]) for k, v in found["sampling"].items()}
    others["data path"] = (found["data_path"]["ImageFolder"], found["data_path"]["gan"])
    lines += [f"| {k} | {a:,.0f} | {b:,.0f} | {b / a:.2f} |" for k, (a, b) in others.items()]
    peaks = ", ".join(f"{k} {v:,.0f} GFLOP/s" for k, v in found["matrix_peak"].items())
    return "\n".join(
        [*lines, "", f"matrix product: {peaks}", f"precision: {found['training'][0]['precision']}"]
    )


@click.command()
@click.option("--sides", default="28,32,64,128", show_default=True)
@click.option("--width", default=64, show_default=True)
@click.option("--batch-size", default=64, show_default=True)
@click.option("--rounds", default=7, show_default=True, help="Turns of each contestant.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON with every figure.")
def main(sides: str, width: int, batch_size: int, rounds: int, out: Path | None) -> None:
    """Measures training, sampling and the data path, all in images per second."""
    found = {
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "matrix_peak": {"fp32": matrix_peak(torch.float32), "bf16": matrix_peak(torch.bfloat16)},
        "training": training([int(side) for side in sides.split(",")], width, batch_size, rounds),
        "sampling": sampling(width, rounds),
        "data_path": data_path(max(2, rounds // 3)),
    }
    click.echo(report(found))
    if out:
        out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
