"""Reference and floor images come from the right split; each source has its network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gan.config.settings import DataConfig
from gan.data import datasets
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.data.source import Source
from gan.metrics.reference import choose_network, held_out_images, make_reference
from gan.metrics.scores import score

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    cfg = DataConfig(source="mnist5k", root=str(tmp_path_factory.mktemp("digits")))
    return pack(open_source(cfg), cfg)


def test_floor_images_are_held_out_images_if_there_are_any(tmp_path: Path) -> None:
    cfg = DataConfig(source="synthetic", root=str(tmp_path), image_size=32, channels=3)
    train, held_out = pack(open_source(cfg), cfg), held_out_images(cfg)
    assert held_out is not None
    reference = make_reference(train, held_out, None, num=100, seed=0)
    assert reference.floor_rows is None  # the floor is of test images
    known = {image.tobytes() for image in held_out.images}
    assert {image.tobytes() for image in reference.floor_images} <= known
    floor = score(reference.floor_images, reference)
    assert floor.keys() == {f"sliced_wasserstein_{name}" for name in ("32", "16", "mean")}
    assert (
        floor["sliced_wasserstein_mean"]
        < score(255 - train.images, reference)["sliced_wasserstein_mean"]
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [("mnist5k", "mnist"), ("stacked_mnist", "mnist"), ("fashion_mnist", "fashion_mnist"),
     ("cifar10", "cifar10"), ("celeba", "faces"), ("folder", "photos")],
)  # fmt: skip
def test_default_network_of_each_source(source: str, name: str) -> None:
    network = choose_network(DataConfig(source=source), CPU)
    assert network and network.name == name


def test_grey_network_is_used_for_colour_images_only_by_name_or_channel() -> None:
    grey, colour = (DataConfig(source="mnist", channels=channels) for channels in (1, 3))
    assert choose_network(colour, CPU) is None
    assert choose_network(colour, CPU, "none") is None
    for network in (choose_network(grey, CPU), choose_network(colour, CPU, "mnist")):
        assert network and network.name == "mnist"
    stacked = choose_network(DataConfig(source="stacked_mnist", channels=3), CPU)
    assert stacked and stacked.name == "mnist" and stacked.per_channel


def test_damaged_held_out_images_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(place: Path, split: datasets.Split, cfg: DataConfig, download: bool) -> Source:
        if split == "test":
            raise ValueError("a damaged file")
        return intact(place, split, cfg, download)

    intact = datasets.SOURCES["synthetic"]
    monkeypatch.setitem(datasets.SOURCES, "synthetic", damaged)
    cfg = DataConfig(source="synthetic", root=str(tmp_path), image_size=32, channels=3)
    with pytest.raises(ValueError, match="a damaged file"):
        held_out_images(cfg)


def test_samples_reference_and_floor_have_equally_many_images_of_each_class(
    digits: PackedImages,
) -> None:
    few = {0: 40, 1: 400, 2: 300}  # in shares that a random draw would miss
    rows = np.concatenate([np.flatnonzero(digits.labels == k)[:n] for k, n in few.items()])
    train = replace(digits, array=digits.images[rows], labels=digits.labels[rows])
    for held_out, expected in ((None, [11, 108, 81]), (train, [11, 108, 81])):
        reference = make_reference(train, held_out, None, num=200, seed=0)
        labels = reference.labels(num_classes=3)
        assert np.bincount(labels).tolist() == expected
        shown = {
            image.tobytes(): label for image, label in zip(train.images, train.labels, strict=True)
        }
        floor = [shown[image.tobytes()] for image in reference.floor_images]
        assert np.bincount(floor).tolist() == expected
    assert reference.labels(num_classes=0) is None


def test_classes_with_too_few_images_are_filled_up_with_others(digits: PackedImages) -> None:
    one_each = replace(digits, labels=np.arange(len(digits)))
    reference = make_reference(one_each, None, None, num=100, seed=0)
    assert reference.num == len(reference.floor_images) == len(set(reference.rows)) == 100
