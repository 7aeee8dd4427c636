"""scripts/few_images.py on drawn images."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import few_images
import pytest
import yaml
from click.testing import CliRunner

from tests.conftest import TINY


@contextmanager
def inside(place: Path) -> Iterator[None]:
    """The script writes its records and pages to `place`, and takes drawn images for faces."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "CONFIGS": place,
            "NETWORKS": {"celeba64": "photos"},
            "RECORDS": place / "records.jsonl",
            "PAGE": place / "page.md",
            "NOTEBOOK": place / "notebook.md",
            "FIGURE": place / "figure.png",
            "require_clean_source": lambda: None,
        }.items():
            patch.setattr(few_images, name, value)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records, pages and runs of three trainings; tests only read them."""
    place = tmp_path_factory.mktemp("few_images")
    data = {"source": "synthetic", "image_size": 32, "channels": 3, "root": str(place)}
    (place / "celeba64.yaml").write_text(yaml.safe_dump({"data": data}))
    small = {**TINY, "data": {"source": "folder", "channels": 3}}
    (place / "folder.yaml").write_text(yaml.safe_dump(small))
    for name in ("page.md", "notebook.md"):
        (place / name).write_text(f"# Page\n{few_images.BEGIN}\n<!-- end -->\nText\n")
    with inside(place):
        for _ in range(2):
            few(place, "celeba64", "--size", 5, "--size", 12)
        few(place, "celeba64", "--size", 5, "--recipe", "smaller: data.image_size=16")
        few(place)
    return place


def few(folder: Path, *words: object) -> None:
    options = [*words, "--images", 16, "--num", 20, "--runs", folder / "runs"]
    CliRunner().invoke(few_images.main, [*map(str, options)], catch_exceptions=False)


def test_each_folder_is_trained_once_and_has_its_own_images(folder: Path) -> None:
    records = [json.loads(line) for line in (folder / "records.jsonl").open()]
    assert [record["size"] for record in records] == [5, 12, 5]
    assert all(record["photos"]["frechet_distance"] > 0 for record in records)
    smaller, larger = (
        {p.name for p in (folder / "runs" / "celeba64" / f"{n}_images").iterdir()} for n in (5, 12)
    )
    assert len(smaller) == 5 and len(larger) == 12 and smaller < larger


def test_the_page_has_the_trainings(folder: Path) -> None:
    page = (folder / "page.md").read_text()
    assert all(f"\n| celeba64 | {size} | `folder` | 16 |" in page for size in (5, 12))
    assert page.endswith("\nText\n")
    assert "| `smaller` | 16 |" in (folder / "notebook.md").read_text()
    assert (folder / "figure.png").stat().st_size > 1000


def test_samples_that_repeat_the_folder_are_near_copies(folder: Path) -> None:
    runs = folder / "runs" / "celeba64"
    trained = few_images.load_generator(runs / "12_folder_16", few_images.CPU)
    data = trained.cfg.data.model_copy(update={"root": str(runs / "12_images")})
    own = few_images.pack(few_images.open_source(data), data)
    object.__setattr__(trained, "images", lambda z, labels=None: own.images[:10].repeat(2, axis=0))
    with inside(folder):
        copied = few_images.measure(trained, own, "celeba64", num=20)["values"]
    assert copied["near_copies"] == 1 and copied["nearest_training"] == 0


def test_the_pages_show_the_records() -> None:
    records = [json.loads(line) for line in Path("docs/results/few_images.jsonl").open()]
    for page, made in few_images.pages(records).items():
        assert made in page.read_text() and made.count("\n") > 10
