"""Measures how many images a GAN needs: trains on folders of different sizes, as long each.

    python scripts/few_images.py celeba64 --size 100 --size 27097
    python scripts/few_images.py cifar10 --size 100 --recipe "seed 1: train.seed=1"
    python scripts/few_images.py   # only write the page

A folder has the first so many training images of one random order, and is trained by
configs/folder.yaml at their size, with the changes of the recipe. The samples are compared with all
images, at the size of the samples, by two networks, and with the nearest images of their folder.
Each training becomes a line of docs/results/few_images.jsonl and is not repeated. Writes the tables
in docs/few_images.md and docs/figures/few_images.png.
"""

import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from benchmark_parts import machine, train_whole
from PIL import Image, ImageDraw
from results_record import cpu_seconds, file_name, require_clean_source
from results_table import with_generated

from gan.analysis.evaluate import memorisation
from gan.analysis.nearest import nearest_training
from gan.config.reader import load_config
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.metrics.reference import Reference, choose_network, held_out_images, make_reference
from gan.metrics.scores import score
from gan.pretrained.load import load_generator
from gan.pretrained.trained import Trained
from gan.sampling import grid, to_pil
from gan.training.run_dir import source_commit

RECORDS = Path("docs/results/few_images.jsonl")
OWN = "folder"  # the recipe of the config as it is
PAGE, NOTEBOOK = Path("docs/few_images.md"), Path("docs/experiments.md")
BEGIN = "<!-- made by scripts/few_images.py -->"
FIGURE = Path("docs/figures/few_images.png")
CONFIGS = Path("configs")
NETWORKS = {"celeba64": "faces", "cifar10": "cifar10"}  # config of all images: network
CPU = torch.device("cpu")
_SHOWN = 10  # samples of each training in the figure
Record = dict[str, Any]


