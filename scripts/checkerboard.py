"""Measures checkerboard artifacts in one short training with each of four upsampling layers.

Writes docs/checkerboard.md and docs/figures/checkerboard.png. Runs are kept in runs/checkerboard/;
a finished run is reused, not trained again.
"""

import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import click
import matplotlib
import numpy as np
import torch
from torch import Tensor

from gan.config.reader import load_config
from gan.config.settings import Config
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.latents import draw_labels, draw_latents
from gan.machine.precision import choose_precision
from gan.metrics.distances import frechet_distance
from gan.metrics.features import load_features
from gan.metrics.reference import default_network
from gan.sampling import load_trained
from gan.training.loop import train
from gan.training.run_dir import source_commit
from gan.training.state import make_state

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # after the backend is chosen

VARIANTS = {
    "transposed, k4": ["model.upsample=transposed"],
    "transposed, k5 (the paper's)": ["model.kernel=5"],
    "resize, then k3": ["model.upsample=resize"],
    "sub-pixel (ICNR), k3": ["model.upsample=subpixel"],
}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Row:
    """The measurements of one variant."""

    name: str
    energy_start: float
    energy_end: float
    distance: float
    images_per_s: float
    spectrum: np.ndarray  # of the trained generator, (H, W)
    samples: np.ndarray  # uint8 (6, C, H, W)


