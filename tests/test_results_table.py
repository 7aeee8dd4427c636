"""The results page: means, deviations and curves come from the records and nowhere else."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import results_table


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "figures").mkdir()
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(results_table, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(results_table, "RECORDS", tmp_path / "results")
    return results_table


def seed(number: int, distance: float, curve: range) -> dict:
    values = {"frechet_distance": distance, "recall": 0.5, "class_balance": 0.01,
              "confident_share": 0.9}  # fmt: skip
    return {
        "seed": number, "command": "gan train configs/quickstart.yaml", "images_seen": 1000,
        "commit": "0123456789abcdef+", "machine": "here",
        "images_per_s": 10.0 + number, "values": values, "floor": values,
        "curve": [[images, 1000 * distance / images] for images in curve],
    }  # fmt: skip


def test_the_page_is_made_from_the_records_between_its_marks(script: ModuleType) -> None:
    for row, curve in (("quickstart", range(100, 1001, 100)), ("hinge", range(500, 1001, 500))):
        record = {"row": row, "seeds": [seed(0, 1.0, curve), seed(2, 3.0, curve)]}
        (script.RECORDS / f"{row}.json").write_text(json.dumps(record))
    script.PAGE.write_text(f"above\n{script.BEGIN}\nold\n{script.END}\nbelow\n")
    for _ in range(2):  # made again, it is the same
        script.main([], standalone_mode=False)
        text = script.PAGE.read_text()
        assert text.startswith("above\n") and text.endswith("\nbelow\n") and "old" not in text
        row = "| quickstart | 0, 2 | 1,000 | 2 ± 1.4 | 0.5 ± 0 | 0.01 ± 0 | 0.9 ± 0 | 1 ± 0 |"
        assert row in text and "| floor |  |  | 1 | 0.5 | 0.01 | 0.9 |  |" in text
        row = "| hinge | 0, 2 | 1,000 | 2 ± 1.4 | 0.5 ± 0 | 0.01 ± 0 | 0.9 ± 0 |\n"
        assert row in text and "| floor |  |  | 1 | 0.5 | 0.01 | 0.9 |\n" in text
        assert "### Quickstart\n" in text and "- here, commit 0123456+: quickstart" in text
    assert (script.PAGE.parent / "figures" / "results_quickstart.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("curve", "ratio"),
    [
        ([9.0], 1),  # too short to say
        ([9.0, 3.0, 2.0], 1),
        ([9.0, 3.0, 2.0, 2.0, 1.0], 1),  # still falling
        ([4.0, 2.0, 2.0, 2.0, 7.0, 2.0], 1),  # one bad evaluation is passed over
        ([4.0, 2.0, 2.0, 2.0, 3.0, 4.0], 1.5),  # drifts
    ],
)
def test_drift_is_the_last_running_median_over_the_least(
    script: ModuleType, curve: list[float], ratio: float
) -> None:
    assert script.end_over_best(list(enumerate(curve))) == ratio


def test_every_row_is_a_valid_config(script: ModuleType) -> None:
    from gan.config.reader import load_config

    for row in script.ROWS.values():
        load_config(row.config, row.changes)


def test_every_record_belongs_to_a_row(script: ModuleType) -> None:
    for path in Path("docs/results").glob("*.json"):
        assert json.loads(path.read_text())["row"] in script.ROWS
