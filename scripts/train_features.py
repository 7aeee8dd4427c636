"""Trains a small classifier whose features are used to compare generated with real images."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gan.config.settings import DataConfig, HardwareConfig
from gan.data.batches import batch_indices
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.machine.precision import Precision, autocast, choose_device, choose_precision
from gan.metrics.features import Classifier, load_features, save_classifier

_WEIGHTS = Path(__file__).parent.parent / "gan" / "metrics" / "weights"
_SIDES = {"mnist": (28, 1), "fashion_mnist": (28, 1), "cifar10": (32, 3)}
_BATCH = 128
_LEARNING_RATE = 4e-3
_MAX_SHIFT, _MAX_ZOOM = 0.14, 0.12  # of half the side, of the scale: about 2 pixels of 28


@click.command()
@click.argument("dataset", type=click.Choice(list(_SIDES)))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="file to write")
@click.option("--seed", default=0, show_default=True)
@click.option("--epochs", default=6, show_default=True)
@click.option("--device", default="auto", show_default=True)
def main(dataset: str, out: Path | None, seed: int, epochs: int, device: str) -> None:
    """Trains a classifier on DATASET and writes it to gan/metrics/weights."""
    where = choose_device(device)
    precision = choose_precision(HardwareConfig(), where)
    torch.set_num_threads(precision.threads)
    side, channels = _SIDES[dataset]
    cfg = DataConfig(source=dataset, image_size=side, channels=channels)  # type: ignore[arg-type]
    try:
        train, test = (pack(open_source(cfg, split), cfg) for split in ("train", "test"))
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    started = time.perf_counter()
    classifier = fit(train, seed, epochs, where, precision)
    out = out or _WEIGHTS / f"{dataset}.safetensors"
    facts = {
        "name": out.stem,
        "data_set": dataset,
        "classes": json.dumps(train.classes),
        "command": f"python scripts/train_features.py {' '.join(sys.argv[1:])}",
        "seed": str(seed),
        "epochs": str(epochs),
        "precision": str(precision),
        "torch": str(torch.__version__),
        "date": datetime.now(UTC).date().isoformat(),
    }
    accuracy = write(out, classifier, facts, test)
    seconds = time.perf_counter() - started
    click.echo(f"{out}: {accuracy:.2%} of {len(test):,} test images, {seconds:.0f} s")


def fit(
    data: PackedImages, seed: int, epochs: int, device: torch.device, precision: Precision
) -> Classifier:
    """Trains a classifier with AdamW, a one-cycle learning rate, and random shifts and zooms."""
    torch.manual_seed(seed)
    _, channels, side, _ = data.images.shape
    classifier = Classifier(channels, side, len(data.classes))
    classifier.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = epochs * len(data) // _BATCH
    optim = torch.optim.AdamW(classifier.parameters(), weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optim, _LEARNING_RATE, total_steps=steps)
    assert data.labels is not None
    for step in range(steps):
        indices = batch_indices(len(data), _BATCH, seed=seed, step=step)
        images = torch.from_numpy(data.images[indices]).to(device)
        labels = torch.from_numpy(data.labels[indices]).to(device)
        with autocast(precision, device):
            _, logits = classifier(jitter(images.float()))
        loss = F.cross_entropy(logits.float(), labels)
        optim.zero_grad()
        loss.backward()
        optim.step()
        schedule.step()
        if step % 100 == 0:
            click.echo(f"step {step:,}/{steps:,}  loss {loss.item():.4f}")
    return classifier.eval()


def jitter(images: Tensor) -> Tensor:
    """Shifts and zooms images (N, C, H, W) at random, because generated ones are often off-centre.

    Gaps are filled with the nearest border pixel.
    """
    num = len(images)
    theta = torch.zeros(num, 2, 3)
    zoom = 1 + (2 * torch.rand(num) - 1) * _MAX_ZOOM
    theta[:, 0, 0] = theta[:, 1, 1] = zoom
    theta[:, :, 2] = (2 * torch.rand(num, 2) - 1) * _MAX_SHIFT
    places = F.affine_grid(theta, list(images.shape), align_corners=False).to(images.device)
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


def write(out: Path, classifier: Classifier, facts: dict[str, str], test: PackedImages) -> float:
    """Saves a classifier with its test accuracy and returns the accuracy.

    It is measured in float32, on the classifier as loaded from the file.
    """
    save_classifier(out, classifier, facts)
    logits = load_features(out, torch.device("cpu"))(np.asarray(test.images)).logits
    accuracy = float((logits.argmax(1).numpy() == test.labels).mean())
    save_classifier(out, classifier, facts | {"test_accuracy": f"{accuracy:.4f}"})
    return accuracy


if __name__ == "__main__":
    main()
