"""The paper's test of a conditional generator: a nearest-neighbour classifier trained on samples.

Shapes: N images, C channels, H x W pixels.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.errors import ConfigError
from gan.paper.neighbours import CHUNK, as_rows, in_chunks, nearest_so_far
from gan.paper.result import Result
from gan.sampling import Trained, grid

_COLUMNS = 10
_SEED_STEP = 1_000_003  # between the seeds of two chunks

Labelled = tuple[np.ndarray, np.ndarray]  # uint8 (N, C, H, W), int64 (N,)


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
    assert train.labels is not None
    errors = nearest_errors(test, sample_chunks(trained, num, seed))
    real = nearest_errors(test, zip(in_chunks(train.images), in_chunks(train.labels), strict=True))
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
    for start in range(0, num, CHUNK):
        labels = torch.arange(start, min(start + CHUNK, num)) % num_classes
        # the first chunk has the latents of `seed`
        z = trained.latents(len(labels), (seed + start // CHUNK * _SEED_STEP) % 2**31)
        yield trained.images(z, labels), labels.numpy()


def nearest_errors(test: PackedImages, chunks: Iterable[Labelled]) -> dict[int, float]:
    """Returns the test error of 1-NN in pixels after each chunk, by the number of images so far."""
    known: list[np.ndarray] = []

    def rows() -> Iterator[Tensor]:
        for images, labels in chunks:
            known.append(labels)
            yield as_rows(images)

    return {
        count: float((np.concatenate(known)[index] != test.labels).mean())
        for count, _, index in nearest_so_far(as_rows(test.images), rows())
    }


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
    right.set(xlabel="images that 1-NN is trained on", ylim=(0, None),
              ylabel="error on test images, %")  # fmt: skip
    right.legend()
    return figure
