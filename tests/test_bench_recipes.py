"""scripts/bench_recipes.py on a tiny run."""

import json
from pathlib import Path

import bench_recipes
import pytest
from click.testing import CliRunner


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
