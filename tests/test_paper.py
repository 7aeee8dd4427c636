"""The paper's experiments on cases with a known answer, and as commands on tiny runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.svm import LinearSVC
from torch import nn

from gan.data.pack import PackedImages
from gan.errors import ConfigError
from gan.paper import nearest, result
from gan.paper.digits import error_of
from gan.paper.features import guided_gradient, layers_of_d, pooled, spreads
from gan.paper.nearest import compare, find_nearest
from gan.paper.probe import accuracy, draw, fit_and_score, fit_svm, read_attributes
from gan.pretrained.load import load_generator
from tests.conftest import gan


def some_images(num: int, seed: int = 0) -> np.ndarray:
    stream = np.random.default_rng(seed)
    return stream.integers(0, 256, (num, 1, 4, 4), dtype=np.uint8)


def blobs(num: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns rows (num, 6) of three classes with overlap, and signs (num, 3)."""
    labels = torch.arange(num) % 3
    rows = torch.randn(num, 6) + 2 * nn.functional.one_hot(labels, 6)
    return rows, nn.functional.one_hot(labels, 3).float() * 2 - 1


@pytest.mark.parametrize("num", [300, 2000])  # less and more rows than the search is scaled by
@pytest.mark.parametrize("c", [0.01, 1.0])
def test_svm_equals_scikit_learn(c: float, num: int) -> None:
    rows, signs = blobs(num)
    found = fit_svm(nn.functional.pad(rows, (0, 1), value=1.0), signs, c)
    other = LinearSVC(C=c, tol=1e-8, max_iter=100_000).fit(rows, signs.argmax(1))
    wanted = np.concatenate([other.coef_, other.intercept_[:, None]], 1).T
    torch.testing.assert_close(found, torch.tensor(wanted).float(), atol=0.005, rtol=0.01)


def test_separable_features_are_classified_without_error() -> None:
    rows, signs = blobs(200)
    rows[:, 4] = 100 * signs[:, 0] + 5  # of another scale, and not centred
    rows[:, 5] = 100 * signs[:, 1] - 9
    assert accuracy(signs[100:], fit_and_score(rows[:100], signs[:100], rows[100:])) == 1


def test_features_without_information_give_the_accuracy_of_guessing() -> None:
    rows, signs = torch.randn(2000, 5), blobs(2000)[1]
    scores = fit_and_score(rows[:1000], signs[:1000], rows[1000:])
    assert abs(accuracy(signs[1000:], scores) - 1 / 3) < 0.06


def test_what_all_images_have_is_predicted_by_the_bias() -> None:
    signs = torch.ones(100, 2)
    scores = fit_and_score(torch.randn(100, 5), signs, 0.5 * torch.randn(100, 5))
    assert accuracy(signs, scores) == 1


def test_attributes_are_each_right_or_wrong() -> None:
    signs = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    assert accuracy(signs, torch.tensor([[3.0, 2.0], [1.0, 1.0]])) == 0.75


def test_drawn_labels_are_others_each_time_and_of_each_class_equally_many() -> None:
    signs = blobs(600)[1]
    first, second = draw(signs, "60", 2, seed=0)
    assert signs[first].argmax(1).bincount().tolist() == [20, 20, 20]
    assert len({*first}) == 60 and {*first} != {*second}
    (every,) = draw(signs, "all", 2, seed=0)
    assert sorted(every) == list(range(600))


def test_attributes_are_read_by_the_name_of_the_image(tmp_path: Path) -> None:
    file = tmp_path / "list_attr_celeba.txt"
    file.write_text("2\nA B\n1.jpg  1 -1\n2.jpg -1 -1\n")
    assert read_attributes(file, ["x/2.jpg", "1.jpg"]).tolist() == [[-1, -1], [1, -1]]
    with pytest.raises(ConfigError, match=r"list_attr_celeba.txt.*3\.jpg"):
        read_attributes(file, ["3.jpg"])


def test_pooled_features_are_the_maxima_of_each_layer(tiny_run: Path) -> None:
    trained = load_generator(tiny_run, torch.device("cpu"))
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16), dtype=np.uint8)
    layers = layers_of_d(trained, images, None)
    features = pooled(trained, layers, images)
    assert features.shape == (20, (4 + 8) * 16)  # 8x8 is pooled, 4x4 is kept
    first = layers[1](layers[0](torch.tensor(images[:1]).float() / 127.5 - 1))[0, 0]  # (8, 8)
    wanted = first.unflatten(0, (4, 2)).unflatten(2, (4, 2)).amax((1, 3))
    torch.testing.assert_close(features[0, :16], wanted.flatten(), atol=0.02, rtol=0.02)  # bf16


