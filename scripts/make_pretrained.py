"""Makes the folder of a shipped generator from a run with an evaluation.json.

    gan evaluate runs/mnist --num 5000 --out runs/mnist/evaluation.json
    python scripts/make_pretrained.py runs/mnist mnist --discriminator --truncation 0.5,0.7,1

Weights are stored in half precision if that moves no pixel of 256 images by more than one grey
level, else in float32.
"""

import itertools
import json
import shlex
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from gan.analysis.evaluate import evaluate
from gan.checkpoint import Checkpoint
from gan.config.reader import parse_config
from gan.errors import one_message
from gan.latents import draw_labels, draw_latents
from gan.pretrained.card import extras, write_card
from gan.pretrained.folder import write_folder
from gan.pretrained.load import load_generator, read_source
from gan.pretrained.shipped import DISCRIMINATOR, MODEL, SHIPPED
from gan.pretrained.trained import build_generator
from gan.sampling import to_uint8

NUM_COMPARED = 256
CPU = torch.device("cpu")


def half_precision_difference(checkpoint: Checkpoint) -> int:
    """Returns the largest difference in grey levels between float32 and half-precision weights,
    computed in float32."""
    whole = checkpoint.g_ema
    half = {key: t.half().float() if t.ndim > 1 else t for key, t in whole.items()}
    first, second = (images_of(checkpoint, weights) for weights in (whole, half))
    return int(np.abs(first.astype(int) - second).max())


@torch.no_grad()
def images_of(checkpoint: Checkpoint, weights: dict[str, Tensor]) -> np.ndarray:
    """Returns the uint8 images (N, C, H, W) of a checkpoint's config with these weights."""
    cfg = parse_config(checkpoint.config, origin=str(checkpoint.path))
    generator = build_generator(cfg, len(checkpoint.classes), weights)
    z = draw_latents(NUM_COMPARED, cfg.model, seed=0)
    labels = draw_labels(NUM_COMPARED, generator.num_classes, seed=0)
    return to_uint8(generator(z, labels)).numpy()


def training_facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the command that repeats the run, its commit, and the number of its images."""
    run = checkpoint.path.parent.parent
    call = json.loads((run / "meta.json").read_text())["calls"][-1]
    words = shlex.split(call["command"].replace("--set=", "--set "))
    config = next(word for word in words if word.endswith(".yaml"))
    sets = [after for word, after in itertools.pairwise(words) if word == "--set"]
    kept = [text for text in sets if not text.startswith("train.num_steps=")]
    changes = [("--set", text) for text in [*kept, f"train.num_steps={checkpoint.step}"]]
    command = shlex.join(["gan", "train", config, *itertools.chain(*changes)])
    return {"command": command, "commit": call["commit"], "images": call["images"]}


def truncation_rows(run: Path, factors: list[float], record: dict[str, Any]) -> list[dict]:
    """Evaluates one draw for each factor; the other settings are those of the record."""
    rows = []
    for factor in factors:
        trained = load_generator(run, CPU, truncation=factor)
        found = evaluate(trained, num=record["num_generated"], draws=1, device=CPU)["values"]
        kept = {key: found[key] for key in ("frechet_distance", "precision", "recall")}
        rows.append({"truncation": factor, **kept})
        click.echo(rows[-1])
    return rows


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True))
@click.argument("name")
@click.option("--discriminator", is_flag=True, help="Ship D too.")
@click.option("--truncation", help="Factors to evaluate, with commas between them.")
def main(run: Path, name: str, discriminator: bool, truncation: str | None) -> None:
    """Writes gan/pretrained/NAME from a run, or from one of its checkpoints."""
    with one_message():
        checkpoint = read_source(run)
        facts = extras(checkpoint)
        if not facts:
            raise ValueError(f"{run}: the run has no evaluation.json of this checkpoint")
        facts["training"] = training_facts(checkpoint)
        if truncation:
            factors = [float(word) for word in truncation.split(",")]
            facts["truncation"] = truncation_rows(run, factors, facts["evaluation"])
        difference = half_precision_difference(checkpoint)
        folder, half = SHIPPED / name, difference <= 1
        write_folder(checkpoint, folder, half=half, discriminator=discriminator, **facts)
        write_card(load_generator(folder, CPU), folder, name=name)
    kind = "half precision" if half else "float32"
    sizes = {
        file: (folder / file).stat().st_size
        for file in (MODEL, DISCRIMINATOR)
        if (folder / file).exists()
    }
    click.echo(f"{folder}: {kind}; half precision moves pixels by at most {difference}; {sizes}")


if __name__ == "__main__":
    main()
