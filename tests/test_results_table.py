"""The tables of docs/results.md and docs/experiments.md come from the records alone."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import results_table
from matplotlib.figure import Figure


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "figures").mkdir()
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(results_table, "RECORDS", tmp_path / "results")
    for name, page in (("SUMMARY", "results.md"), ("NOTEBOOK", "experiments.md")):
        monkeypatch.setattr(results_table, name, tmp_path / page)
        marks = f"above\n{results_table.BEGIN}\nold\n{results_table.END}\nbelow\n"
        (tmp_path / page).write_text(marks)
    return results_table


def seed(number: int, distance: float, curve: range) -> dict:
    values = {"frechet_distance": distance, "recall": 0.5, "class_balance": 0.01,
              "confident_share": 0.9}  # fmt: skip
    return {
        "seed": number, "command": "gan train configs/quickstart.yaml", "images_seen": 76_800,
        "commit": "0123456789abcdef+", "machine": "2026-11-23, a processor, 1 threads, torch 2",
        "images_per_s": 640.0, "values": values, "floor": {**values, "frechet_distance": 0.25},
        "curve": [[images, 1000 * distance / images] for images in curve],
    }  # fmt: skip


def write_record(script: ModuleType, row: str, *seeds: dict) -> None:
    record = {"row": row, "seeds": list(seeds)}
    (script.RECORDS / f"{row}.json").write_text(json.dumps(record))


def write_pages(script: ModuleType) -> tuple[str, str]:
    script.main([], standalone_mode=False)
    return script.SUMMARY.read_text(), script.NOTEBOOK.read_text()


def test_notebook_has_one_table_per_group(script: ModuleType) -> None:
    for row, curve in (("quickstart", range(100, 1001, 100)), ("hinge", range(500, 1001, 500))):
        write_record(script, row, seed(0, 1.0, curve), seed(2, 3.0, curve))
    _, page = write_pages(script)
    row = "| quickstart | 0, 2 | 76,800 | 2 ± 1.4 | 0.5 ± 0 | 0.01 ± 0 | 0.9 ± 0 | 1 ± 0 |"
    assert row in page and "| floor |  |  | 0.25 | 0.5 | 0.01 | 0.9 |  |" in page
    row = "| hinge | 0, 2 | 76,800 | 2 ± 1.4 | 0.5 ± 0 | 0.01 ± 0 | 0.9 ± 0 |\n"
    assert row in page and "| floor |  |  | 0.25 | 0.5 | 0.01 | 0.9 |\n" in page
    assert "### Quickstart\n" in page and "torch 2, commit 0123456+: quickstart" in page
    assert (script.SUMMARY.parent / "figures" / "results_quickstart.png").stat().st_size > 1000


@pytest.mark.parametrize("group", ["MNIST", "Ablations"])
def test_no_two_curves_in_a_chart_have_the_same_colour(
    group: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list = []
    monkeypatch.setattr(results_table.plt, "close", drawn.append)
    monkeypatch.setattr(Figure, "savefig", lambda *args, **kwargs: None)  # takes seconds
    records = results_table.by_group(results_table.load_records())[group]
    results_table.draw_curves(records, tmp_path / "curves.png")
    (figure,) = drawn
    charts = [[line.get_color() for line in axis.lines] for axis in figure.axes]
    assert all(len(set(chart)) == len(chart) >= 2 for chart in charts)
    assert sum(map(len, charts)) >= len([s for s in records.values() if len(s[0]["curve"]) > 1])


def test_opening_table_has_the_baseline_beside_its_row(script: ModuleType) -> None:
    curve = range(100, 1001, 100)
    for row in ("quickstart", "mnist", "hinge"):
        write_record(script, row, seed(0, 1.0, curve), seed(2, 3.0, curve))
    write_record(script, "mnist, classic recipe", seed(0, 5.0, curve))
    page, _ = write_pages(script)
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    # 76,800 images at 640 a second; the config has 6,000 batches of 64, or 80,000 of 32
    cells = "2 | a processor, 1 thread | 2 ± 1.4 | 0.25 |"
    assert lines == [
        f"| `quickstart` | 2 | 76,800 | 20 % | {cells}  |",
        f"| `mnist` | 2 | 76,800 | 3 % | {cells} 5 (1) |",
    ]


def test_pages_keep_the_text_around_the_marks(script: ModuleType) -> None:
    write_record(script, "quickstart", seed(0, 1.0, range(100, 1001, 100)))
    first = write_pages(script)
    for page in first:
        assert page.startswith("above\n") and page.endswith("\nbelow\n") and "old" not in page
    assert write_pages(script) == first


@pytest.mark.parametrize(
    ("page", "generate"),
    [
        (results_table.SUMMARY, results_table.summary),
        (results_table.NOTEBOOK, results_table.notebook),
    ],
    ids=["results.md", "experiments.md"],
)
def test_committed_page_equals_the_records(page: Path, generate: Callable) -> None:
    """Without this, a table could be edited by hand or left behind by its records."""
    text = page.read_text()
    assert text == results_table.with_generated(text, generate(results_table.load_records()))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "celeba64"])
def test_the_row_of_a_shipped_generator_equals_its_record(name: str) -> None:
    described = json.loads(Path("gan/pretrained", name, "config.json").read_text())
    record = described["evaluation"]
    values, floor = record["values"], record["floor"]
    distance = f"{values['frechet_distance']:.3f} ± {record['deviation']['frechet_distance']:.3f}"
    pairs = [f"{values[key]:.2f}, {floor[key]:.2f}" for key in ("precision", "recall")]
    cells = [f"{described['images_seen']:,}", distance, f"{floor['frechet_distance']:.3f}", *pairs]
    assert f"| {name} | {' | '.join(cells)} |" in Path("docs/gallery.md").read_text()


@pytest.mark.parametrize("page", ["docs/results.md", "docs/performance.md"])
def test_summary_page_opens_with_its_table_and_fits_on_three_screens(page: str) -> None:
    lines = Path(page).read_text().splitlines()
    assert len(lines) <= 130
    assert any(line.startswith("|---|") for line in lines[:8])


@pytest.mark.parametrize(
    ("curve", "ratio"),
    [
        ([9.0], 1),  # one evaluation
        ([9.0, 3.0, 2.0], 1),
        ([9.0, 3.0, 2.0, 2.0, 1.0], 1),  # still falling
        ([4.0, 2.0, 2.0, 2.0, 7.0, 2.0], 1),  # one outlier does not count
        ([4.0, 2.0, 2.0, 2.0, 3.0, 4.0], 1.5),  # drift
    ],
)
def test_drift_is_the_last_running_median_over_the_smallest(
    script: ModuleType, curve: list[float], ratio: float
) -> None:
    assert script.end_over_best(list(enumerate(curve))) == ratio


def test_every_row_is_a_valid_config() -> None:
    from gan.config.reader import load_config

    for row in results_table.ROWS.values():
        load_config(row.config, row.changes)


def test_a_row_and_its_baseline_see_as_many_images() -> None:
    from gan.config.reader import load_config

    def images(name: str) -> int:
        row = results_table.ROWS[name]
        train = load_config(row.config, row.changes).train
        return train.num_steps * train.batch_size

    rows = results_table.ROWS.items()
    pairs = {name: row.baseline for name, row in rows if row.baseline}
    assert len(pairs) >= 7
    assert {name: images(name) for name in pairs} == {n: images(b) for n, b in pairs.items()}


def test_every_record_belongs_to_a_row() -> None:
    for path in Path("docs/results").glob("*.json"):
        assert json.loads(path.read_text())["row"] in results_table.ROWS
