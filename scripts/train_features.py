"""Trains the small networks whose features are used to compare generated with real images."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from gan.config.settings import DataConfig, HardwareConfig
from gan.data.batches import batch_indices
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.data.source import Source
from gan.machine.precision import Precision, autocast, choose_device, choose_precision
from gan.metrics.features import (
    FORMAT,
    NUM_FEATURES,
    Classifier,
    FeatureNetwork,
    load_features,
    weights_checksum,
)

_WEIGHTS = Path(__file__).parent.parent / "gan" / "metrics" / "weights"
_LEARNING_RATE = 4e-3
_MAX_SHIFT, _MAX_ZOOM = 0.14, 0.12  # of half the side, of the scale: about 2 pixels of 28
_SMALLEST_CROP = 0.45  # of the side
_TEMPERATURE = 0.2  # Chen et al., 2020: 0.1 to 0.5
_NUM_PROJECTED = 64


@dataclass(frozen=True)
class Task:
    """What a network learns, and from which data."""

    source: str
    side: int
    channels: int
    kind: str  # classes, attributes, or views: without labels
    epochs: int
    batch: int = 128


TASKS = {
    "mnist": Task("mnist", 28, 1, "classes", 6),
    "fashion_mnist": Task("fashion_mnist", 28, 1, "classes", 6),
    "cifar10": Task("cifar10", 32, 3, "classes", 6),
    "photos": Task("cifar10", 32, 3, "views", 10, batch=256),
    "faces": Task("celeba", 64, 3, "attributes", 12),
}


@click.command()
@click.argument("name", type=click.Choice(list(TASKS)))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="file to write")
@click.option("--seed", default=0, show_default=True)
@click.option("--epochs", type=int, help="other than the shipped network's")
@click.option("--device", default="auto", show_default=True)
def main(name: str, out: Path | None, seed: int, epochs: int | None, device: str) -> None:
    """Trains the network NAME and writes it to gan/metrics/weights.

    Three networks learn the classes of their data set. The network photos learns from CIFAR-10
    without labels: to tell whether two crops are of one image. The network faces learns the 40
    attributes of CelebA. All of them use training images only.
    """
    task, where = TASKS[name], choose_device(device)
    precision = choose_precision(HardwareConfig(), where)
    torch.set_num_threads(precision.threads)
    cfg = DataConfig(source=task.source, image_size=task.side, channels=task.channels)
    try:
        sources = [open_source(cfg, split) for split in ("train", "test")]
        train, test = (pack(source, cfg) for source in sources)
        answers = [targets(task, source) for source in sources]
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    started = time.perf_counter()
    epochs = epochs or task.epochs
    network = fit(task, train, answers[0], seed, epochs, where, precision)
    out = out or _WEIGHTS / f"{name}.safetensors"
    facts = {
        "name": out.stem,
        "data_set": task.source,
        "classes": json.dumps(names_of_outputs(task, train, sources[0])),
        "learned": task.kind,
        "command": f"python scripts/train_features.py {' '.join(sys.argv[1:])}",
        "seed": str(seed),
        "epochs": str(epochs),
        "precision": str(precision),
        "torch": str(torch.__version__),
        "date": datetime.now(UTC).date().isoformat(),
    }
    save_classifier(out, network, facts)
    # of the network as loaded from the file
    quality = measure(task, load_features(out, torch.device("cpu")), train, test, answers)
    save_classifier(out, network, facts | {key: f"{value:.4f}" for key, value in quality.items()})
    minutes = (time.perf_counter() - started) / 60
    click.echo(f"{out}: {quality} on {len(test):,} test images, {minutes:.0f} min")


def targets(task: Task, source: Source) -> np.ndarray:
    """Returns the classes (N,), or the attributes (N, 40) as 0 and 1, of a source's images."""
    if task.kind != "attributes":
        assert source.labels is not None
        return source.labels
    rows = dict(line.split(maxsplit=1) for line in attribute_lines(source)[2:])
    table = [rows[Path(name).name].split() for name in source.names]
    return (np.array(table, dtype=np.int8) > 0).astype(np.float32)


def attribute_lines(source: Source) -> list[str]:
    """Returns the lines of CelebA's attributes: their number, their names, one line an image."""
    return Path(source.place).with_name("list_attr_celeba.txt").read_text().splitlines()


def names_of_outputs(task: Task, train: PackedImages, source: Source) -> list[str]:
    """Returns what the outputs of the network stand for; nothing without labels."""
    if task.kind == "views":
        return []
    return attribute_lines(source)[1].split() if task.kind == "attributes" else [*train.classes]


