"""Shipped networks have the accuracy their files state; damaged or foreign files are refused."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from train_features import TASKS, Task, fit, measure, save_classifier, targets

from gan.config.settings import DataConfig, HardwareConfig
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.machine.precision import choose_precision
from gan.metrics import features
from gan.metrics.features import Classifier, FeatureNetwork, load_features

CPU = torch.device("cpu")
WEIGHTS = Path(features.__file__).parent / "weights"
SHIPPED = sorted(path.stem for path in WEIGHTS.iterdir())


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    cfg = DataConfig(source="mnist5k", root=str(tmp_path_factory.mktemp("data")))
    return pack(open_source(cfg), cfg)


@pytest.fixture(scope="module")
def mnist() -> FeatureNetwork:
    return load_features("mnist", CPU)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    torch.manual_seed(0)
    save_classifier(
        path, Classifier(3, 32, 4).eval(), {"name": "mine", "classes": '["a", "b", "c", "d"]'}
    )
    return path


def accuracy(network: FeatureNetwork, images: np.ndarray, labels: np.ndarray) -> float:
    return float((network(images).logits.argmax(1).numpy() == labels).mean())


def test_mnist_network_classifies_digits_as_accurately_as_stated(
    mnist: FeatureNetwork, digits: PackedImages
) -> None:
    assert digits.labels is not None
    found = accuracy(mnist, digits.images[::4], digits.labels[::4])
    # these digits come from the training split, so the accuracy may be higher
    assert float(mnist.metadata["test_accuracy"]) - 0.002 <= found


@pytest.mark.parametrize("side", [20, 32, 64])
def test_mnist_network_classifies_digits_of_other_sizes(
    mnist: FeatureNetwork, tmp_path: Path, side: int
) -> None:
    cfg = DataConfig(source="mnist5k", root=str(tmp_path), image_size=side)
    source = open_source(cfg)
    assert source.labels is not None
    numbers = range(0, 5000, 20)
    images = np.stack([np.asarray(source.read(i).resize((side, side))) for i in numbers])[:, None]
    assert accuracy(mnist, images, source.labels[::20]) > 0.97


@pytest.mark.parametrize(
    ("name", "quality", "least"),
    [("mnist", "test_accuracy", 0.992), ("fashion_mnist", "test_accuracy", 0.915),
     ("cifar10", "test_accuracy", 0.8), ("faces", "test_accuracy", 0.88),
     ("photos", "probe_accuracy", 0.5)],
)  # fmt: skip
def test_shipped_file_records_how_it_was_made(name: str, quality: str, least: float) -> None:
    network = load_features(name, CPU)
    facts = network.metadata
    assert float(facts[quality]) >= least
    assert facts["command"].startswith(f"python scripts/train_features.py {name}")
    assert {"seed", "data_set", "date", "torch", "precision"} <= facts.keys()
    assert len(network.classes) == {"faces": 40, "photos": 0}.get(name, 10)
    assert len(network.sha256) == 64
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size < 1_500_000


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_network_is_as_good_as_stated(name: str) -> None:
    """On a part of the images."""
    task = TASKS[name]
    cfg = DataConfig(source=task.source, image_size=task.side, channels=task.channels)
    try:
        sources = [open_source(cfg, split) for split in ("train", "test")]
    except ValueError:
        pytest.skip(f"{task.source} is not available")
    parts, answers = [], []
    for source in sources[task.kind != "views" :]:  # only the probe needs training images
        every = len(source) // 2500
        images = np.stack([np.asarray(source.read(name)) for name in source.names[::every]])
        images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        parts.append(SimpleNamespace(images=images, classes=source.classes))
        answers.append(targets(task, source)[::every])
    if task.kind != "views":
        parts, answers = [None, *parts], [targets(task, sources[0]), *answers]
    found = measure(task, load_features(name, CPU), *parts, answers)
    stated = load_features(name, CPU).metadata
    # the probe is fitted to a part of the training images only
    tolerance = 0.05 if task.kind == "views" else 0.012
    for quality, value in found.items():
        assert value == pytest.approx(float(stated[quality]), abs=tolerance)


def test_network_is_frozen_and_its_outputs_do_not_depend_on_the_batch(
    mnist: FeatureNetwork,
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (600, 1, 28, 28), dtype=np.uint8)
    found = mnist(images)
    assert found.features.shape == (600, features.NUM_FEATURES)
    assert found.logits.shape == (600, 10)
    torch.testing.assert_close(found.features[:3], mnist(images[:3]).features)
    assert not mnist.module.training
    assert not any(p.requires_grad for p in mnist.module.parameters())


def test_loaded_network_equals_saved_network(saved: Path) -> None:
    network = load_features(saved, CPU)
    torch.manual_seed(0)
    original = Classifier(3, 32, 4).eval()
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 40, 24), dtype=np.uint8)
    with torch.no_grad():
        expected = original(torch.from_numpy(images))
    torch.testing.assert_close(network(images).features, expected[0])
    torch.testing.assert_close(network(images).logits, expected[1])
    assert (network.name, network.channels, network.classes) == ("mine", 3, tuple("abcd"))


def test_sha256_is_a_function_of_the_weights_alone(saved: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    other = tmp_path / "other.safetensors"
    save_classifier(other, Classifier(3, 32, 4), {"name": "x", "classes": "[1, 2, 3, 4]"})
    assert load_features(other, CPU).sha256 == load_features(saved, CPU).sha256


def test_grey_images_are_repeated_for_a_colour_network(saved: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (5, 1, 32, 32), dtype=np.uint8)
    network = load_features(saved, CPU)
    torch.testing.assert_close(network(grey).logits, network(grey.repeat(3, 1)).logits)


def test_grey_network_refuses_colour_images(mnist: FeatureNetwork) -> None:
    with pytest.raises(ValueError, match="mnist expects 1 channel, but the images have 3"):
        mnist(np.zeros((2, 3, 28, 28), np.uint8))


def test_unknown_network_is_refused_with_the_valid_names() -> None:
    names = ", ".join(SHIPPED)
    with pytest.raises(ValueError, match=f"must be one of {names}, or .*; got 'mnits'"):
        load_features("mnits", CPU)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no\.safetensors: not a readable .*No such file"):
        load_features(tmp_path / "no.safetensors", CPU)


def test_flipped_bit_in_the_weights_is_detected(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[-100] ^= 1
    saved.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        load_features(saved, CPU)


@pytest.mark.parametrize("keep", [0, 5, 300, -1])
def test_truncated_file_is_refused(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"mine\.safetensors: not a readable feature network"):
        load_features(saved, CPU)


def test_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="not written by scripts/train_features"):
        load_features(path, CPU)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("side", "1000000", "side 1000000"),
        ("channels", "2", "2 channels"),
        ("classes", json.dumps(list(range(5))), "head.weight"),
        ("classes", "[", "invalid metadata"),
        ("classes", "[" * 100_000, "invalid metadata"),
    ],
)
def test_metadata_that_do_not_fit_the_weights_are_refused(
    saved: Path, key: str, value: str, reason: str
) -> None:
    weights, metadata = features._read(saved)
    save_file(weights, saved, metadata=metadata | {key: value})
    with pytest.raises(ValueError, match=reason):
        load_features(saved, CPU)


@pytest.mark.parametrize(
    ("kind", "quality"), [("classes", "test_accuracy"), ("views", "probe_accuracy")]
)
def test_training_script_is_reproducible_and_states_the_true_quality(
    tmp_path: Path, kind: str, quality: str
) -> None:
    cfg = DataConfig(source="synthetic", root=str(tmp_path), image_size=32, channels=3)
    whole = [pack(open_source(cfg, split), cfg) for split in ("train", "test")]
    train, test = (replace(p, array=p.images[:256], labels=p.labels[:256]) for p in whole)
    answers = [train.labels, test.labels]
    precision = choose_precision(HardwareConfig(precision="fp32"), CPU)
    task = Task("synthetic", 32, 3, kind, epochs=1)
    classes = json.dumps(train.classes if kind == "classes" else [])
    out = tmp_path / "shapes.safetensors"
    hashes, found = [], {}
    for seed in (0, 1, 0):
        trained = fit(task, train, answers[0], seed, 1, CPU, precision)
        save_classifier(out, trained, {"name": "shapes", "classes": classes})
        network = load_features(out, CPU)
        found = measure(task, network, train, test, answers)
        hashes.append(network.sha256)
    assert hashes[0] == hashes[2] != hashes[1]
    if kind == "classes":
        assert found[quality] == accuracy(network, test.images, test.labels)
