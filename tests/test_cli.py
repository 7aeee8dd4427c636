"""The command line: exit codes, messages, and what each command writes and imports."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from gan.training.run_dir import locked
from tests.conftest import TINY, gan

SMOKE = Path("configs/smoke.yaml").resolve()


def run_python(code: str, folder: Path) -> str:
    """Runs code in a separate process with `folder` as working directory; returns its stdout."""
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "GAN_DATA": str(folder)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["paper", "walk", "--help"]])
def test_help_imports_only_click(words: list[str], tmp_path: Path) -> None:
    """So that it is fast."""
    code = (
        "import sys; before = set(sys.modules)\n"
        f"from gan.cli import main; main({words}, standalone_mode=False)\n"
        "packages = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(packages - sys.stdlib_module_names))"
    )
    assert run_python(code, tmp_path).splitlines()[-1] == "['click', 'gan']"


_VERBS = """
import sys
from gan.cli import main
for words, unneeded in {steps!r}:
    main(words, standalone_mode=False)
    assert not unneeded & set(sys.modules), (words, unneeded & set(sys.modules))
"""


def test_commands_import_only_what_they_need(
    tiny_run: Path, conditional_run: Path, tmp_path: Path
) -> None:
    """One process runs all commands, starting with those that need the least."""
    run, conditional = str(tiny_run), str(conditional_run)
    for_images = {"torch._dynamo", "tensorboard", "torchvision"}
    steps = [
        (["config", str(SMOKE)], {"torch", "numpy"}),
        (["data", str(SMOKE)], {"torch"}),
        (["sample", run, "--out", "x.png"], for_images),
        (["sample", conditional, "--out", "y.png"], for_images),
        (["walk", run, "--out", "x.gif"], for_images),
        (["evaluate", run, "--num", "100", "--draws", "1"], for_images | {"matplotlib"}),
        (["compare", run], {"tensorboard"}),
        (["report", run, "--out", "x.html"], for_images),
        (["train", str(SMOKE), "--dry-run"], for_images),
    ]
    run_python(_VERBS.format(steps=steps), tmp_path)


def test_a_closed_pipe_ends_a_verb_without_a_message() -> None:
    command = f"{sys.executable} -m gan config {SMOKE} | (exec <&-; sleep 3)"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""


def test_evaluating_on_other_images_than_the_training_ones_is_reported(tmp_path: Path) -> None:
    """Both sets are noise, drawn from different seeds."""
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
    words = ["evaluate", run, "--num", 10, "--draws", 1, "--json"]
    same, other = (gan(*words, "--data-root", root / str(seed)) for seed in (0, 1))
    assert same.exit_code == other.exit_code == 0
    assert "trained on other images" in other.stderr
    assert "note" not in same.stderr and json.loads(other.stdout)["data"]["checksum"]


def test_evaluate_prints_a_table_or_json_and_writes_a_file(tiny_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    words = ["evaluate", tiny_run, "--num", 20, "--draws", 1, "--data-root", tiny_run.parent]
    table, record = gan(*words, "--out", out), gan(*words, "--json")
    assert table.exit_code == record.exit_code == 0
    assert json.loads(record.stdout) == json.loads(out.read_text())
    assert "near_copies" in table.stdout and "real (floor)" in table.stdout
    refused = gan(*words, "--out", out)
    assert refused.exit_code == 2 and "exists" in refused.output
    wrong = gan(*words, "--out", tmp_path / "a.txt")
    assert wrong.exit_code == 2 and "must end in .json" in wrong.output


@pytest.mark.parametrize(
    "verb", ["train", "sample", "walk", "evaluate", "compare", "report", "data", "config"]
)
def test_every_verb_has_help(verb: str) -> None:
    shown = gan(verb, "--help")
    assert shown.exit_code == 0 and len(shown.output) > 100


def test_help_shows_whole_summaries() -> None:
    shown = gan("--help").output
    assert shown.count("...") == 1  # [ARGS]... of the first line


def test_missing_config_suggests_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "faces.yaml").write_text("")
    for name, near in (
        ("mnist", "configs/mnist.yaml"),
        ("configs/mnits.yaml", "configs/mnist.yaml"),
        (tmp_path / "face.yaml", tmp_path / "faces.yaml"),
    ):
        shown = gan("train", name)
        assert shown.exit_code == 2
        assert shown.stderr == f"Error: no such file {name}; did you mean {near}?\n"
    assert "configs/ has examples" in gan("train", tmp_path / "zzz").stderr


def test_unknown_label_is_a_usage_error_with_the_classes(
    conditional_run: Path, tmp_path: Path
) -> None:
    for verb in ("sample", "walk"):
        shown = gan(verb, conditional_run, "--label", 12, "--out", tmp_path / "a.png")
        assert shown.exit_code == 2 and shown.stderr.endswith(
            " has the classes 0 to 1: disc, square\n"
        )


def test_conflicts_of_the_run_directory_are_reported_before_the_data_is_opened(
    finished_run: Path, tmp_path: Path
) -> None:
    words = ["train", tmp_path / "c.yaml", "--run-dir", finished_run]
    data = {"source": "folder", "root": str(tmp_path / "none")}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"data": data}))
    other = gan(*words)
    assert other.exit_code == 1 and "holds another run" in other.stderr
    with locked(finished_run):
        assert "is in use by" in gan(*words).stderr


def test_dry_run_does_not_time_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 0.0, "step": 5.0}

    def step(*args: object) -> dict[str, torch.Tensor]:
        clock["now"] += clock["step"]
        clock["step"] = 0.1
        return {"loss/g": torch.zeros(())}

    fake = SimpleNamespace(perf_counter=lambda: clock["now"])
    monkeypatch.setattr("gan.analysis.dry_run.time", fake)
    monkeypatch.setattr("gan.analysis.dry_run.one_step", step)
    assert "speed         320 images/s\n" in gan("train", SMOKE, "--dry-run").output
    assert 1 <= clock["now"] - 5 < 3.5


def test_bad_config_and_bad_usage_exit_with_2(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("train: {num_step: 1}")
    for words in (["train", tmp_path / "bad.yaml"], ["train", tmp_path / "none.yaml"], ["train"],
                  ["config", SMOKE, "--set", "x=1"], ["fly"]):  # fmt: skip
        assert gan(*words).exit_code == 2


def test_invalid_image_size_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    shown = gan("train", SMOKE, "--run-dir", tmp_path / "run", "--set", "data.image_size=30")
    assert shown.exit_code == 2 and "28x28" in shown.output
    assert not (tmp_path / "run").exists()


def test_run_that_needs_too_much_memory_is_refused_with_the_amount(tmp_path: Path) -> None:
    shown = gan(
        "train", SMOKE, "--run-dir", tmp_path / "run", "--set", f"data.root={tmp_path}",
        "--set", "data.image_size=512", "--set", "train.batch_size=65536",
    )  # fmt: skip
    assert shown.exit_code == 2
    assert "GB of memory" in shown.output and "lower train.batch_size" in shown.output
    assert not list(tmp_path.iterdir())  # no pack either


def test_dry_run_reports_and_writes_nothing(tmp_path: Path) -> None:
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


def test_dry_run_refuses_what_the_run_would(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "images" / "0.png")
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"data": {"source": "folder", "root": f"{tmp_path}/images"},
                                      "model": {"conditional": True}}))  # fmt: skip
    for words in (["train", config, "--dry-run"], ["train", config, "--run-dir", tmp_path / "run"]):
        shown = gan(*words)
        assert shown.exit_code == 2 and "has no classes" in shown.output
    assert not (tmp_path / "images" / "packed").exists()


@pytest.mark.parametrize("words", [["sample", ""], ["train", "a.yaml", "--run-dir", ""]])
def test_an_empty_path_as_of_an_unset_variable_is_refused(words: list[str]) -> None:
    shown = gan(*words)
    assert shown.exit_code == 2 and "is empty" in shown.output


def test_sample_and_walk_refuse_other_file_types(tiny_run: Path, tmp_path: Path) -> None:
    for verb, name in (("sample", "a.bmp"), ("sample", "a.PNG"), ("walk", "a.npz"), ("walk", "a")):
        shown = gan(verb, tiny_run, "--out", tmp_path / name)
        assert shown.exit_code == 2 and "must end in .png" in shown.output
    assert not list(tmp_path.iterdir())


def test_folder_has_the_samples_of_one_call_only(tiny_run: Path, tmp_path: Path) -> None:
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


def test_bad_checkpoint_is_reported_in_one_line_and_exits_with_1(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_text("<html>")
    shown = gan("sample", tmp_path / "a.pt", "--out", tmp_path / "b.png")
    assert shown.exit_code == 1
    assert (
        shown.output.startswith(f"Error: {tmp_path / 'a.pt'}: ") and shown.output.count("\n") == 1
    )


def test_data_reports_what_it_found(cache: Path) -> None:
    # a pack in data/, made by an earlier version, would be used
    shown = gan("data", SMOKE, "--set", f"data.root={cache}")
    assert shown.exit_code == 0
    for word in (
        "found    512 images",
        "classes  2: disc 256, square 256",
        "3x32x32",
        str(cache),
    ):
        assert word in shown.output


def test_config_shows_settings_with_their_meaning() -> None:
    shown = gan("config", SMOKE)
    assert "source: synthetic  # data set;" in shown.output
    assert "kernel: 4  # kernel size of the strided layers" in shown.output


def test_runs_without_a_directory_are_numbered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert gan("train", SMOKE, "--set", "train.num_steps=1").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "00000-smoke",
        "00001-smoke",
    ]


def test_batch_size_that_ranks_cannot_share_is_a_config_error(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before images are packed or a directory is made."""
    torchrun = {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "3"}
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)
    shown = gan("train", config, "--run-dir", tmp_path / "run")
    assert shown.exit_code == 2
    assert "train.batch_size must be a multiple of the world size, 3; got" in shown.output
    assert not (tmp_path / "packed").exists() and not (tmp_path / "run").exists()


def test_full_gpu_memory_is_reported_in_one_line_and_exits_with_1(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr("gan.training.loop.one_step", no_room)
    found = gan("train", config, "--run-dir", tmp_path / "run")
    assert found.exit_code == 1
    assert "\nError: out of GPU memory; " in found.stderr
