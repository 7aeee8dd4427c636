"""Tries recipes: trains each for a number of images, and compares them with every network.

    python scripts/bench_recipes.py configs/celeba64.yaml --images 32000 --seeds 1 \\
        --recipe "batches of 32: train.batch_size=32" --recipe "as it is:"

A recipe is a name and changes to the config. Each seed becomes one line of
docs/results/recipes.jsonl; a seed that is already there is not run again. Prints the table of all
recipes of the config.
"""

import json
from pathlib import Path
from typing import Any

import click
import torch
from benchmark_parts import machine, train_whole
from checkerboard import speed
from look import look

from gan.analysis.evaluate import evaluate
from gan.config.reader import load_config
from gan.pretrained.load import load_generator
from gan.training.run_dir import source_commit

RECORDS = Path("docs/results/recipes.jsonl")
CPU = torch.device("cpu")
COLUMNS = ("frechet_distance", "precision", "recall")
Record = dict[str, Any]


def try_recipe(
    config: str, name: str, changes: list[str], images: int, seed: int, networks: list[str],
    num: int, runs: Path,
) -> Record:  # fmt: skip
    """Trains one seed of a recipe for about `images` images; returns its record."""
    run_dir = runs / "".join(
        c if c.isalnum() else "_" for c in f"{Path(config).stem} {name} {images}"
    )
    words = [*changes, f"train.seed={seed}", "train.evaluate_every_steps=null"]
    words.append(f"train.num_steps={images // load_config(config, words).train.batch_size}")
    run_dir = run_dir / f"seed{seed}"
    train_whole(load_config(config, words), run_dir)
    trained = load_generator(run_dir, CPU)
    return {
        "config": Path(config).stem,
        "recipe": name,
        "images": images,
        "seed": seed,
        "command": " ".join(["gan train", config, *(f"--set {word}" for word in words)]),
        "commit": source_commit(),
        "machine": machine(),
        "images_per_s": speed(run_dir),
        "values": {
            network: evaluate(trained, features=network, num=num, device=CPU)["values"]
            for network in networks
        },
        "look": look(trained, num),
    }


def table(records: list[Record]) -> list[str]:
    """Returns the lines of a table of recipes, the best in the first network first."""
    networks = list(dict.fromkeys(n for record in records for n in record["values"]))
    heads = ["recipe", "images", "seed", *(f"{n}: {c}" for n in networks for c in COLUMNS),
             "mean", "deviation", "stride energy"]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for record in sorted(records, key=lambda r: next(iter(r["values"].values()))[COLUMNS[0]]):
        values = [record["values"].get(n, {}).get(c) for n in networks for c in COLUMNS]
        cells = [record["recipe"], f"{record['images']:,}", str(record["seed"])]
        every = (*values, *record["look"].values())
        cells += ["" if value is None else f"{value:.3g}" for value in every]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


@click.command()
@click.argument("config")
@click.option("--recipe", "recipes", multiple=True, metavar="'NAME: KEY=VALUE ...'")
@click.option("--images", default=32_000, show_default=True)
@click.option("--seeds", default=1, show_default=True)
@click.option("--features", "networks", multiple=True, default=["faces", "photos"])
@click.option("--num", default=2000, show_default=True, help="Images to evaluate.")
@click.option("--runs", default="runs/recipes", show_default=True, type=click.Path(path_type=Path))
def main(
    config: str, recipes: tuple[str, ...], images: int, seeds: int, networks: list[str], num: int,
    runs: Path,
) -> None:  # fmt: skip
    """Tries recipes on CONFIG."""
    records = [json.loads(line) for line in RECORDS.open()] if RECORDS.exists() else []
    for text in recipes:
        name, _, changes = text.partition(":")
        for seed in range(seeds):
            key = {"config": Path(config).stem, "recipe": name, "images": images, "seed": seed}
            if any(key.items() <= record.items() for record in records):
                continue
            record = try_recipe(
                config, name, changes.split(), images, seed, list(networks), num, runs
            )
            records.append(record)
            with RECORDS.open("a") as file:
                file.write(json.dumps(record) + "\n")
    shown = [record for record in records if record["config"] == Path(config).stem]
    click.echo("\n".join(table(shown)) if shown else f"no records of {config}; give a --recipe")


if __name__ == "__main__":
    main()
