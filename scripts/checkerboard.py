"""Measures checkerboard artifacts in short trainings with each of four upsampling layers.

Writes docs/checkerboard.md, docs/figures/checkerboard.png and the numbers in a JSON beside it. Runs
are kept in runs/checkerboard/; a finished run is reused, not trained again.
"""

import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import click
import matplotlib
import numpy as np
import torch
from benchmark_parts import machine, train_whole
from results_table import spread
from torch import Tensor

from gan.analysis.evaluate import evaluate
from gan.config.reader import load_config
from gan.config.settings import Config
from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.latents import draw_labels, draw_latents
from gan.machine.precision import choose_precision
from gan.metrics.reference import held_out_images
from gan.pretrained.load import load_generator
from gan.training.run_dir import source_commit
from gan.training.state import make_state

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # after the backend is chosen

VARIANTS = {
    "transposed, k4": ["model.upsample=transposed"],
    "transposed, k5 (the paper's)": ["model.upsample=transposed", "model.kernel=5"],
    "resize, then k3": ["model.upsample=resize"],
    "sub-pixel (ICNR), k3": ["model.upsample=subpixel"],
}
CPU = torch.device("cpu")
_PHOTOGRAPHS = """## Photographs

Photographs are harder. Faces from transposed convolutions have 1.5 to 2 times the energy of real
ones after 64,000 images and [1.3 times](experiments.md#faces-black-around-the-image) after 520,000.
A weaker pattern, the same in all images, remains, and [D finds
it](experiments.md#a-pattern-of-period-2)."""


class Measured(NamedTuple):
    """What was measured of one run."""

    numbers: dict[str, float]
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
    z = draw_latents(256, cfg.model, seed=cfg.train.seed)
    labels = draw_labels(256, state.g.num_classes, seed=cfg.train.seed)
    with torch.no_grad():
        return stride_energy(state.g(z, labels))[0]


def speed(run_dir: Path) -> float:
    """Returns the median images/s in a run's log."""
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(row["throughput/images_per_s"] for row in rows)


def measure(cfg: Config, run_dir: Path, num: int) -> Measured:
    """Trains one variant with one seed, unless its run is finished, and measures it."""
    train_whole(cfg, run_dir, "cpu")
    trained = load_generator(run_dir, CPU)
    images = trained.images(trained.latents(num, seed=1), trained.labels(num, seed=1))
    energy, spectrum = stride_energy(torch.from_numpy(images))
    evaluation = evaluate(trained, num=num, device=CPU)
    numbers = {
        "energy_start": start_energy(cfg, len(trained.classes)),
        "energy_end": energy,
        "distance": evaluation["values"]["frechet_distance"],
        "floor": evaluation["floor"]["frechet_distance"],
        "images_per_s": speed(run_dir),
    }
    return Measured(numbers, spectrum, images[:6])


def draw(columns: list[tuple[str, float, np.ndarray, np.ndarray]], path: Path) -> None:
    """Draws a spectrum (H, W) and six images for each name and energy."""
    figure, axes = plt.subplots(2, len(columns), figsize=(3 * len(columns), 5.4))
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


def table(record: dict[str, Any]) -> str:
    """Returns the table of the layers and of real images."""
    runs, real = record["runs"], record["real"]
    floor = statistics.mean(row["floor"] for rows in runs.values() for row in rows)
    lines = [
        "| layer | energy at the stride, untrained, ‰ | trained, ‰ | distance |",
        "|---|---|---|---|",
    ]
    for name, rows in runs.items():
        energies = (_spread(rows, f"energy_{when}", 1000) for when in ("start", "end"))
        lines.append(f"| {name} | {' | '.join(energies)} | {_spread(rows, 'distance')} |")
    lines.append(f"| real images, training | | {1000 * real['training']:.2f} | |")
    held_out = f"{1000 * real['held out']:.2f} | {floor:.3f}"
    return "\n".join([*lines, f"| real images, held out (the floor) | | {held_out} |"])