def fit(
    task: Task, data: PackedImages, answers: np.ndarray, seed: int, epochs: int,
    device: torch.device, precision: Precision,
) -> Classifier:  # fmt: skip
    """Trains a network with AdamW and a one-cycle learning rate."""
    torch.manual_seed(seed)
    _, channels, side, _ = data.images.shape
    outputs = {"classes": len(data.classes), "attributes": answers.shape[-1], "views": 0}[task.kind]
    network = Classifier(channels, side, outputs)
    projection = nn.Sequential(  # is not kept
        nn.Linear(NUM_FEATURES, NUM_FEATURES),
        nn.ReLU(),
        nn.Linear(NUM_FEATURES, _NUM_PROJECTED),
    )
    both = nn.ModuleList([network, projection])
    both.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "classes": lambda x, y: F.cross_entropy(network(jitter(x))[1].float(), y),
        "attributes": lambda x, y: F.binary_cross_entropy_with_logits(
            network(jitter(x, flip=True))[1].float(), y
        ),
        "views": lambda x, y: contrast(projection(network(torch.cat([view(x), view(x)]))[0])),
    }
    steps = epochs * len(data) // task.batch
    optim = torch.optim.AdamW(both.parameters(), weight_decay=0.02, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optim, _LEARNING_RATE, total_steps=steps)
    for step in range(steps):
        indices = batch_indices(len(data), task.batch, seed=seed, step=step)
        images = torch.from_numpy(data.images[indices]).to(device).float()
        with autocast(precision, device):
            loss = losses[task.kind](images, torch.from_numpy(answers[indices]).to(device))
        optim.zero_grad()
        loss.backward()
        optim.step()
        schedule.step()
        if step % 100 == 0:
            click.echo(f"step {step:,}/{steps:,}  loss {loss.item():.4f}")
    return network.eval()


def jitter(images: Tensor, *, flip: bool = False) -> Tensor:
    """Shifts and zooms images (N, C, H, W) at random, because generated ones are often off-centre.

    Gaps are filled with the nearest border pixel.
    """
    num = len(images)
    zoom = 1 + (2 * torch.rand(num) - 1) * _MAX_ZOOM
    shift = (2 * torch.rand(num, 2) - 1) * _MAX_SHIFT
    return move(images, zoom, shift, flip=flip)


def view(images: Tensor) -> Tensor:
    """Crops images (N, C, H, W) at random, flips half of them, and changes their colours a little.

    Much colour is kept: features that ignore it could not tell when a generator's colours are
    wrong.
    """
    num = len(images)
    zoom = _SMALLEST_CROP + (1 - _SMALLEST_CROP) * torch.rand(num)
    shift = (2 * torch.rand(num, 2) - 1) * (1 - zoom[:, None])
    x = move(images, zoom, shift, flip=True)
    low, high = torch.tensor([[-40, 0.7, 0.4], [40, 1.3, 1.6]])
    amounts = (low + (high - low) * torch.rand(num, 3)).to(images.device)
    brightness, contrast, saturation = amounts[:, :, None, None, None].unbind(1)
    grey = x.mean(1, keepdim=True)
    x = grey + saturation * (x - grey)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + contrast * (x - mean) + brightness


def move(images: Tensor, zoom: Tensor, shift: Tensor, *, flip: bool) -> Tensor:
    """Shows the part of images (N, C, H, W) of size `zoom` (N,) around the point `shift` (N, 2).

    The image reaches from -1 to 1. With `flip`, half of the images are mirrored.
    """
    theta = torch.zeros(len(images), 2, 3)
    mirror = 1 - 2 * torch.randint(2, zoom.shape) if flip else 1
    theta[:, 0, 0], theta[:, 1, 1] = zoom * mirror, zoom
    theta[:, :, 2] = shift
    places = F.affine_grid(theta, list(images.shape), align_corners=False).to(images.device)
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


def contrast(projected: Tensor) -> Tensor:
    """Returns the loss of SimCLR (Chen et al., 2020) for two views of N images, (2N, F).

    The cross-entropy of finding an image's other view among all other views.
    """
    rows = F.normalize(projected.float())
    similar = rows @ rows.T / _TEMPERATURE
    similar.fill_diagonal_(-torch.inf)
    return F.cross_entropy(
        similar, torch.arange(len(rows), device=rows.device).roll(len(rows) // 2)
    )


def measure(
    task: Task,
    network: FeatureNetwork,
    train: PackedImages,
    test: PackedImages,
    answers: list[np.ndarray],
) -> dict[str, float]:
    """Measures the quality of a network on the test images, in float32.

    Accuracy for classes and, as the mean over them, attributes, with that of always giving the
    more frequent value. For a network without labels that of a linear probe: least squares from
    features to classes.
    """
    found = network(np.asarray(test.images))
    truth = answers[1]
    if task.kind == "classes":
        return {"test_accuracy": float((found.logits.argmax(1).numpy() == truth).mean())}
    if task.kind == "attributes":
        majority = (answers[0].mean(0) > 0.5) == truth
        right = (found.logits.numpy() > 0) == truth
        return {"test_accuracy": float(right.mean()), "majority_accuracy": float(majority.mean())}
    known = network(np.asarray(train.images)).features
    one_hot = torch.eye(len(train.classes))[torch.from_numpy(answers[0])]
    solved = torch.linalg.lstsq(F.pad(known, (0, 1), value=1.0), one_hot).solution
    guesses = (F.pad(found.features, (0, 1), value=1.0) @ solved).argmax(1).numpy()
    return {"probe_accuracy": float((guesses == truth).mean())}


def save_classifier(path: Path, classifier: Classifier, metadata: dict[str, str]) -> None:
    """Writes a classifier to a safetensors file, with its sizes and the sha256 of its weights.

    `metadata` must contain "name" and "classes", a JSON list.
    """
    weights = {key: value.cpu().contiguous() for key, value in classifier.state_dict().items()}
    sizes = {
        "format": FORMAT,
        "channels": str(classifier.blocks[0][0].in_channels),  # type: ignore[index,union-attr]
        "side": str(classifier.side),
        "sha256": weights_checksum(weights),
    }
    path.write_bytes(save(weights, metadata={**metadata, **sizes}))


if __name__ == "__main__":
    main()
