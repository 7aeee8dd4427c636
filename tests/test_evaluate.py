"""Scores get worse with corruption, and a record states all that they depend on."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gan.analysis.evaluate import evaluate, memorisation
from gan.checkpoint import Checkpoint
from gan.config.reader import parse_config
from gan.config.settings import DataConfig
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.machine.precision import choose_precision
from gan.metrics.features import load_features
from gan.metrics.reference import Reference, choose_network, held_out_images, make_reference
from gan.metrics.scores import score
from gan.nn.generator import Generator
from gan.pretrained.trained import Trained

CPU = torch.device("cpu")
NUM = 600
VALUES = {
    "frechet_distance",
    "kernel_distance",
    "precision",
    "recall",
    "density",
    "coverage",
    "class_balance",
    "confident_share",
    "sliced_wasserstein_28",
    "sliced_wasserstein_14",
    "sliced_wasserstein_mean",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def digits(root: str) -> PackedImages:
    cfg = DataConfig(source="mnist5k", root=root)
    assert held_out_images(cfg) is None
    return pack(open_source(cfg), cfg)


@pytest.fixture(scope="module")
def reference(digits: PackedImages) -> Reference:
    return make_reference(digits, None, load_features("mnist", CPU), num=NUM, seed=0)


@pytest.fixture
def trained(tmp_path: Path, root: str) -> Trained:
    values = {"data": {"source": "mnist5k", "root": root}, "model": {"g_width": 4, "d_width": 4}}
    cfg = parse_config(values, origin="test")
    torch.manual_seed(0)
    generator = Generator(cfg.model, cfg.data.image_shape, 0).eval()
    precision = choose_precision(cfg.hardware, CPU)
    networks = {name: {} for name in ("g", "d", "g_ema", "g_optim", "d_optim")}
    checkpoint = Checkpoint(
        config={}, classes=list("0123456789"), data="fedcba9876543210", step=7, images_seen=448,
        environment={}, **networks, path=tmp_path / "step_00000007.pt", sha256="0123456789abcdef",
    )  # fmt: skip
    return Trained(generator, precision, cfg, checkpoint)


def noisy(images: np.ndarray, amount: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=images.shape)
    return (images + amount * 90 * noise).clip(0, 255).astype(np.uint8)


def blurred(images: np.ndarray, amount: float) -> np.ndarray:
    sharp = images.astype(float)
    soft = sharp
    for axis in (2, 3):
        soft = sum(np.roll(soft, by, axis) for by in (-2, -1, 0, 1, 2)) / 5
    return (sharp + amount * (soft - sharp)).astype(np.uint8)


def without_classes(images: np.ndarray, amount: float) -> np.ndarray:
    """Replaces images of the first classes by images of the others."""
    labels = load_features("mnist", CPU)(images).logits.argmax(1).numpy()
    kept = np.flatnonzero(labels >= 6 * amount)
    return images[np.resize(kept, len(images))]


@pytest.mark.parametrize(
    ("corrupt", "growing", "falling"),
    [
        (noisy, ("frechet_distance", "kernel_distance", "sliced_wasserstein_mean"), "precision"),
        (blurred, ("frechet_distance", "kernel_distance", "sliced_wasserstein_28"), "coverage"),
        (without_classes, ("frechet_distance", "kernel_distance", "class_balance"), "recall"),
    ],
)
def test_scores_get_worse_with_corruption(
    reference: Reference, corrupt, growing: tuple[str, ...], falling: str
) -> None:
    rows = [
        score(corrupt(reference.floor_images, amount), reference) for amount in (0, 0.34, 0.67, 1)
    ]
    for name in growing:
        column = [row[name] for row in rows]
        assert column == sorted(column)
        assert column[-1] > column[0]
    assert rows[-1][falling] < rows[0][falling] - 0.1


def test_reference_has_distance_zero_from_itself(
    digits: PackedImages, reference: Reference
) -> None:
    images = digits.images[reference.rows]
    same = dataclasses.replace(reference, floor_images=images, floor_rows=None)
    values = score(images, same)
    assert abs(values["frechet_distance"]) < 1e-6
    assert values["precision"] == values["recall"] == values["coverage"] == 1
    assert memorisation(images, same)["nearest_training"] < 0.1


def test_floor_images_are_disjoint_from_the_reference(
    digits: PackedImages, reference: Reference
) -> None:
    real = {image.tobytes() for image in digits.images[reference.rows]}
    assert len(reference.floor_images) == NUM
    assert not real & {image.tobytes() for image in reference.floor_images}


def test_record_states_all_that_the_scores_depend_on(trained: Trained) -> None:
    record = evaluate(trained, num=100, seed=3, device=CPU)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["values"].keys() == record["floor"].keys() == VALUES
    assert record["values"]["frechet_distance"] > 10 * record["floor"]["frechet_distance"]
    network = load_features("mnist", CPU)
    assert record["network"] == {"name": "mnist", "sha256": network.sha256}
    assert record["num_real"] == record["num_generated"] == 100
    assert record["seed"] == 3
    assert record["resize"] == "to 28x28, bilinear, antialiased"
    assert record["split"] == {"real": "train", "floor": "train, others"}
    assert record["data"]["source"] == "mnist5k"
    assert record["checkpoint"] == {
        "file": "step_00000007.pt",
        "sha256": "0123456789abcdef",
        "step": 7,
        "images_seen": 448,
        "data_checksum": "fedcba9876543210",
    }


def test_evaluation_is_a_function_of_its_seed(trained: Trained) -> None:
    first, again, other = (
        evaluate(trained, features="none", num=50, seed=seed, device=CPU) for seed in (1, 1, 2)
    )
    assert first == again
    assert first["values"] != other["values"]
    assert first["network"] is None


def test_evaluated_images_are_drawn_from_the_seed(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def spy(_: Trained, z: Tensor, labels: Tensor | None) -> np.ndarray:
        seen.append(z)
        return images(trained, z, labels)

    images = Trained.images
    monkeypatch.setattr(Trained, "images", spy)
    evaluate(trained, features="none", num=20, seed=5, draws=2, device=CPU)
    assert len(seen) == 2
    for z, seed in zip(seen, (5, 6), strict=True):
        torch.testing.assert_close(z, trained.latents(20, seed))


def test_number_of_images_is_limited_by_the_data_set(digits: PackedImages) -> None:
    assert make_reference(digits, None, None, num=10_000, seed=0).num == 2500
    with pytest.raises(ValueError, match=r"at least 10 images; .* only 4"):
        make_reference(digits, None, None, num=4, seed=0)


def test_copies_of_training_images_are_detected(reference: Reference) -> None:
    held_out = np.setdiff1d(np.arange(len(reference.train)), reference.floor_rows)
    copies = reference.train.images[held_out[:200]]
    others = noisy(255 - reference.floor_images[:200], 1.0)
    half = np.concatenate([copies, others])
    found = memorisation(half, reference)
    assert found["near_copies"] == pytest.approx(0.5, abs=0.01)
    assert memorisation(copies, reference)["nearest_training"] < 0.1


def test_real_images_are_no_nearer_than_the_floor(reference: Reference) -> None:
    assert reference.floor_rows is not None  # nothing is held out
    found = memorisation(reference.floor_images, reference)
    assert found["near_copies"] == pytest.approx(0.01, abs=0.005)
    assert found["nearest_training"] == found["nearest_training_floor"] > 0


def test_modes_of_stacked_digits_are_counted_by_channel(digits: PackedImages) -> None:
    rng = np.random.default_rng(0)
    assert digits.labels is not None
    picks = rng.integers(len(digits), size=(300, 3))
    stacked = PackedImages(
        array=digits.images[picks, 0],
        labels=digits.labels[picks] @ np.array([100, 10, 1]),
        classes=tuple(f"{mode:03}" for mode in range(1000)),
        checksum="",
        folder=Path(),
    )
    network = choose_network(DataConfig(source="stacked_mnist", channels=3), CPU)
    reference = make_reference(stacked, None, network, num=150, seed=0)
    assert reference.features is not None
    assert reference.features.shape == (150, 3 * 128)
    values = score(stacked.images[:150], reference)
    assert abs(values["modes"] - len(np.unique(stacked.labels[:150]))) <= 3
    one = score(np.repeat(stacked.images[:1], 150, axis=0), reference)
    assert one["modes"] == 1


def test_only_inception_distances_are_named_fid(digits: PackedImages) -> None:
    other = load_features("mnist", CPU)
    network = dataclasses.replace(other, name="inception")
    reference = make_reference(digits, None, network, num=50, seed=0)
    assert "frechet_distance" in score(reference.floor_images, reference)
    network = dataclasses.replace(other, is_inception=True)
    reference = make_reference(digits, None, network, num=50, seed=0)
    values = score(reference.floor_images, reference)
    assert {"fid", "kid", "inception_score"} <= values.keys()
    assert not {"frechet_distance", "kernel_distance", "class_balance"} & values.keys()


def test_photographs_without_classes_are_scored_by_a_network_without_classes(
    digits: PackedImages,
) -> None:
    images = dataclasses.replace(digits, labels=None, classes=())
    reference = make_reference(images, None, load_features("photos", CPU), num=50, seed=0)
    values = score(reference.floor_images, reference)
    assert "frechet_distance" in values and "class_balance" not in values


def test_classes_of_another_data_set_are_not_scored(digits: PackedImages) -> None:
    reference = make_reference(digits, None, load_features("fashion_mnist", CPU), num=50, seed=0)
    values = score(reference.floor_images, reference)
    assert "frechet_distance" in values
    assert not {"class_balance", "confident_share"} & values.keys()
