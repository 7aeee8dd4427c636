"""The tables of the result pages come from the records alone, and records from clean commits."""

import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import click
import pytest
import results_curves
import results_record
import results_table
from click.testing import CliRunner
from matplotlib.figure import Figure
from results_rows import RATES, ROWS, fair_baseline

from gan.config.reader import load_config

CURVE = range(100, 1001, 100)


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(results_table, "RECORDS", tmp_path)
    monkeypatch.setattr(results_table, "FIGURES", tmp_path)
    for name in ("SUMMARY", "NOTEBOOK", "README"):
        monkeypatch.setattr(results_table, name, tmp_path / f"{name}.md")
        marks = f"above\n{results_table.BEGIN}\nold\n{results_table.END}\nbelow\n"
        (tmp_path / f"{name}.md").write_text(marks)
    return results_table


def seed(number: int, distance: float, curve: range = CURVE) -> dict:
    values = {"frechet_distance": distance, "kernel_distance": 0.002, "recall": 0.5}
    return {
        "seed": number, "command": "gan train configs/mnist.yaml", "commit": "0123456789abcdef",
        "machine": "2026-11-23, a processor, 1 threads, torch 2", "cpu_minutes": 2.5,
        "evaluation": {
            "values": values, "floor": {**values, "frechet_distance": 0.25},
            "deviation": {"frechet_distance": 0.1}, "floor_deviation": {"frechet_distance": 0.01},
            "checkpoint": {"images_seen": 128_000},
        },
        "curve": [[images, 1000 * distance / images] for images in curve],
    }  # fmt: skip


def write_record(script: ModuleType, row: str, *seeds: dict) -> None:
    name = results_record.file_name(row)
    (script.RECORDS / f"{name}.json").write_text(json.dumps({"row": row, "seeds": list(seeds)}))


def write_pages(script: ModuleType) -> list[str]:
    script.main([], standalone_mode=False)
    return [page.read_text() for page in (script.SUMMARY, script.NOTEBOOK, script.README)]


def test_notebook_has_one_table_per_group(script: ModuleType) -> None:
    write_record(script, "mnist", seed(0, 1.0), seed(2, 3.0))
    _, page, _ = write_pages(script)
    values = "2.0 ± 1.4 | 2.00 ± 0.00 | 0.50 ± 0.00 | 0.1 | 1.00 ± 0.00"
    assert f"| mnist | 0, 2 | 128,000 | 2.5 | {values} |" in page
    assert "| floor |  |  |  | 0.25 | 2 | 0.5 | 0.01 |  |" in page
    assert "### MNIST\n" in page and "torch 2, commit 0123456: mnist" in page
    assert (script.FIGURES / "results_mnist.png").stat().st_size > 1000


def test_a_second_network_has_columns_of_its_own(script: ModuleType) -> None:
    values = {"frechet_distance": 7.0, "precision": 0.6, "recall": 0.3}
    second = {"values": values, "floor": {**values, "recall": 0.9}, "network": {"name": "photos"}}
    write_record(script, "cifar10", {**seed(0, 1.0), "second": second})
    _, page, _ = write_pages(script)
    assert "| photos: Fréchet | photos: precision | photos: recall |\n" in page
    assert "| 7 | 0.6 | 0.3 |\n" in page and "| 7 | 0.6 | 0.9 |\n" in page


def test_no_two_curves_have_the_same_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list = []
    monkeypatch.setattr(results_curves.plt, "close", drawn.append)
    monkeypatch.setattr(Figure, "savefig", lambda *args, **kwargs: None)  # takes seconds
    rows = {f"row {number}": [seed(0, number + 1.0)] for number in range(10)}
    results_curves.draw_curves(rows, tmp_path / "curves.png")
    (figure,) = drawn
    (axis,) = figure.axes
    assert len({line.get_color() for line in axis.lines}) == len(axis.lines) == 11
    with pytest.raises(ValueError, match="shorter than argument"):
        results_curves.draw_curves({**rows, "row 10": [seed(0, 11.0)]}, tmp_path / "curves.png")


