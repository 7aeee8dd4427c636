"""Generators to use without training: folders, shipped names, and what is wrong with others."""

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gan import load
from gan.checkpoint import BadCheckpoint, read_checkpoint
from gan.errors import ConfigError
from gan.pretrained.card import write_card
from gan.pretrained.folder import read_folder, write_folder
from gan.pretrained.load import load_generator, read_source
from gan.pretrained.shipped import CONFIG, DISCRIMINATOR, MODEL, SHIPPED, shipped_names
from gan.training.loop import train
from tests.conftest import gan, tiny_config

CPU = torch.device("cpu")


@pytest.fixture
def folder(conditional_run: Path, tmp_path: Path) -> Path:
    write_folder(read_source(conditional_run), tmp_path / "folder")
    return tmp_path / "folder"


def images(source: Path) -> np.ndarray:
    trained = load_generator(source, CPU)
    return trained.images(trained.latents(5, 0), trained.labels(5, 0))


def test_a_folder_gives_the_images_of_its_run(conditional_run: Path, folder: Path) -> None:
    assert (images(folder) == images(conditional_run)).all()
    newest = read_checkpoint(max((conditional_run / "checkpoints").glob("step_*.pt")))
    found = read_folder(folder)
    assert (found.step, found.classes, found.data) == (newest.step, newest.classes, newest.data)


def test_half_precision_moves_images_by_at_most_one_grey_level(
    conditional_run: Path, folder: Path
) -> None:
    whole = (folder / MODEL).stat().st_size
    write_folder(read_source(conditional_run), folder, half=True)
    assert (folder / MODEL).stat().st_size < 0.75 * whole
    difference = images(folder).astype(int) - images(conditional_run)
    assert abs(difference).max() <= 1


def test_every_verb_takes_a_folder(folder: Path, tmp_path: Path) -> None:
    for verb, *words in (("sample", "--num", 4), ("walk", "--points", 2, "--steps", 2)):
        result = gan(verb, folder, "--out", tmp_path / f"{verb}.png", *words)
        assert result.exit_code == 0, result.output


def test_an_unknown_name_lists_the_shipped_ones(tmp_path: Path) -> None:
    result = gan("sample", "celeba65", "--out", tmp_path / "a.png")
    assert result.exit_code == 2 and "'celeba65'" in result.output
    assert all(name in result.output for name in shipped_names())
    assert not (tmp_path / "a.png").exists()


def test_an_existing_path_wins_over_a_name(
    conditional_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in shipped_names():
        write_folder(read_source(conditional_run), tmp_path / name)
        assert read_source(name).path == Path(name)


def _edit(folder: Path, **changes: object) -> None:
    values = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**values, **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "config.json"),
        ({"classes": "abc"}, "classes"),
        ({"classes": [1, 2]}, "classes"),
        ({"step": -1}, "step"),
        ({"step": True}, "step"),
        ({"config": []}, "config"),
        ({"config": {"model": {"g_width": 10**9}}}, "g_width"),
        (
            {"config": {"model": {"g_width": 1024, "z_dim": 4096, "conditional": True}}},
            "config has",
        ),
        ({"sha256": "0" * 64}, "damaged"),
        ({"sha256": None}, "damaged"),
        ({"data": 5}, "data"),
    ],
)
def test_a_wrong_description_is_one_error(folder: Path, change: dict, message: str) -> None:
    _edit(folder, **change)
    with pytest.raises(BadCheckpoint, match=message):
        load_generator(folder, CPU)


def test_a_flipped_bit_is_found(folder: Path) -> None:
    data = bytearray((folder / MODEL).read_bytes())
    data[-5] ^= 1
    (folder / MODEL).write_bytes(data)
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors: damaged"):
        read_folder(folder)


def test_a_header_that_lies_takes_no_memory(folder: Path, little_memory: None) -> None:
    data = (1 << 62).to_bytes(8, "little") + b"{}"
    (folder / MODEL).write_bytes(data)
    with pytest.raises(BadCheckpoint, match="not a safetensors file"):
        read_folder(folder)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / MODEL).unlink()
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors"):
        read_folder(folder)
    (folder / CONFIG).unlink()
    with pytest.raises(BadCheckpoint, match=r"config\.json"):
        read_folder(folder)
    with pytest.raises(ConfigError, match="no run"):
        read_source(tmp_path / "nothing")


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    import hashlib

    weights = safetensors.torch.load_file(folder / MODEL)
    weights["layers.0.weight"][0] = float("nan")
    data = safetensors.torch.save(weights)
    (folder / MODEL).write_bytes(data)
    _edit(folder, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(BadCheckpoint, match="not finite"):
        load_generator(folder, CPU)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_one_error(
    conditional_run: Path, tmp_path_factory: pytest.TempPathFactory, data: bytes, config: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    if not folder.exists():
        write_folder(read_source(conditional_run), folder)
    path = folder / (CONFIG if config else MODEL)
    kept = path.read_bytes()
    path.write_bytes(data)
    try:
        with pytest.raises(BadCheckpoint, match=path.name):
            load_generator(folder, CPU)
    finally:
        path.write_bytes(kept)


def test_shipped_folders_are_in_the_package() -> None:
    assert {path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}")} == set(shipped_names())


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "x" * 201])
def test_classes_that_are_not_plain_names_are_refused(folder: Path, name: str) -> None:
    _edit(folder, classes=[name, "b"])
    with pytest.raises(BadCheckpoint, match="printable"):
        read_folder(folder)


