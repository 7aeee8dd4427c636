"""The command line as a user meets it."""

import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from gan.cli import main
from gan.machine.ranks import Ranks
from tests.conftest import TINY

SMOKE = Path("configs/smoke.yaml").resolve()


def gan(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def test_help_is_quick_and_imports_no_torch() -> None:
    code = "import sys; from gan.cli import main; main(['--help'], standalone_mode=False); " \
           "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"  # fmt: skip
    times = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.3


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        (["config", str(SMOKE)], {"torch", "numpy"}),
        (["data", str(SMOKE)], {"torch"}),
        (["sample", "RUN", "--out", "x.png"], {"torch._dynamo", "tensorboard", "torchvision"}),
        (["sample", "CONDITIONAL", "--out", "x.png"], {"torch._dynamo", "tensorboard"}),
        (["walk", "RUN", "--out", "x.gif"], {"torch._dynamo", "tensorboard", "torchvision"}),
        (["evaluate", "RUN", "--num", "100"], {"torch._dynamo", "tensorboard", "torchvision"}),
        (["train", str(SMOKE), "--dry-run"], {"tensorboard", "torchvision"}),
    ],
)
def test_a_verb_imports_nothing_it_does_not_need(
    words: list[str], unneeded: set[str], tiny_run: Path, conditional_run: Path, tmp_path: Path
) -> None:
    runs = {"RUN": str(tiny_run), "CONDITIONAL": str(conditional_run)}
    words = [runs.get(word, word) for word in words]
    code = (
        "import sys; from gan.cli import main\n"
        f"main({words!r}, standalone_mode=False)\n"
        f"print(sorted({unneeded!r} & set(sys.modules)), file=sys.stderr)"
    )
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "GAN_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert done.returncode == 0 and done.stderr.splitlines()[-1] == "[]", done.stderr


def test_evaluation_on_other_images_is_noted(tmp_path: Path) -> None:
    """The run below saw noise of one draw, then lies beside noise of another."""
    config, root = tmp_path / "c.yaml", tmp_path / "images"
    config.write_text(yaml.safe_dump({**TINY, "data": {"source": "folder", "image_size": 16}}))
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        (root / str(seed)).mkdir(parents=True)
        for i in range(24):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / str(seed) / f"{i}.png")
    run = tmp_path / "run"
    gan("train", config, "--set", f"data.root={root / '0'}", "--run-dir", run)
    same, other = (
        gan("evaluate", run, "--num", 10, "--data-root", root / str(seed)) for seed in (0, 1)
    )
    assert same.exit_code == other.exit_code == 0
    assert "trained on other images" in other.stderr
    assert "note" not in same.stderr and json.loads(other.stdout)["data"]["checksum"]


@pytest.mark.parametrize("verb", ["train", "sample", "walk", "evaluate", "data", "config"])
def test_every_verb_has_help(verb: str) -> None:
    shown = gan(verb, "--help")
    assert shown.exit_code == 0 and len(shown.output) > 100


def test_a_bad_config_exits_with_2_and_a_bad_usage_too(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("train: {num_step: 1}")
    for words in (["train", tmp_path / "bad.yaml"], ["train", tmp_path / "none.yaml"], ["train"],
                  ["config", SMOKE, "--set", "x=1"], ["fly"]):  # fmt: skip
        assert gan(*words).exit_code == 2


def test_an_illegal_size_is_refused_before_anything_happens(tmp_path: Path) -> None:
    shown = gan("train", SMOKE, "--run-dir", tmp_path / "run", "--set", "data.image_size=30")
    assert shown.exit_code == 2 and "28x28" in shown.output
    assert not (tmp_path / "run").exists()


def test_too_large_a_run_is_refused_with_the_figure(tmp_path: Path) -> None:
    shown = gan(
        "train", SMOKE, "--run-dir", tmp_path / "run", "--set", f"data.root={tmp_path}",
        "--set", "data.image_size=512", "--set", "train.batch_size=65536",
    )  # fmt: skip
    assert shown.exit_code == 2
    assert "GB of memory" in shown.output and "lower train.batch_size" in shown.output


def test_a_dry_run_reports_and_writes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    shown = gan(
        "train", SMOKE, "--dry-run", "--run-dir", tmp_path / "run", "--set", f"data.root={root}",
        "--set", "train.max_minutes=0.0001",
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    for word in (
        "generator",
        "discriminator",
        "parameters",
        "memory",
        "images/s",
        "train.max_minutes ends it at 0.0001",
        "nothing was written",
    ):
        assert word in shown.output
    assert not root.exists() and not (tmp_path / "run").exists()


def test_a_dry_run_refuses_what_the_run_would(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "images" / "0.png")
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"data": {"source": "folder", "root": f"{tmp_path}/images"},
                                      "model": {"conditional": True}}))  # fmt: skip
    for words in (["train", config, "--dry-run"], ["train", config, "--run-dir", tmp_path / "run"]):
        shown = gan(*words)
        assert shown.exit_code == 2 and "has no classes" in shown.output


