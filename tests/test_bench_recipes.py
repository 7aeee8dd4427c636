"""scripts/bench_recipes.py on a tiny run."""

import json
from pathlib import Path
from types import SimpleNamespace

import bench_recipes
import benchmark_parts
import pytest
from click.testing import CliRunner

from gan.training.run import Ending


def test_each_recipe_and_seed_is_run_once(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_recipes, "RECORDS", tmp_path / "recipes.jsonl")
    words = [config, "--images", 32, "--num", 20, "--features", "photos", "--runs", tmp_path / "r",
             "--recipe", "as it is:", "--recipe", "larger: train.batch_size=16"]  # fmt: skip
    for _ in range(2):
        done = CliRunner().invoke(bench_recipes.main, list(map(str, words)), catch_exceptions=False)
    records = [json.loads(line) for line in (tmp_path / "recipes.jsonl").open()]
    assert [record["recipe"] for record in records] == ["as it is", "larger"]
    assert [record["command"].split("num_steps=")[1] for record in records] == ["4", "2"]
    assert done.output.count("\n| as it is | 32 | 0 |") + done.output.count("| larger |") == 2


def test_an_interrupted_run_makes_no_record(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_recipes, "RECORDS", tmp_path / "recipes.jsonl")
    ended = SimpleNamespace(ending=Ending.TERMINATED)
    monkeypatch.setattr(benchmark_parts, "train", lambda *_, read: ended)
    done = CliRunner().invoke(bench_recipes.main, [str(config), "--recipe", "as it is:"])
    assert done.exit_code == 1 and "was interrupted" in done.output
    assert not (tmp_path / "recipes.jsonl").exists()


def test_a_config_without_records_says_so(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_recipes, "RECORDS", tmp_path / "recipes.jsonl")
    done = CliRunner().invoke(bench_recipes.main, [str(config)])
    assert done.exit_code == 0 and done.output.startswith("no records of")