def make_folder(images: np.ndarray, size: int, folder: Path) -> None:
    """Writes the first images (N, C, H, W) of a random order as files, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if sum(1 for _ in folder.iterdir()) == size:
        return
    for number in np.random.default_rng(0).permutation(len(images))[:size]:
        to_pil(images[number].transpose(1, 2, 0)).save(folder / f"{number:06}.png")


def measure(trained: Trained, own: PackedImages, name: str, num: int) -> dict[str, Record]:
    """Scores samples against all images of config `name`, by two networks, and compares them with
    the `own` ones of the training."""
    size = {"image_size": trained.cfg.data.image_size}
    data = load_config(CONFIGS / f"{name}.yaml").data.model_copy(update=size)
    packed, held_out = pack(open_source(data), data), held_out_images(data)
    own_network, photos = (
        make_reference(packed, held_out, choose_network(data, CPU, network), num=num, seed=0)
        for network in (NETWORKS[name], "photos")
    )
    images = trained.images(trained.latents(own_network.num, seed=0))
    copies = memorisation(images, replace(own_network, train=own, floor_rows=None))
    return {"values": _scores(images, own_network) | copies, "photos": _scores(images, photos)}


def _scores(images: np.ndarray, reference: Reference) -> Record:
    found = score(images, reference)
    return {name: found[name] for name in ("frechet_distance", "precision", "recall")}


def sheet(trained: Trained, own: PackedImages) -> np.ndarray:
    """Returns samples (first row) and the training images nearest to them, as (H, W, C)."""
    images = trained.images(trained.latents(_SHOWN, seed=0))
    _, where = nearest_training(images, own, np.arange(len(own)))
    return grid(np.concatenate([images, own.images[where.numpy()]]), columns=_SHOWN)


def run(
    data: str, size: int, recipe: str, changes: list[str], images: int, num: int, runs: Path
) -> Record:
    """Trains on one folder with one recipe; returns its record. Keeps its part of the figure."""
    require_clean_source()
    all_images = load_config(CONFIGS / f"{data}.yaml").data
    folder = runs / data / f"{size}_images"
    packed = pack(open_source(all_images), all_images)
    if size > len(packed):
        raise click.ClickException(f"--size {size}: {data} has {len(packed):,} training images")
    make_folder(packed.images, size, folder)
    words = [f"data.root={folder.resolve()}", f"data.image_size={all_images.image_size}", *changes]
    batch = load_config(CONFIGS / "folder.yaml", words).train.batch_size
    cfg = load_config(CONFIGS / "folder.yaml", [*words, f"train.num_steps={images // batch}"])
    run_dir = run_dir_of(runs, data, size, recipe, images)
    before, resumed = cpu_seconds(resource.RUSAGE_SELF), run_dir.exists()
    train_whole(cfg, run_dir)
    minutes = (cpu_seconds(resource.RUSAGE_SELF) - before) / 60
    trained, own = load_generator(run_dir, CPU), pack(open_source(cfg.data), cfg.data)
    Image.fromarray(sheet(trained, own)).save(run_dir / "sheet.png")
    return {
        "data": data,
        "size": size,
        "recipe": recipe,
        "changes": changes,
        "images": images,
        "cpu_minutes": None if resumed else minutes,  # an earlier call has trained a part
        "commit": source_commit(),
        "machine": machine(),
        **measure(trained, own, data, num),
    }


def run_dir_of(runs: Path, data: str, size: int, recipe: str, images: int) -> Path:
    """Returns the run directory of one training."""
    return runs / data / file_name(f"{size} {recipe} {images}")


def table(records: list[Record]) -> str:
    """Returns a table of trainings: by data, size and images seen, then as they were made."""
    lines = [
        "| data | your images | recipe | images seen | distance | precision | recall | `photos` "
        "| near-duplicates | CPU minutes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for record in sorted(records, key=lambda r: (r["data"], r["size"], r["images"])):
        at, minutes = record["values"], record["cpu_minutes"]
        # the first records have no `photos`
        photos = f"{record['photos']['frechet_distance']:.1f}" if "photos" in record else ""
        copies = f"{at['near_copies']:.0%}"
        lines.append(
            f"| {record['data']} | {record['size']:,} | `{record['recipe']}` "
            f"| {record['images']:,} "
            f"| {at['frechet_distance']:.1f} | {at['precision']:.2f} | {at['recall']:.2f} "
            f"| {photos} | {copies} | {'' if minutes is None else f'{minutes:.1f}'} |"
        )
    return "\n".join([*lines, ""])


def pages(records: list[Record]) -> dict[Path, str]:
    """Returns the table of each page: of today's config, and of other recipes.

    A record of today's config may have changes, if it is older than the config.
    """
    return {
        PAGE: table([record for record in records if record["recipe"] == OWN]),
        NOTEBOOK: table([record for record in records if record["recipe"] != OWN]),
    }


def draw(records: list[Record], runs: Path) -> None:
    """Draws faces and their nearest training images: the longest training by the config itself for
    each size."""
    chosen = [r for r in records if r["data"] == "celeba64" and r["recipe"] == OWN]
    ordered = sorted(chosen, key=lambda record: (record["size"], record["images"]))
    shown = list({record["size"]: record for record in ordered}.values())
    paths = [
        run_dir_of(runs, r["data"], r["size"], r["recipe"], r["images"]) / "sheet.png"
        for r in shown
    ]
    if missing := [str(path) for path in paths if not path.exists()]:
        click.echo(f"the figure stays as it is, because these runs are not here: {missing}")
        return
    sheets = [Image.open(path) for path in paths]
    label = 16
    height = sum(sheet.height + label for sheet in sheets)
    figure = Image.new("RGB", (max(sheet.width for sheet in sheets), height), "white")
    top = 0
    for record, part in zip(shown, sheets, strict=True):
        text = (f"{record['size']:,} images, {record['images']:,} seen in training: samples, and "
                "below each the nearest of these images")  # fmt: skip
        ImageDraw.Draw(figure).text((2, top + 2), text, fill="black")
        figure.paste(part, (0, top + label))
        top += part.height + label
    figure.save(FIGURE)


@click.command()
@click.argument("data", required=False, type=click.Choice([*NETWORKS]))
@click.option("--size", "sizes", multiple=True, type=int, help="Images of a folder; repeatable.")
@click.option("--recipe", default=f"{OWN}:", metavar="'NAME: KEY=VALUE ...'", show_default=True)
@click.option("--images", default=64_000, show_default=True, help="Images seen in training.")
@click.option("--num", default=2903, show_default=True, help="Samples to compare.")
@click.option("--runs", default="runs/few_images", show_default=True,
              type=click.Path(path_type=Path))  # fmt: skip
def main(
    data: str | None, sizes: tuple[int, ...], recipe: str, images: int, num: int, runs: Path
) -> None:
    """Trains on folders of images of DATA; without it, writes the tables and the figure."""
    records = [json.loads(line) for line in RECORDS.open()] if RECORDS.exists() else []
    if data is None:
        for page, made in pages(records).items():
            page.write_text(with_generated(page.read_text(), made, BEGIN))
        draw(records, runs)
        return
    name, _, changes = recipe.partition(":")
    done = {(r["data"], r["size"], r["recipe"], r["images"]) for r in records}
    for size in sizes:
        if (data, size, name, images) not in done:
            record = run(data, size, name, changes.split(), images, num, runs)
            with RECORDS.open("a") as file:
                file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
