"""Generators to use without training: folders, shipped names, and what is wrong with others."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from gan.checkpoint import BadCheckpoint, read_checkpoint
from gan.errors import ConfigError
from gan.pretrained import load_generator
from gan.pretrained.folder import CONFIG, MODEL, read_folder, write_folder
from gan.pretrained.load import SHIPPED, read_source, shipped_names
from tests.conftest import gan

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
