"""Two ranks as real processes under torchrun, with gloo on the CPU; see two_ranks.py."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from gan.checkpoint import read_checkpoint
from gan.data.pack import is_first_process
from gan.machine.ranks import launched_rank
from gan.training.loop import train
from tests.conftest import tiny_config, tiny_file
from tests.two_ranks import ONE_STEP, images, state_of, without_batch_norm

LAST = "checkpoints/step_00000006.pt"  # of the runs that are compared


@contextmanager
def torchrun(*words: object) -> Iterator[subprocess.Popen]:
    """Starts two ranks, which are stopped when the block ends."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               "--nproc-per-node=2", *map(str, words)]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()  # which torchrun passes on


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs that two ranks made; tests only read it."""
    folder = tmp_path_factory.mktemp("ranks")
    tiny_file(folder)
    with torchrun("-m", "tests.two_ranks", "runs", folder) as process:
        stderr = process.communicate()[1]
    assert process.returncode == 0, stderr
    return folder


def found_by_ranks(runs: Path) -> list[dict]:
    return [json.loads((runs / f"found_{rank}.json").read_text()) for rank in (0, 1)]


def test_gradients_of_two_ranks_equal_those_of_one_process(runs: Path, tmp_path: Path) -> None:
    """To 1e-6, with the BatchNorm statistics of each half of the batch."""
    state = state_of(tmp_path)
    losses = [state.d(part).logits.square().mean() for part in images().chunk(2)]
    torch.stack(losses).mean().backward()
    for rank in (0, 1):
        found = torch.load(runs / f"gradients_{rank}.pt", weights_only=True)
        for gradient, parameter in zip(found, state.d.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=0, atol=1e-6)


def test_threads_of_gloo_end_with_their_group(runs: Path) -> None:
    """A thread that is left may abort the process when Python shuts down."""
    for found in found_by_ranks(runs):
        assert found["threads"] and not any("gloo" in name for name in found["threads"])


def test_two_ranks_train_on_the_batch_of_one_process(runs: Path, tmp_path: Path) -> None:
    """Flips and augmentation included, to rounding."""
    with without_batch_norm():
        train(tiny_config(tmp_path, **ONE_STEP), tmp_path / "one_step", "cpu")
    one, two = (
        read_checkpoint(folder / "one_step/checkpoints/step_00000001.pt")
        for folder in (tmp_path, runs)
    )
    assert two.images_seen == 8
    # Adam's first step is +-learning rate: signs must agree where the gradient is not tiny
    for key, value in one.d.items():
        share = ((value - two.d[key]).abs() < 1e-4).float().mean()
        assert share > 0.9, key


def test_two_ranks_resume_exactly(runs: Path) -> None:
    assert (runs / "parts" / LAST).read_bytes() == (runs / "unbroken" / LAST).read_bytes()


def test_one_process_resumes_the_run_of_two_ranks(runs: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(runs / "unbroken", run_dir)
    train(tiny_config(tmp_path, train={"num_steps": 7}), run_dir, "cpu")
    log = (run_dir / "log.txt").read_text()
    assert "world_size: checkpoint has 2, this machine has 1" in log
    assert read_checkpoint(run_dir / "checkpoints/step_00000007.pt").images_seen == 56


def test_killed_rank_is_restarted_and_the_run_equals_the_unbroken_one(
    runs: Path, tmp_path: Path
) -> None:
    words = ["--max-restarts=1", "-m", "tests.two_ranks", "killed", tmp_path]
    with torchrun(*words) as process:
        stderr = process.communicate()[1]
    assert process.returncode == 0, stderr
    assert "resuming from step_00000002.pt" in stderr
    assert (tmp_path / "killed" / LAST).read_bytes() == (runs / "unbroken" / LAST).read_bytes()


def test_ranks_with_other_settings_refuse_to_train(runs: Path) -> None:
    first, second = (found["refused"] for found in found_by_ranks(runs))
    assert first["code"] == second["code"] == 2
    assert "another rank has different ones" in first["stderr"]
    assert "train.seed: rank 0 has 0, rank 1 has 1" in second["stderr"]
    assert not (runs / "other_seed" / "checkpoints").exists()


def test_every_rank_says_why_it_stopped_on_collapse(runs: Path) -> None:
    for found in found_by_ranks(runs):
        assert "real images' diversity: mode" in found["collapsed"]
        assert "Stopped and saved at step" in found["collapsed"]


def test_signal_to_one_rank_ends_both_where_they_agree_and_saves(runs: Path) -> None:
    assert [found["one_signal"] for found in found_by_ranks(runs)] == ["TERMINATED"] * 2
    (saved,) = runs.glob("one_signal/checkpoints/step_*.pt")
    assert read_checkpoint(saved).step == 10  # the signal came after step 7


def test_signal_that_comes_twice_to_each_rank_saves(runs: Path) -> None:
    """Slurm signals every process of a cancelled job, and torchrun passes the signal on."""
    assert [found["two_signals"] for found in found_by_ranks(runs)] == ["TERMINATED"] * 2
    (saved,) = runs.glob("two_signals/checkpoints/step_*.pt")
    assert read_checkpoint(saved).step == 10


def test_signal_to_torchrun_saves_and_says_once_how_to_resume(config: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    words = ["-m", "gan", "train", config, "--run-dir", run_dir, "--device", "cpu",
             "--set", "train.num_steps=1000000",
             "--set", "train.checkpoint_every_steps=1000000"]  # fmt: skip
    metrics = run_dir / "metrics.jsonl"
    with torchrun(*words) as process:
        while not (metrics.exists() and metrics.stat().st_size):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.terminate()
        stderr = process.communicate()[1]
    assert stderr.count("to resume: torchrun ... -m gan train") == 1, stderr
    (saved,) = run_dir.glob("checkpoints/step_*.pt")
    assert read_checkpoint(saved).step % 5 == 0  # where the ranks agree


@pytest.mark.parametrize(
    ("environment", "is_first"),
    [
        ({}, True),
        ({"RANK": "1"}, True),  # of another launcher, whose processes do not join
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2"}, True),
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "2"}, False),
    ],
)
def test_the_first_process_is_the_same_with_and_without_torch(
    environment: dict[str, str], is_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == launched_rank().is_first == is_first
