"""`gan data` on a user's own images: one screen, warnings, the contact sheet."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from gan.analysis.inspect import read_headers, warnings
from gan.config.reader import parse_config
from gan.config.settings import Config
from gan.data.datasets import open_source
from gan.data.source import Source, from_folder
from tests.conftest import folder_config, gan, packed, zip_of

FIVE_BATCHES = {"batch_size": 2, "num_steps": 30}  # of ten images


def own(root: Path, train: dict = FIVE_BATCHES, **data: object) -> Config:
    values = {"source": "folder", "root": str(root), "image_size": 16, "channels": 3, **data}
    return parse_config({"data": values, "train": train}, origin="own")


def own_file(root: Path, path: Path, **data: object) -> Path:
    lines = {"source": "folder", "image_size": 16, "channels": 3, "root": root, **data}
    inner = ", ".join(f"{key}: {value}" for key, value in lines.items())
    path.write_text(f"data: {{{inner}}}\ntrain: {{batch_size: 2}}")
    return path


def make_ten(folder: Path, mode: str, colour: tuple[int, int, int]) -> Config:
    for i in range(10):
        Image.new("RGB", (20, 20), colour).convert(mode).save(folder / f"{i}.png")
    return own(folder)


def test_one_screen_shows_what_is_in_a_folder(images: Path, tmp_path: Path, cache: Path) -> None:
    Image.new("RGB", (300, 200)).save(images / "cat" / "large.png")
    (images / "dog" / "empty.png").write_bytes(b"")
    for name in ("a.mp4", "b.mp4", "c"):
        (images / "dog" / name).write_text("x")
    config = own_file(images, tmp_path / "own.yaml", on_bad_image="skip")
    shown = gan("data", config, "--sheet", tmp_path / "sheet.png")
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) < 20
    for line in (
        f"found    8 images in {images}",
        "left out 4 other files (2 .mp4, 1 without a suffix, 1 .txt): dog/a.mp4, ",
        "left out 1 bad images, listed in left_out.json of the pack\n         dog/empty.png: empty",
        "classes  2: cat 5, dog 2",
        "sizes    smallest 20x20, median 20x20, largest 300x200 (7 files read)",
        "packed   7 images 16x16, RGB, data.fit crop",
        f"0.0 MB in {cache / 'packed'}",
        f"sheet    7 images in {tmp_path / 'sheet.png'}",
        "held out: none; data.hold_out is 0",
    ):
        assert line in shown.output
    assert Image.open(tmp_path / "sheet.png").size == (3 * 18 + 2, 3 * 18 + 2)


def test_a_sheet_does_not_overwrite_a_file(images: Path, tmp_path: Path) -> None:
    config, sheet = own_file(images, tmp_path / "own.yaml"), tmp_path / "holiday.png"
    sheet.write_bytes(b"not a sheet")
    refused = gan("data", config, "--sheet", sheet)
    assert refused.exit_code == 2 and f"{sheet} exists" in refused.output
    assert sheet.read_bytes() == b"not a sheet"
    assert gan("data", config, "--sheet", sheet, "--force").exit_code == 0
    assert Image.open(sheet).format == "PNG"


def test_headers_of_a_folder_and_its_zip_are_equal(images: Path) -> None:
    Image.new("L", (7, 9)).save(images / "cat" / "grey.jpg")
    (images / "cat" / "bad.png").write_text("x")
    found = [
        read_headers(open_source(folder_config(place)))
        for place in (images, zip_of(images, images.parent / "images.zip"))
    ]
    assert found[0] == found[1] == [(20, 20, "RGB")] * 4 + [(7, 9, "L")] + [(20, 20, "RGB")] * 2


def test_at_most_500_headers_are_read(images: Path) -> None:
    for i in range(600):
        shutil.copy(images / "dog" / "5.png", images / "dog" / f"x{i}.png")
    assert 300 <= len(read_headers(open_source(folder_config(images)))) <= 500


@pytest.mark.parametrize(
    ("train", "data", "expected"),
    [
        (FIVE_BATCHES, {}, ""),
        ({"batch_size": 4, "num_steps": 30}, {}, "10 images are fewer than 5 batches of 4"),
        ({"batch_size": 2, "num_steps": 5005}, {}, "5,005 steps are 1,001 epochs of 10 images"),
        ({"batch_size": 2, "num_steps": 5005, "max_minutes": 1.0}, {}, ""),  # fewer steps
        (
            FIVE_BATCHES,
            {"image_size": 64},
            "half of the images are smaller than 32x32, and training uses",
        ),
    ],
)
def test_a_warning_is_given_where_it_is_due(
    tmp_path: Path, train: dict, data: dict, expected: str
) -> None:
    make_ten(tmp_path, "RGB", (200, 0, 0))
    cfg = own(tmp_path, train, **data)
    found = warnings(cfg, open_source(cfg.data))
    assert len(found) == bool(expected) and expected in "".join(found)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_images_with_three_channels_are_noticed(tmp_path: Path, mode: str) -> None:
    cfg = make_ten(tmp_path, mode, (90, 90, 90))
    source = open_source(cfg.data)
    assert warnings(cfg, source, packed(cfg.data)) == [
        "all images are grey: set data.channels to 1"
    ]
    grey = own(tmp_path, channels=1)
    assert warnings(grey, source, packed(grey.data)) == []


def test_training_begins_with_the_warnings(images: Path, tmp_path: Path) -> None:
    config = own_file(images, tmp_path / "own.yaml")
    shown = gan(
        "train", config, "--dry-run", "--set", "model.g_width=2", "--set", "model.d_width=2"
    )
    assert shown.stderr.startswith("warning: 6 images are fewer than 5 batches of 2: add images")


def test_training_searches_a_folder_once(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []
    search = from_folder

    def record(folder: Path) -> Source:
        searched.append(folder)
        return search(folder)

    monkeypatch.setattr("gan.data.datasets.from_folder", record)
    config = own_file(images, tmp_path / "own.yaml")
    small = ["--set", "model.g_width=2", "--set", "model.d_width=2", "--set", "train.num_steps=1"]
    gan("train", config, *small, "--run-dir", tmp_path / "run")
    gan("train", config, *small, "--dry-run")
    assert searched == [images, images]


def test_clear_deletes_the_pack_and_says_how_much_was_freed(
    images: Path, tmp_path: Path, cache: Path
) -> None:
    config = own_file(images, tmp_path / "own.yaml")
    gan("data", config)
    folder = next(path for path in (cache / "packed").iterdir() if path.is_dir())
    np.save(folder / "images.npy", np.zeros(1_000_000, np.uint8))
    shown = gan("data", config, "--clear")
    assert shown.output.splitlines()[0] == f"deleted {folder}: 1.0 MB freed"
    assert not folder.exists() and not (cache / "packed" / folder.name).exists()
    assert gan("data", config, "--clear").output == "no pack to delete\n"


@pytest.mark.parametrize("words", [["--verify"], ["--sheet", "s.png"]])
def test_clear_is_alone(words: list[str], images: Path, tmp_path: Path) -> None:
    shown = gan("data", own_file(images, tmp_path / "own.yaml"), "--clear", *words)
    assert shown.exit_code == 2 and "use it alone" in shown.output


def test_clear_deletes_packs_of_earlier_contents_and_what_killed_processes_left(
    images: Path, tmp_path: Path, cache: Path
) -> None:
    config, other = own_file(images, tmp_path / "own.yaml"), tmp_path / "other"
    shutil.copytree(images, other)
    kept = [["--set", "data.image_size=32"], ["--set", f"data.root={other}"]]
    for changes in kept:
        gan("data", config, *changes)
    before = {*cache.glob("packed/*/")}
    gan("data", config)
    (images / "cat" / "0.png").unlink()
    gan("data", config)
    for name in ("killed", "running"):
        (cache / "packed" / f"folder-3x16x16-{name}.part").mkdir()
    running = cache / "packed" / "folder-3x16x16-running.part"
    with FileLock(running.with_suffix(".lock")):
        shown = gan("data", config, "--clear").output
    assert [line.split()[0] for line in shown.splitlines()] == ["deleted"] * 3
    assert {*cache.glob("packed/*/")} == before | {running}
