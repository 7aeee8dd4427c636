"""The paper's test of a conditional generator: a nearest-neighbour classifier trained on samples.

Shapes: N images, C channels, H x W pixels.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.errors import ConfigError
from gan.paper.nearest import CHUNK, as_rows, nearest_so_far
from gan.paper.result import Chart, Result, Sheet
from gan.sampling import Trained

_COLUMNS, _ROWS = 10, 20  # of the figure, at most
_SEED_STEP = 1_000_003  # between the seeds of two chunks

Labelled = tuple[np.ndarray, np.ndarray]  # uint8 (N, C, H, W), int64 (N,)


def run(trained: Trained, *, num: int, seed: int) -> Result:
    """Trains on `num` samples, and on as many training images as there are; tests on test images.

    Raises ConfigError if the run has no classes, and ValueError if the data have no test images.
    """
    if not trained.generator.num_classes:
        raise ConfigError(f"{trained.origin}: was trained without classes; use a run with "
                          "model.conditional true")  # fmt: skip
    data = trained.cfg.data
    train, test = (pack(open_source(data, split), data) for split in ("train", "test"))
    assert train.labels is not None
    parts = [slice(start, start + CHUNK) for start in range(0, len(train), CHUNK)]
    real = ((train.images[part], train.labels[part]) for part in parts)
    errors = {"samples": nearest_errors(test, sample_chunks(trained, num, seed)),
              "training images": nearest_errors(test, real)}  # fmt: skip
    lines = [f"1-NN, {count:,} {what}: {error:.2%} of {len(test):,} test images are wrong"
             for what, found in errors.items()
             for count, error in [*found.items()][-1:]]  # fmt: skip
    numbers = {f"error_of_{what.replace(' ', '_')}": found for what, found in errors.items()}
    labels = torch.arange(min(trained.generator.num_classes, _ROWS)).repeat_interleave(_COLUMNS)
    z = trained.latents(_COLUMNS, seed).repeat(len(labels) // _COLUMNS, 1)
    sheet = Sheet("a class a row, a latent a column", trained.images(z, labels), _COLUMNS)
    chart = Chart("error on test images", {what: (list(found), list(found.values()))
                                           for what, found in errors.items()},
                  {"xlabel": "images that 1-NN is trained on", "ylim": (0, None)})  # fmt: skip
    return Result([[sheet, chart]], {"num_test": len(test), **numbers}, lines)


def sample_chunks(trained: Trained, num: int, seed: int) -> Iterator[Labelled]:
    """Yields samples with their classes, equally many of each class."""
    for start in range(0, num, CHUNK):
        labels = torch.arange(start, min(start + CHUNK, num)) % trained.generator.num_classes
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

    return {count: float((np.concatenate(known)[index] != test.labels).mean())
            for count, _, index in nearest_so_far(as_rows(test.images), rows())}  # fmt: skip