def test_initial_weights_depend_on_the_seed_and_trained_ones_do_not(tiny_run: Path) -> None:
    trained = load_generator(tiny_run, torch.device("cpu"))
    images = np.zeros((4, 3, 16, 16), dtype=np.uint8)
    seeds = (1, 1, 2, None)
    weights = [layers_of_d(trained, images, seed)[0].weight for seed in seeds]
    assert weights[0].equal(weights[1]) and not weights[0].equal(weights[2])
    assert weights[3].equal(trained.checkpoint.d["features.0.weight"])


def test_guided_gradient_passes_where_input_and_gradient_are_positive() -> None:
    first, second = nn.Conv2d(1, 3, 1, bias=False), nn.Conv2d(3, 1, 1, bias=False)
    with torch.no_grad():
        first.weight[:] = torch.tensor([2.0, 3.0, -5.0]).view(3, 1, 1, 1)
        second.weight[:] = torch.tensor([7.0, -1.0, 1.0]).view(1, 3, 1, 1)
    layers = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2))
    x = torch.tensor([[[[1.0, 4.0]]]])  # the second pixel is the strongest
    # channel 1 has a negative gradient, channel 2 a negative input: only 2 * 7 passes
    assert guided_gradient(layers, x, 0).tolist() == [[[[0.0, 14.0]]]]


def test_spread_is_zero_for_copies_and_one_for_all_rows() -> None:
    rows = torch.randn(30, 4)
    rows[:3] = rows[0]
    spread = spreads(rows, torch.stack([torch.arange(30), torch.arange(30) % 3]))
    torch.testing.assert_close(spread, torch.tensor([1.0, 0.0]))


def test_nearest_images_are_those_of_all_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gan.paper.nearest._CHUNK", 11)
    wanted, train = some_images(50), some_images(30, seed=1)
    distance, index = find_nearest(wanted, train)
    every = torch.cdist(*(torch.tensor(x).double().flatten(1) / 255 for x in (wanted, train)))
    torch.testing.assert_close(distance.double(), every.min(1).values, atol=1e-5, rtol=1e-5)
    assert index.equal(every.min(1).indices)


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_planted_image_is_found_also_as_its_mirror_image(mirrored: bool) -> None:
    train, images = some_images(25, seed=1), some_images(3)
    train[7], train[20] = images[0], images[2, :, :, ::-1]
    distance, rows = find_nearest(images, train, mirrored=mirrored)
    assert (distance < 1e-3).tolist() == [True, False, mirrored] and rows[0] == 7
    assert (rows[2] == 20) == mirrored


def test_copies_are_too_near_and_new_data_are_not() -> None:
    held_out, new = torch.rand(2000) + 1, torch.rand(2000) + 1
    like_new = compare(new, held_out)
    assert abs(like_new["share_too_near"] - 0.01) < 0.01
    half_copied = compare(torch.where(torch.arange(2000) < 1000, 0.0, new), held_out)
    assert abs(half_copied["share_too_near"] - 0.505) < 0.01


def test_1nn_on_copies_makes_the_errors_of_their_labels() -> None:
    images, labels = some_images(40), np.arange(40) % 3
    wrong = labels.copy()
    wrong[:10] = (wrong[:10] + 1) % 3
    test = PackedImages(images, labels, ("a", "b", "c"), "", Path())
    assert error_of(test, images, wrong) == 0.25
    assert error_of(test, images[:20], wrong[:20]) > 0.25  # says little of the other half