def stride_energy(images: Tensor) -> tuple[float, np.ndarray]:
    """Returns the energy at the stride of images (N, C, H, W), and their mean spectrum (H, W).

    That energy is the share of the spectrum, without the mean, in the row and the column of the
    highest frequency. A pattern that repeats every second pixel has all its energy there.
    """
    centred = images.double() - images.double().mean((2, 3), keepdim=True)
    power = torch.fft.fft2(centred).abs().square().mean((0, 1))
    height, width = power.shape
    at_stride = power[height // 2].sum() + power[:, width // 2].sum()
    at_stride -= power[height // 2, width // 2]
    return float(at_stride / power.sum()), power.numpy()


def start_energy(cfg: Config, num_classes: int) -> float:
    """Returns the energy at the stride for an untrained generator, BatchNorm in training mode."""
    state = make_state(cfg, num_classes, CPU, choose_precision(cfg.hardware, CPU))
    z = draw_latents(256, cfg.model.z_dim, cfg.model.z_dist, seed=cfg.train.seed)
    labels = draw_labels(256, state.g.num_classes, seed=cfg.train.seed)
    with torch.no_grad():
        return stride_energy(state.g(z, labels))[0]


def speed(run_dir: Path) -> float:
    """Returns the median images/s in a run's log."""
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(row["throughput/images_per_s"] for row in rows)


def measure(name: str, cfg: Config, run_dir: Path, packed: PackedImages, num: int) -> Row:
    """Trains one variant, unless its run is finished, and measures it."""
    train(cfg, run_dir, "cpu")
    trained = load_trained(run_dir, CPU)
    images = trained.images(trained.latents(num, seed=1), trained.labels(num, seed=1))
    energy, spectrum = stride_energy(torch.from_numpy(images))
    network = load_features(default_network(cfg.data.source), CPU)
    real = network(packed.images[:num]).features
    return Row(
        name=name,
        energy_start=start_energy(cfg, len(packed.classes)),
        energy_end=energy,
        distance=frechet_distance(real, network(images).features),
        images_per_s=speed(run_dir),
        spectrum=spectrum,
        samples=images[:6],
    )


def draw(rows: list[Row], real: tuple[float, np.ndarray], packed: PackedImages, path: Path) -> None:
    """Draws the spectrum and six images of each variant, and of the real images last."""
    figure, axes = plt.subplots(2, len(rows) + 1, figsize=(3 * (len(rows) + 1), 5.4))
    columns = [(row.name, row.energy_end, row.spectrum, row.samples) for row in rows]
    columns.append(("real images", *real, packed.images[:6]))
    for (name, energy, spectrum, samples), (top, bottom) in zip(columns, axes.T, strict=True):
        shares = np.fft.fftshift(spectrum / spectrum.sum())
        half = shares.shape[0] // 2, shares.shape[1] // 2
        top.imshow(
            np.log10(np.maximum(shares, 1e-7)), cmap="cividis", vmin=-6, vmax=-1.5,
            extent=(-half[1] - 0.5, half[1] - 0.5, half[0] - 0.5, -half[0] - 0.5),
        )  # fmt: skip
        top.set_title(f"{name}\n{1000 * energy:.2f} ‰ at the stride", fontsize=9)
        sheet = samples[:, 0].reshape(2, 3, *samples.shape[2:]).swapaxes(1, 2)
        bottom.imshow(sheet.reshape(2 * samples.shape[2], -1), cmap="gray", vmin=0, vmax=255)
        for axis in (top, bottom):
            axis.set_xticks([])
            axis.set_yticks([])
    axes[0, 0].set_ylabel("spectrum, log scale\nmiddle: slow, border: every 2nd pixel", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})


def page(rows: list[Row], real: float, cfg: Config, num: int, command: str) -> str:
    """Returns the text of docs/checkerboard.md."""
    head = "| layer | energy at the stride, untrained | trained | distance | images/s |\n"
    lines = [
        f"| {row.name} | {1000 * row.energy_start:.1f} ‰ | {1000 * row.energy_end:.2f} ‰ "
        f"| {row.distance:.1f} | {row.images_per_s:,.0f} |"
        for row in rows
    ]
    lines.append(f"| real images | | {1000 * real:.2f} ‰ | | |")
    commit = (source_commit() or "unknown")[:7]
    most = 1000 * max(row.energy_end for row in rows)
    end = "no" if most <= 1000 * real else "still"
    return f"""# The checkerboard, measured

Does the layer that doubles the size leave a pattern in the images? At first yes, after training
{end} (energy at the stride: at most {most:.2f} ‰, real images {1000 * real:.2f} ‰). The four layers
had the same training: {cfg.train.num_steps:,} steps of {cfg.train.batch_size} images of
{cfg.data.source}, seed {cfg.train.seed}. Measured with `{command}`
on {time.strftime("%Y-%m-%d")}, on a CPU with {torch.get_num_threads()} threads,
torch {torch.__version__}, commit {commit}.

{head}|---|---|---|---|---|
{chr(10).join(lines)}

![Spectra and samples of the four variants and of real images](figures/checkerboard.png)

*Energy at the stride* is the share of the spectrum's energy, without the mean, in the row and the
column of the highest frequency. A pattern that repeats every second pixel has its energy there.
*Untrained* is measured on 256 images of a newly initialised generator, with BatchNorm in training
mode; *trained* on {num:,} images of the averaged generator, as 8-bit pixels. *Distance* is the
Fréchet distance to {num:,} real images in the features of this project's {cfg.data.source} network
(`gan/metrics`); it is not an FID. Each layer was trained with one seed only, so the variation
between seeds is not known, and neither is the distance of real images to other real ones.

[The lesson](transposed_convolution.md) explains where the pattern comes from, and why resizing and
ICNR start without it.
"""


@click.command()
@click.option("--config", default="configs/fashion_mnist.yaml", show_default=True)
@click.option("--num-steps", default=4000, show_default=True)
@click.option("--num", default=5000, show_default=True, help="Images to compare.")
@click.option("--docs", default="docs", show_default=True, type=click.Path(path_type=Path))
@click.option("--runs", default="runs/checkerboard", show_default=True,
              type=click.Path(path_type=Path))  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="See gan train.")
def main(
    config: str, num_steps: int, num: int, docs: Path, runs: Path, overrides: tuple[str, ...]
) -> None:  # fmt: skip
    """Trains four generators, measures their checkerboard, and writes a table and a figure."""
    rows = []
    for name, changes in VARIANTS.items():
        cfg = load_config(config, [f"train.num_steps={num_steps}", *overrides, *changes])
        packed = pack(open_source(cfg.data), cfg.data)
        run_dir = runs / "".join(c if c.isalnum() else "_" for c in name)
        rows.append(measure(name, cfg, run_dir, packed, num))
        click.echo(f"{name}: {1000 * rows[-1].energy_end:.2f} permille, {rows[-1].distance:.1f}")
    real = stride_energy(torch.from_numpy(packed.images[:num].copy()))
    (docs / "figures").mkdir(parents=True, exist_ok=True)
    draw(rows, real, packed, docs / "figures" / "checkerboard.png")
    command = (
        f"python scripts/checkerboard.py --config {config} --num-steps {num_steps} --num {num}"
    )
    (docs / "checkerboard.md").write_text(page(rows, real[0], cfg, num, command))


if __name__ == "__main__":
    main()
