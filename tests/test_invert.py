"""Inverting finds a known latent, and reads images as training did."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan.analysis.invert import compare_held_out, grey_levels, invert
from gan.pretrained.trained import Trained
from tests.conftest import gan
from tests.test_export import untrained


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that do not need the nearest image."""
    monkeypatch.setattr("gan.analysis.invert._STEPS", 40)


def drawn(trained: Trained, num: int) -> tuple[np.ndarray, torch.Tensor]:
    z = trained.latents(num, seed=5)
    return trained.images(z, trained.labels(num, seed=5)), z


@pytest.mark.parametrize(
    ("model", "num_classes"), [({}, 0), ({"z_dist": "uniform"}, 3)], ids=["normal", "classes"]
)
def test_inverting_a_generated_image_recovers_it_and_its_latent(
    model: dict, num_classes: int
) -> None:
    trained = untrained(num_classes, **model)
    images, z = drawn(trained, 3)
    assert images.std() > 10
    found, classes = invert(trained, images)
    assert grey_levels(images, trained.images(found, classes)).max() < 1
    assert (found - z).abs().max() < 0.25
    assert found.abs().max() <= 1 or not num_classes


def test_distance_is_the_root_mean_square_in_grey_levels() -> None:
    a, b = np.zeros((2, 3, 4, 4), np.uint8), np.zeros((2, 3, 4, 4), np.uint8)
    b[1] = 6
    b[1, 0] = 0  # two thirds of the pixels differ by 6: sqrt(24)
    assert grey_levels(a, b) == pytest.approx([0, 24**0.5])


def test_an_image_is_found_alone_as_it_is_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan.analysis.invert._BATCH", 16)
    trained = untrained()
    images, _ = drawn(trained, 5)  # more than one batch of starts
    many, _ = invert(trained, images)
    alone, _ = invert(trained, images[4:])
    assert grey_levels(trained.images(many[4:]), trained.images(alone)).max() < 1


@pytest.mark.usefixtures("few_steps")
def test_pairs_and_a_walk_are_written(conditional_run: Path, tmp_path: Path) -> None:
    names = [str(tmp_path / f"{name}.png") for name in "ab"]
    for name, shape in zip(names, [(40, 30), (16, 16)], strict=True):
        Image.new("RGB", shape, (100, 0, 50)).save(name)
    out, film = tmp_path / "new" / "pairs.png", tmp_path / "walk.gif"
    done = gan("invert", conditional_run, *names, "--out", out, "--walk", film)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert all(f"{name}: " in line for name, line in zip(names, lines, strict=True))
    assert all(" grey levels, class " in line for line in lines)
    with Image.open(out) as pairs, Image.open(film) as walk:
        assert pairs.size == (2 * 128 + 3 * 2, 2 * 128 + 3 * 2)
        assert np.asarray(pairs)[2:130, 2:130].reshape(-1, 3).std(0).max() == 0  # the first image
        assert walk.size == (256, 256)


@pytest.mark.usefixtures("few_steps")
def test_held_out_images_are_compared_with_training_images(tiny_run: Path) -> None:
    done = gan("invert", tiny_run, "--held-out", "--num", "6")
    assert done.exit_code == 0, done.output
    training, held_out, difference = done.output.splitlines()
    assert training.startswith("training images: ") and "(6 images)" in training
    assert held_out.startswith("held-out images: ") and "(6 images)" in held_out
    assert "standard error" in difference


@pytest.mark.parametrize(
    "words",
    [
        ["--out", "a.png"],
        ["a.png"],
        ["a.png", "--held-out"],
        ["--held-out", "--out", "p.png"],
        ["a.png", "--out", "p.png", "--walk", "w.gif"],
        [],
    ],
)
def test_options_that_do_not_fit_are_one_usage_error(words: list[str], tiny_run: Path) -> None:
    done = gan("invert", tiny_run, *words)
    assert done.exit_code == 2
    assert "give IMAGES and --out (with --walk two IMAGES), or --held-out alone" in done.output


def test_all_bad_images_are_named_and_nothing_is_written(tiny_run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.png").write_text("<html>")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder").mkdir()
    bad = ["cut.png", "page.png", "empty.jpg", "folder", "missing.png"]
    words = [tmp_path / name for name in ["good.png", *bad]]
    done = gan("invert", tiny_run, *words, "--out", tmp_path / "pairs.png")
    assert done.exit_code == 1
    lines = done.output.removeprefix("Error: ").splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(tmp_path / name) for name in bad]
    assert not (tmp_path / "pairs.png").exists()


def test_data_without_held_out_images_are_refused(images: Path, tmp_path: Path) -> None:
    trained = untrained()
    data = trained.cfg.data.model_copy(update={"source": "folder", "root": str(images)})
    trained = replace(trained, cfg=trained.cfg.model_copy(update={"data": data}))
    with pytest.raises(ValueError, match=r"a.pt, step 3: .* no held-out images; .*data.hold_out"):
        list(compare_held_out(trained, num=4, seed=0))