def test_sample_and_walk_write_only_what_the_name_says(tiny_run: Path, tmp_path: Path) -> None:
    for verb, name in (("sample", "a.jpg"), ("sample", "a.PNG"), ("walk", "a.npz"), ("walk", "a")):
        shown = gan(verb, tiny_run, "--out", tmp_path / name)
        assert shown.exit_code == 2 and "must end in .png" in shown.output
    assert not list(tmp_path.iterdir())


def test_a_folder_of_samples_holds_those_of_one_call(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples.v2"
    out.mkdir()
    (out / "mine.png").write_text("not ours")
    for num in (8, 3):
        assert gan("sample", tiny_run, "--num", num, "--out", out, "--force").exit_code == 0
    names = [f"{i:06}.png" for i in range(3)]
    assert sorted(path.name for path in out.iterdir()) == [*names, "mine.png"]


def test_sample_and_walk_refuse_to_overwrite(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    assert gan("sample", tiny_run, "--num", 4, "--out", out).exit_code == 0
    refused = gan("sample", tiny_run, "--num", 4, "--out", out)
    assert refused.exit_code == 2 and "--force" in refused.output
    assert gan("walk", tiny_run, "--out", out).exit_code == 2
    assert gan("sample", tiny_run, "--num", 4, "--out", out, "--force").exit_code == 0
    assert (
        gan("walk", tiny_run, "--points", 2, "--steps", 2, "--out", tmp_path / "w.gif").exit_code
        == 0
    )


def test_a_bad_checkpoint_is_one_line_and_exit_1(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_text("<html>")
    shown = gan("sample", tmp_path / "a.pt", "--out", tmp_path / "b.png")
    assert shown.exit_code == 1
    assert (
        shown.output.startswith(f"Error: {tmp_path / 'a.pt'}: ") and shown.output.count("\n") == 1
    )


def test_data_says_what_it_found(tmp_path: Path) -> None:
    shown = gan("data", SMOKE, "--set", f"data.root={tmp_path}")
    assert shown.exit_code == 0
    for word in ("found    512 images", "classes  2: disc, square", "3x32x32", str(tmp_path)):
        assert word in shown.output


def test_config_shows_every_field_with_its_meaning() -> None:
    shown = gan("config", SMOKE)
    assert "source: synthetic  # data set;" in shown.output
    assert "kernel: 4  # kernel size of the strided layers" in shown.output


def test_runs_without_a_directory_are_numbered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Path(SMOKE).resolve()
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert gan("train", config, "--set", "train.num_steps=1").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "00000-smoke",
        "00001-smoke",
    ]


def test_a_batch_that_ranks_cannot_share_is_a_config_error(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan.training.loop.process_group", lambda _: nullcontext(Ranks(0, 3)))
    shown = gan("train", config, "--run-dir", tmp_path / "run")
    assert shown.exit_code == 2
    assert "train.batch_size must be a multiple of 3 (world size 3 x model.pac 1)" in shown.output


def test_a_full_gpu_is_one_line_and_exit_1(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr("gan.training.loop.one_step", no_room)
    found = gan("train", config, "--run-dir", tmp_path / "run")
    assert found.exit_code == 1
    assert "\nError: out of GPU memory; " in found.stderr