@pytest.fixture(scope="module")
def run_with_test_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run with classes, on a folder of which a third is held out."""
    from gan.training.loop import train
    from tests.conftest import tiny_config

    root = tmp_path_factory.mktemp("held-out")
    stream = np.random.default_rng(0)
    for i in range(240):
        file = root / "images" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        level = 160 * (i % 2)
        Image.fromarray(stream.integers(level, level + 90, (16, 16, 3), dtype=np.uint8)).save(file)
    sections = {"data": {"source": "folder", "hold_out": 0.34}, "model": {"conditional": True}}
    train(tiny_config(root / "images", **sections), root / "run", "cpu")
    return root / "run"


def test_errors_are_of_as_many_images_as_there_are(
    run_with_test_images: Path, tmp_path: Path
) -> None:
    root = run_with_test_images.parent / "images"
    words = ("--num", 3000, "--data-root", root, "--out", tmp_path / "a.png")
    assert gan("paper", "digits", run_with_test_images, *words).exit_code == 0
    error = json.loads((tmp_path / "a.json").read_text())["error"]
    assert len(error["training images"]) == 1 and [*error["samples"]] == ["600", "3000"]


def test_few_held_out_images_are_all_shown_in_whole_rows(
    run_with_test_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids: list[tuple] = []
    monkeypatch.setattr(
        "gan.paper.nearest.grid", lambda images, columns: grids.append((len(images), columns))
    )
    root = str(run_with_test_images.parent / "images")
    trained = load_generator(run_with_test_images, torch.device("cpu"), data_root=root)
    nearest.run(trained, num=5, seed=0)
    assert set(grids) == {(20, 5)}


def test_grey_panels_keep_their_grey_levels() -> None:
    panel = np.full((8, 8, 1), 60, np.uint8)
    panel[:4] = 100
    figure = result.draw([{"a": panel, "b": panel.repeat(3, 2)}])
    grey, colour = (axes.images[0] for axes in figure.subfigs[0].axes)
    assert np.array_equal(grey.to_rgba(panel[..., 0], bytes=True)[..., :3], panel.repeat(3, 2))
    assert colour.get_array().max() == 100


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("probe", ["--labels", "20,all", "--draws", "1"]),
        ("features", ["--num", "30"]),
        ("nearest", ["--num", "100"]),
        ("digits", ["--num", "20"]),
    ],
)
def test_experiment_writes_a_figure_and_its_numbers(
    verb: str, options: list[str], run_with_test_images: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("gan.paper.probe._MIN_STEPS", 40)  # of the supervised network
    run, out = run_with_test_images, tmp_path / "new" / "made.png"
    options += ["--data-root", str(run.parent / "images")]
    shown = gan("paper", verb, run, "--out", out, *options)
    assert shown.exit_code == 0, shown.output
    assert sorted(path.name for path in out.parent.iterdir()) == ["made.json", "made.png"]
    assert Image.open(out).width > 100
    numbers = json.loads(out.with_suffix(".json").read_text())
    assert numbers["images_seen"] == 32
    if verb == "probe":  # light and dark images are told apart by any features
        found = numbers["mean_and_deviation"]
        assert found.keys() == {"D, 32 images", "random D", "pixels", "supervised"}
        assert all(row["20"] == [1, 0] for row in found.values())
    if verb == "digits":
        assert numbers["error"]["training images"].popitem()[1] == 0


@pytest.mark.parametrize("verb", [["evaluate"], ["paper", "digits", "--out", "made.png"]])
@pytest.mark.parametrize(("folders", "found"), [("abc", "3: a, b, c"), ("", "none")])
def test_images_with_other_classes_are_refused(
    verb: list[str], folders: str, found: str, run_with_test_images: Path, tmp_path: Path
) -> None:
    for i in range(36):
        file = tmp_path / (folders and folders[i % len(folders)]) / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (i, 0, 0)).save(file)
    shown = gan(*verb, run_with_test_images, "--data-root", tmp_path)
    assert shown.exit_code == 2
    assert f"these images have other classes ({found})" in shown.output
    assert "step 4 (2: a, b)" in shown.output


@pytest.mark.parametrize("files", [["made.png"], ["made.json"]])
def test_paper_refuses_files_that_exist(files: list[str], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_text("mine")
    shown = gan("paper", "digits", tmp_path / "run", "--out", tmp_path / "made.png")
    assert shown.exit_code == 2 and "--force" in shown.output
    assert [path.name for path in tmp_path.iterdir()] == files


def test_too_few_images_to_draw_labels_from_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match="8 images are too few to draw from; use all"):
        draw(torch.zeros(8, 3), "5", draws=1, seed=0)
    assert len(draw(torch.zeros(8, 3), "all", draws=1, seed=0)[0]) == 8


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["digits"], "model.conditional"),
        (["probe", "--labels", "100,some"], "100,1000,all"),
        (["probe", "--labels", "3"], "--labels 3: must be numbers from"),
        (["probe", "--labels", "100", "--also", "mnist"], "its images have another shape"),
    ],
)
def test_what_an_experiment_lacks_is_one_error(
    words: list[str], named: str, tiny_run: Path, tmp_path: Path
) -> None:
    shown = gan("paper", words[0], tiny_run, "--out", tmp_path / "made.png", *words[1:])
    assert shown.exit_code == 2 and named in shown.output and not list(tmp_path.iterdir())