def test_opening_table_has_the_best_rate_of_the_fair_baseline(script: ModuleType) -> None:
    write_record(script, "mnist", seed(0, 1.0), seed(1, 1.2))
    for rate, distance in zip(RATES, (9.0, 5.0, 6.0), strict=True):
        write_record(script, f"{fair_baseline('mnist')}{rate}", seed(0, distance))
    write_record(script, "mnist, published recipe", seed(0, 20.0))
    page, _, readme = write_pages(script)
    cells = "yes | 128,000 (12%) | 2.5 and 2.5 | 1.10 ± 0.14 | 0.25 | 20 | 5 (5e-4) | 4.5 |"
    picture = "![samples](figures/results_samples_mnist.png)"
    assert f"| `mnist` | {picture} | {cells} met, 1 seed |\n" in page
    assert f"| `mnist` | {cells}\n" in readme


@pytest.mark.parametrize(
    ("ours", "baseline", "said"),
    [
        ([1.0], [4.0], "met, 1 seed"),
        ([1.0, 1.1, 0.9], [4.0, 4.1, 3.9], "met, 3 seeds"),
        ([3.0, 3.1], [4.0, 4.1], "missed, 2 seeds"),
        ([1.9], [4.0], "undecided"),  # the draws' deviation is 0.1
        ([1.0, 2.4], [4.0, 4.0], "undecided"),  # the seeds' deviation is 1
    ],
)
def test_half_of_the_baseline_must_be_beyond_both_deviations(
    ours: list[float], baseline: list[float], said: str
) -> None:
    rows = [[seed(number, value) for number, value in enumerate(row)] for row in (ours, baseline)]
    assert results_table.status(*rows) == said


def test_pages_keep_the_text_around_the_marks(script: ModuleType) -> None:
    write_record(script, "mnist", seed(0, 1.0))
    first = write_pages(script)
    for page in first:
        assert page.startswith("above\n") and page.endswith("\nbelow\n") and "old" not in page
    assert write_pages(script) == first


def test_check_fails_for_a_table_that_was_edited_by_hand(script: ModuleType) -> None:
    write_record(script, "mnist", seed(0, 1.0))
    write_pages(script)
    assert CliRunner().invoke(script.main, ["--check"]).exit_code == 0
    page = script.NOTEBOOK.read_text()
    script.NOTEBOOK.write_text(page.replace("| mnist | 0 |", "| mnist | 0, 1 |"))
    result = CliRunner().invoke(script.main, ["--check"])
    assert result.exit_code == 1 and "NOTEBOOK.md differ from the records" in result.output
    assert "0, 1" in script.NOTEBOOK.read_text()


def test_the_committed_tables_are_those_of_the_records() -> None:
    result = CliRunner().invoke(results_table.main, ["--check"])
    assert result.exit_code == 0, result.output


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_a_changed_source_gets_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    (tmp_path / "notes.txt").touch()  # no part of the source
    results_record.require_clean_source()
    (tmp_path / "gan").mkdir()
    (tmp_path / "gan" / "new.py").touch()
    with pytest.raises(click.ClickException, match="needs a clean commit"):
        results_record.run("mnist", 0, tmp_path / "runs")


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
    curve: list[float], ratio: float
) -> None:
    assert results_table.end_over_best(list(enumerate(curve))) == ratio


def test_every_row_is_a_valid_config() -> None:
    for row in ROWS.values():
        load_config(row.config, row.changes)


def test_a_row_and_its_baselines_see_as_many_images() -> None:
    def images(name: str) -> int:
        train = load_config(ROWS[name].config, ROWS[name].changes).train
        return train.num_steps * train.batch_size

    compared = [name for name in ROWS if f"{fair_baseline(name)}{RATES[0]}" in ROWS]
    longer = [name for name in compared if "long" in name]
    assert len(longer) == 2 and len(compared) - len(longer) >= 4
    for name in set(compared) - set(longer):
        rows = [row for row in ROWS if row.startswith(f"{name}, ") and "long" not in row]
        assert len(rows) >= 4 and {images(row) for row in rows} == {images(name)}
    for name in longer:
        rows = [row for row in ROWS if row.startswith(f"{name}, ")]
        assert len(rows) == 3  # and batches of 64 see at most one batch less
        assert all(0 <= images(name) - images(row) < 64 for row in rows)


def test_every_record_belongs_to_a_row_and_to_a_clean_commit() -> None:
    for path in Path("docs/results").glob("*.json"):
        record = json.loads(path.read_text())
        assert record["row"] in ROWS
        for one in record["seeds"]:
            assert len(one["commit"]) == 40, path  # + would mark a source with changes
            assert {"checkpoint", "data", "network", "seed", "split"} <= set(one["evaluation"])