def page(record: dict[str, Any], cfg: Config) -> str:
    """Returns the text of docs/checkerboard.md."""
    runs, real = record["runs"], record["real"]
    name, most = _largest(runs)
    seeds, energy = len(runs[name]), _spread(runs[name], "energy_end", 1000)
    answer = "no layer does" if most <= max(real.values()) else "some still do"
    images = cfg.train.num_steps * cfg.train.batch_size
    return f"""# The checkerboard, measured

Does the layer that doubles the size leave a pattern in the images? **On `{cfg.data.source}`
transposed convolutions do before training; after it {answer}**: the trained generator with the most
energy at the stride ({name}) has {energy} ‰, real images {1000 * real["training"]:.2f} ‰
(training) and {1000 * real["held out"]:.2f} ‰ (held out). On faces a pattern
[remains](#photographs).

{table(record)}

![Spectra and samples of the four layers and of real images](figures/checkerboard.png)

Mean ± standard deviation over {seeds} seeds. All had the same training, {images:,} images of
`{cfg.data.source}` in batches of {cfg.train.batch_size}; only this layer differs.
{record["machine"]}, commit {record["commit"]}:

```bash
{record["command"]}
```

*Energy at the stride* is the share of the spectrum's energy, without the mean, in the row and the
column of the highest frequency. A pattern that repeats every second pixel has its energy there.
*Untrained* is measured on 256 images of a newly initialised generator, with BatchNorm in training
mode; *trained* on {record["num"]:,} images of the averaged generator, as 8-bit pixels. *Distance*
is the Fréchet distance of as many images by `gan evaluate` (not an FID). The figure shows seed 0;
the numbers of each run are in [figures/checkerboard.json](figures/checkerboard.json).

{_PHOTOGRAPHS}

[The lesson](transposed_convolution.md) explains where the pattern comes from, and why resizing and
ICNR start without it.
"""


def _spread(rows: list[dict[str, float]], key: str, scale: float = 1) -> str:
    return spread([scale * row[key] for row in rows])


def _largest(runs: dict[str, list[dict[str, float]]]) -> tuple[str, float]:
    """Returns the layer with the largest mean energy after training, and that energy."""
    means = {name: statistics.mean(r["energy_end"] for r in rows) for name, rows in runs.items()}
    return max(means.items(), key=lambda item: item[1])


@click.command()
@click.option("--config", default="configs/fashion_mnist.yaml", show_default=True)
@click.option("--num-steps", default=4000, show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--num", default=2000, show_default=True, help="Images to compare.")
@click.option("--docs", default="docs", show_default=True, type=click.Path(path_type=Path))
@click.option("--runs", default="runs/checkerboard", show_default=True,
              type=click.Path(path_type=Path))  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="See gan train.")
def main(
    config: str, num_steps: int, seeds: int, num: int, docs: Path, runs: Path,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Trains four generators, measures their checkerboard, and writes a table and a figure."""
    length = [f"train.num_steps={num_steps}", "train.evaluate_every_steps=null"]
    measured: dict[str, list[Measured]] = {}
    for name, changes in VARIANTS.items():
        for seed in range(seeds):
            cfg = load_config(config, [*length, *overrides, *changes, f"train.seed={seed}"])
            run_dir = runs / "".join(c if c.isalnum() else "_" for c in name) / f"seed{seed}"
            measured.setdefault(name, []).append(measure(cfg, run_dir, num))
    packed = pack(open_source(cfg.data), cfg.data)
    held_out = (held_out_images(cfg.data) or packed).images[-num:]
    energy, spectrum = stride_energy(torch.tensor(packed.images[:num]))
    record = {
        "command": " ".join(
            [
                f"python scripts/checkerboard.py --config {config} --num-steps {num_steps}",
                *(f"--seeds {seeds} --num {num}", *(f"--set {text}" for text in overrides)),
            ]
        ),
        "commit": (source_commit() or "unknown")[:7],
        "machine": machine(),
        "num": num,
        "runs": {name: [run.numbers for run in found] for name, found in measured.items()},
        "real": {"training": energy, "held out": stride_energy(torch.tensor(held_out))[0]},
    }
    columns = [
        (name, first.numbers["energy_end"], first.spectrum, first.samples)
        for name, (first, *_) in measured.items()
    ]
    columns.append(("real images", energy, spectrum, packed.images[:6]))
    (docs / "figures").mkdir(parents=True, exist_ok=True)
    draw(columns, docs / "figures" / "checkerboard.png")
    (docs / "figures" / "checkerboard.json").write_text(json.dumps(record, indent=1) + "\n")
    (docs / "checkerboard.md").write_text(page(record, cfg))


if __name__ == "__main__":
    main()
