"""The recipes in CONTRIBUTING.md work, and lists of names agree with what they name."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from gan.config.settings import DataConfig, TrainConfig
from gan.data.datasets import SOURCES
from gan.nn.augment import AUGMENTATIONS
from gan.nn.losses import LOSSES

DIFFS = re.findall(r"```diff\n# (\S+)\n(.*?)```", Path("CONTRIBUTING.md").read_text(), re.S)
NEW_TESTS = re.findall(r"^\+def (test_\w+)", "".join(diff for _, diff in DIFFS), re.M)
TRAIN_AND_TEST = """
import sys
import pytest
from gan.cli import main
for setting in ("train.loss=least_squares", "train.augment=upside_down", "data.source=pathmnist"):
    short = ["--set", "train.num_steps=4", "--set", "train.batch_size=4", "--set", "data.root=."]
    words = ["train", "configs/smoke.yaml", "--set", setting, *short]
    main([*words, "--run-dir", "runs/" + setting], standalone_mode=False)
    main(["info", "runs/" + setting], standalone_mode=False)
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project to which every diff of CONTRIBUTING.md was applied."""
    for folder in ("gan", "tests", "configs", "scripts"):
        shutil.copytree(folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy("pyproject.toml", tmp_path)
    for name, diff in DIFFS:
        lines = diff.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        text = (tmp_path / name).read_text()
        assert text.count(before) == 1, f"a diff of CONTRIBUTING.md does not apply to {name}"
        (tmp_path / name).write_text(text.replace(before, after))
    return tmp_path


def test_recipes_train_and_pass_their_tests(project: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 3), np.uint8)
    np.savez(project / "pathmnist.npz", train_images=images, train_labels=np.arange(8)[:, None])
    files = {name for name, _ in DIFFS if name.startswith("tests/")}
    assert len(files) == 4
    chosen = ["-k", " or ".join([*NEW_TESTS, "least_squares", "differentiable"])]
    env = {**os.environ, "PYTHONPATH": str(project)}
    words = ["-p", "no:cacheprovider", *files, *chosen]
    command = [sys.executable, "-c", TRAIN_AND_TEST, *words]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout  # 4 recipes; differentiable has 2 augmentations


def choices(section: type, key: str) -> set[str]:
    """Returns the names that a setting may have."""
    annotation = section.model_fields[key].annotation
    kinds = annotation, *get_args(annotation)  # X | None has X among its arguments
    return {name for kind in kinds for name in get_args(kind) if isinstance(name, str)}


@pytest.mark.parametrize(
    ("section", "key", "registry"),
    [(TrainConfig, "loss", LOSSES), (TrainConfig, "augment", AUGMENTATIONS),
     (DataConfig, "source", SOURCES)],
)  # fmt: skip
def test_settings_offer_exactly_what_is_implemented(
    section: type, key: str, registry: dict
) -> None:
    assert choices(section, key) == set(registry)


def test_files_that_contributing_names_exist() -> None:
    text = Path("CONTRIBUTING.md").read_text()
    named = re.findall(r"\b(?:gan|tests|docs|scripts|configs)/[\w/]+\.\w+", text)
    assert named and all(Path(name).exists() for name in named)