def test_weights_larger_than_the_network_are_refused_unread(
    folder: Path, little_memory: None
) -> None:
    with open(folder / MODEL, "r+b") as file:
        file.truncate(3 << 30)  # sparse: takes no disk
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors: 3,221,225,472 bytes; the"):
        read_folder(folder)
    with open(folder / CONFIG, "ab") as file:
        file.truncate(3 << 30)
    with pytest.raises(BadCheckpoint, match=r"config\.json: larger than"):
        read_folder(folder)


@pytest.mark.parametrize("name", [CONFIG, MODEL])
def test_a_pipe_in_place_of_a_file_does_not_hang(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(BadCheckpoint, match=name):
        read_folder(folder)


_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@settings(max_examples=50)
@given(st.data())
def test_any_value_in_the_description_gives_images_or_a_short_error(
    conditional_run: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("values")
    write_folder(read_source(conditional_run), folder)
    values = inner = json.loads((folder / CONFIG).read_text())
    key = data.draw(st.sampled_from(sorted(values)))
    while isinstance(inner[key], dict | list) and inner[key] and data.draw(st.booleans()):
        inner = inner[key]
        keys = range(len(inner)) if isinstance(inner, list) else sorted(inner)
        key = data.draw(st.sampled_from(keys))
    inner[key] = data.draw(_values)
    (folder / CONFIG).write_text(json.dumps(values))
    try:
        trained = load_generator(folder, CPU)
        write_card(trained, folder)
    except BadCheckpoint as error:
        assert 0 < len(str(error)) < 1000


def test_many_unknown_keys_give_a_short_error(conditional_run: Path, tmp_path: Path) -> None:
    write_folder(read_source(conditional_run), tmp_path)
    values = json.loads((tmp_path / CONFIG).read_text())
    values["config"]["train"] = dict.fromkeys(map(str, range(1000)))
    (tmp_path / CONFIG).write_text(json.dumps(values))
    with pytest.raises(BadCheckpoint, match=r"config\.json: unknown key 'train\.0'") as error:
        read_folder(tmp_path)
    assert len(str(error.value)) < 1000


def test_a_discriminator_ships_on_request(conditional_run: Path, tmp_path: Path) -> None:
    checkpoint = read_source(conditional_run)
    write_folder(checkpoint, tmp_path, discriminator=True)
    found = read_folder(tmp_path)
    assert found.d.keys() == checkpoint.d.keys()
    assert all(torch.equal(found.d[key], value) for key, value in checkpoint.d.items())
    data = bytearray((tmp_path / DISCRIMINATOR).read_bytes())
    data[-1] ^= 1
    (tmp_path / DISCRIMINATOR).write_bytes(data)
    with pytest.raises(BadCheckpoint, match=r"discriminator\.safetensors: damaged"):
        read_folder(tmp_path)


def test_a_run_starts_from_a_folder_with_its_generator(
    config: Path, tiny_run: Path, tmp_path: Path
) -> None:
    write_folder(read_source(tiny_run), tmp_path / "start")
    options = ["--set", f"train.init_from={tmp_path / 'start'}", "--set", "train.num_steps=1"]
    run = tmp_path / "run"
    done = gan("train", config, "--run-dir", run, "--device", "cpu", *options)
    assert done.exit_code == 0, done.output
    assert f"generator from {tmp_path / 'start'}, step 4" in (run / "log.txt").read_text()
    first = read_source(tiny_run).g_ema["layers.0.weight"]
    moved = read_source(run).g["layers.0.weight"] - first
    assert 0 < moved.abs().max() < 0.01  # one step of Adam


def test_a_run_cannot_start_from_an_unknown_name(config: Path, tmp_path: Path) -> None:
    options = ["--set", "train.init_from=celeba65", "--run-dir", tmp_path / "run"]
    done = gan("train", config, "--device", "cpu", *options)
    assert done.exit_code != 0 and done.stderr.startswith("Error: train.init_from: no run, check")
    assert not (tmp_path / "run").exists()


def test_truncated_samples_are_those_of_shorter_latents(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.npz"
    assert gan("sample", tiny_run, "--num", 3, "--truncation", 0.5, "--out", out).exit_code == 0
    trained = load_generator(tiny_run, CPU)
    expected = trained.images(trained.latents(3, 0) / 2).transpose(0, 2, 3, 1)
    assert (np.load(out)["images"] == expected).all()
    for factor in (0, 1.1, math.nan):
        words = ["--truncation", factor, "--out", tmp_path / "b.png"]
        assert gan("sample", tiny_run, *words).exit_code == 2
    assert not (tmp_path / "b.png").exists()


def test_private_paths_are_not_written(conditional_run: Path, tmp_path: Path) -> None:
    checkpoint = read_source(conditional_run)
    train = {**checkpoint.config["train"], "init_from": "/home/me/runs/a.pt"}
    config = {**checkpoint.config, "train": train}
    write_folder(replace(checkpoint, config=config), tmp_path)
    assert read_folder(tmp_path).config["train"]["init_from"] == "a.pt"


def test_the_script_makes_a_folder_of_an_evaluated_run(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import make_pretrained

    monkeypatch.setattr(make_pretrained, "SHIPPED", tmp_path / "shipped")
    meta = json.loads((finished_run / "meta.json").read_text())
    command = "gan train configs/a.yaml --set a.b=c --set train.num_steps=9 --run-dir x"
    meta["calls"][-1] |= {"command": command, "commit": "c0ffee"}
    (finished_run / "meta.json").write_text(json.dumps(meta))
    words = [str(finished_run), "tiny", "--discriminator"]
    refused = CliRunner().invoke(make_pretrained.main, words)
    assert refused.exit_code == 1 and "evaluation.json" in refused.stderr
    evaluation = ["--features", "none", "--num", 20, "--draws", 1, "--data-root", tmp_path]
    gan("evaluate", finished_run, *evaluation, "--out", finished_run / "evaluation.json")
    done = CliRunner().invoke(make_pretrained.main, words, catch_exceptions=False)
    assert done.exit_code == 0 and "half precision" in done.output
    card = (tmp_path / "shipped" / "tiny" / "README.md").read_text()
    assert "gan train configs/a.yaml --set a.b=c --set train.num_steps=4\n" in card
    assert "`c0ffee`" in card and "| sliced_wasserstein_mean | " in card
    assert read_folder(tmp_path / "shipped" / "tiny").d


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_generator_draws_and_has_a_card(name: str) -> None:
    trained = load_generator(name, CPU)
    drawn = trained.images(trained.latents(8, 0), trained.labels(8, 0))
    assert drawn.std(axis=0).mean() > 10  # grey levels: the images differ
    card = (SHIPPED / name / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["pipeline_tag"] == "unconditional-image-generation" and front["license"]
    for part in ("frechet_distance", "## Data and licence", "## Limits", "gan train configs/"):
        assert part in card
    text = card + (SHIPPED / name / CONFIG).read_text()
    assert not re.search(r"(?<![\w/:.-])/\w+/", text)  # no path of the machine that made it


def test_shipped_generators_are_small_and_listed() -> None:
    sizes = {
        name: sum(file.stat().st_size for file in (SHIPPED / name).iterdir())
        for name in shipped_names()
    }
    assert sum(sizes.values()) <= 16e6 and sizes.get("celeba64", 0) <= 8e6
    rows = gan("models").output.splitlines()
    assert [row.split()[0] for row in rows] == ["name", *sizes]


def test_a_number_is_the_number_of_a_class_and_a_name_its_name(
    conditional_run: Path,
) -> None:
    model = load(conditional_run, device="cpu")
    names = [str(k + 1) for k in range(len(model.classes))]
    named = replace(model.trained.checkpoint, classes=names)
    model = replace(model, trained=replace(model.trained, checkpoint=named))
    assert model.classes == tuple(names)
    for k, name in enumerate(names):
        assert (model.sample(4, label=k) == model.sample(4, label=name)).all()


def test_a_number_beyond_float64_is_no_evaluation(folder: Path, tmp_path: Path) -> None:
    huge = {"frechet_distance": 10**400}
    _edit(folder, evaluation={"values": huge, "floor": huge, "network": None})
    assert gan("export", folder, "--out", tmp_path / "new").exit_code == 0
    assert "Not evaluated." in (tmp_path / "new" / "README.md").read_text()


def test_a_refused_description_keeps_the_older_generator(folder: Path) -> None:
    checkpoint = read_folder(folder)
    weights = {name: tensor + 1 for name, tensor in checkpoint.g_ema.items()}
    classes = [f"class {i:05} {'x' * 40}" for i in range(20_000)]
    with pytest.raises(ValueError, match=r"config\.json: would have more than"):
        write_folder(replace(checkpoint, g_ema=weights, classes=classes), folder)
    assert read_folder(folder).g_ema.keys() == weights.keys()


def test_a_grid_too_large_for_jpeg_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    words = ("--num", 64, "--columns", 1, "--scale", 64, "--out", tmp_path / "a.jpg")
    shown = gan("sample", tiny_run, *words)
    assert shown.exit_code == 2 and "a .jpg has at most 65,500 pixels a side" in shown.stderr


def test_a_run_of_own_images_is_loaded_with_their_place(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    (tmp_path / "own").mkdir()
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "own" / f"{index}.png")
    own, run = tmp_path / "own", tmp_path / "run"
    cfg = tiny_config(own, data={"source": "folder"}, train={"num_steps": 1})
    train(cfg, run, "cpu")
    assert load_generator(run, CPU).cfg.data.root == str(own)
    assert load_generator(run, CPU, data_root="other").cfg.data.root == "other"
    newest = max((run / "checkpoints").glob("step_*.pt"))
    assert load_generator(newest, CPU).cfg.data.root != str(own)
