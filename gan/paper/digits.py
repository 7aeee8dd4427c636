"""The paper's test of a conditional generator: a nearest-neighbour classifier trained on samples.

Shapes: N images, M training images, D = C H W pixels, K classes.
"""

from collections.abc import Iterable

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.errors import ConfigError
from gan.paper.result import Result
from gan.sampling import Trained, grid

_CHUNK = 10_000  # training images at once
_COLUMNS = 10
_SEED_STEP = 1_000_003  # between the seeds of two chunks

Labelled = tuple[np.ndarray, np.ndarray]  # uint8 (M, C, H, W), int64 (M,)


def run(trained: Trained, *, num: int, seed: int) -> Result:
    """Trains on `num` samples, and on as many training images as there are; tests on test images.

    Raises ConfigError if the run has no classes, and ValueError if the data have no test images.
    """
    if not trained.generator.num_classes:
        raise ConfigError(
            f"{trained.origin}: was trained without classes; use a run with model.conditional true"
        )
    data = trained.cfg.data
    train, test = (pack(open_source(data, split), data) for split in ("train", "test"))
    errors = nearest_errors(test, sample_chunks(trained, num, seed))
    real = nearest_errors(test, real_chunks(train))
    numbers = {
        "num_test": len(test),
        "error_of_samples": {str(count): error for count, error in errors.items()},
        "error_of_training_images": {str(count): error for count, error in real.items()},
    }
    lines = [
        f"1-NN, {count:,} {what}: {error:.2%} of {len(test):,} test images are wrong"
        for what, found in (("samples", errors), ("training images", real))
        for count, error in [list(found.items())[-1]]
    ]
    return Result(_draw(trained, seed, errors, real), numbers, lines)


def sample_chunks(trained: Trained, num: int, seed: int) -> Iterable[Labelled]:
    """Yields samples with their classes, equally many of each class."""
    num_classes = trained.generator.num_classes
    for start in range(0, num, _CHUNK):
        labels = torch.arange(start, min(start + _CHUNK, num)) % num_classes
        # the first chunk has the latents of `seed`
        z = trained.latents(len(labels), (seed + start // _CHUNK * _SEED_STEP) % 2**31)
        yield trained.images(z, labels), labels.numpy()


def real_chunks(train: PackedImages) -> Iterable[Labelled]:
    """Yields the training images in their order."""
    assert train.labels is not None
    for start in range(0, len(train), _CHUNK):
        rows = slice(start, start + _CHUNK)
        yield train.images[rows], train.labels[rows]


def nearest_errors(test: PackedImages, chunks: Iterable[Labelled]) -> dict[int, float]:
    """Returns the test error of 1-NN in pixels after each chunk, by the number of images so far."""
    assert test.labels is not None
    wanted = as_rows(test.images)  # (N, D)
    best = torch.full((len(wanted),), torch.inf)
    found = np.zeros(len(wanted), dtype=np.int64)
    errors: dict[int, float] = {}
    count = 0
    for images, labels in chunks:
        distance, index = nearest_rows(wanted, as_rows(images))
        is_nearer = (distance < best).numpy()
        best = torch.minimum(best, distance)
        found[is_nearer] = labels[index.numpy()[is_nearer]]
        count += len(images)
        errors[count] = float((found != test.labels).mean())
    return errors


def as_rows(images: np.ndarray) -> Tensor:
    """Maps uint8 images (N, C, H, W) to float32 rows (N, D) in 0..1."""
    return torch.tensor(images).flatten(1).float().div(255)


def nearest_rows(wanted: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the distance (N,) to the nearest of `rows` (M, D) for each of `wanted` (N, D), and
    its index (N,)."""
    squares = (rows * rows).sum(1)
    parts = []
    for part in wanted.split(1000):
        parts.append(torch.addmm(squares, part, rows.T, alpha=-2).min(1))  # (N, M) less |wanted|^2
    nearest, index = (torch.cat(values) for values in zip(*parts, strict=True))
    return (nearest + (wanted * wanted).sum(1)).clamp(min=0).sqrt(), index


def _draw(
    trained: Trained, seed: int, errors: dict[int, float], real: dict[int, float]
) -> Figure:  # fmt: skip
    num_classes = min(trained.generator.num_classes, 20)
    labels = torch.arange(num_classes).repeat_interleave(_COLUMNS)
    z = trained.latents(_COLUMNS, seed).repeat(num_classes, 1)
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    sheet = grid(trained.images(z, labels), _COLUMNS)
    left.imshow(sheet.squeeze(), cmap="gray")
    left.set(title="a class a row, a latent a column", xticks=[], yticks=[])
    for name, found in (("samples", errors), ("training images", real)):
        percent = [100 * error for error in found.values()]
        right.plot(list(found), percent, marker=".", label=name)
    right.set(xlabel="images that 1-NN is trained on", xscale="log", ylim=(0, None),
              ylabel="error on test images, %")  # fmt: skip
    right.legend()
    return figure
