"""The paper's experiments on cases with a known answer, and as commands on tiny runs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gan.data.pack import PackedImages
from gan.paper.digits import nearest_errors, nearest_rows
from tests.conftest import gan


def packed(images: np.ndarray, labels: np.ndarray | None = None) -> PackedImages:
    return PackedImages(images, labels, ("a", "b", "c"), "", Path())


def some_images(num: int, seed: int = 0) -> np.ndarray:
    stream = np.random.default_rng(seed)
    return stream.integers(0, 256, (num, 1, 4, 4), dtype=np.uint8)


def test_nearest_rows_are_those_of_all_distances() -> None:
    wanted, rows = torch.randn(50, 7), torch.randn(30, 7)
    distance, index = nearest_rows(wanted, rows)
    every = torch.cdist(wanted.double(), rows.double())
    torch.testing.assert_close(distance.double(), every.min(1).values, atol=1e-5, rtol=1e-5)
    assert index.equal(every.min(1).indices)


def test_1nn_on_copies_makes_the_errors_of_their_labels() -> None:
    images, labels = some_images(40), np.arange(40) % 3
    wrong = labels.copy()
    wrong[:10] = (wrong[:10] + 1) % 3
    half = slice(0, 20)
    # the first half of the copies says little of the second half of the images
    chunks = [(images[half], wrong[half]), (images[20:], wrong[20:])]
    errors = nearest_errors(packed(images, labels), chunks)
    assert list(errors) == [20, 40] and errors[40] == 0.25 < errors[20]


@pytest.mark.parametrize("files", [["made.png"], ["made.json"]])
def test_paper_refuses_files_that_exist(files: list[str], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_text("mine")
    shown = gan("paper", "digits", tmp_path / "run", "--out", tmp_path / "made.png")
    assert shown.exit_code == 2 and "--force" in shown.output
    assert [path.name for path in tmp_path.iterdir()] == files


def test_digits_needs_a_run_with_classes(tiny_run: Path, tmp_path: Path) -> None:
    shown = gan("paper", "digits", tiny_run, "--out", tmp_path / "made.png")
    assert shown.exit_code == 2 and "model.conditional" in shown.output
    assert not list(tmp_path.iterdir())
