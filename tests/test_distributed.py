"""Several ranks as real processes under torchrun, with gloo on the CPU."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from gan.checkpoint import read_checkpoint
from gan.config.reader import describe
from gan.training.loop import train
from tests.conftest import tiny_config


def torchrun(*words: object, ranks: int = 2) -> subprocess.Popen:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               f"--nproc-per-node={ranks}", *map(str, words)]  # fmt: skip
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _ranks(process: subprocess.Popen) -> list[int]:
    """Returns the process ids of torchrun's two ranks."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    return list(map(int, children))


_GRADIENTS = """
import sys
import time
from pathlib import Path
import torch
from gan.machine.ranks import average_gradients, process_group
from gan.training.state import make_state
from gan.machine.precision import Precision
from tests.conftest import tiny_config

cpu = torch.device("cpu")
precision = Precision(torch.float32, channels_last=False, threads=1)
with process_group(cpu) as ranks:
    state = make_state(tiny_config(Path(sys.argv[1])), 0, cpu, precision, ranks)
    images = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    part = images.chunk(ranks.world_size)[ranks.rank]
    state.d(part).logits.square().mean().backward()
    average_gradients(state.d, ranks)
    torch.save([p.grad for p in state.d.parameters()], f"{sys.argv[1]}/{ranks.rank}.pt")
threads = {name.read_text() for name in Path("/proc/self/task").glob("*/comm")}
assert not any("gloo" in name for name in threads), threads  # one left may abort the process
"""


def test_gradients_of_two_ranks_are_those_of_one_process(tmp_path: Path) -> None:
    """Over the same BatchNorm sub-batches, to 1e-6."""
    script = tmp_path / "gradients.py"
    script.write_text(_GRADIENTS)
    process = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.wait(timeout=120) == 0, process.stderr.read()
    from gan.machine.precision import Precision
    from gan.training.state import make_state

    precision = Precision(torch.float32, channels_last=False, threads=1)
    state = make_state(tiny_config(tmp_path), 0, torch.device("cpu"), precision)
    images = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    losses = [state.d(part).logits.square().mean() for part in images.chunk(2)]
    torch.stack(losses).mean().backward()
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for ours, parameter in zip(found, state.d.parameters(), strict=True):
            torch.testing.assert_close(ours, parameter.grad, rtol=0, atol=1e-6)


def test_two_ranks_resume_exactly_and_one_process_goes_on(config: Path, tmp_path: Path) -> None:
    weights = []
    for name, lengths in (("whole", [4]), ("parts", [2, 4])):
        for num_steps in lengths:
            process = torchrun("-m", "gan", "train", config, "--run-dir", tmp_path / name,
                               "--set", f"train.num_steps={num_steps}")  # fmt: skip
            assert process.wait(timeout=120) == 0, process.stderr.read()
        weights.append((tmp_path / name / "checkpoints" / "step_00000004.pt").read_bytes())
    assert weights[0] == weights[1]
    cfg = tiny_config(tmp_path, train={"num_steps": 5})
    train(cfg, tmp_path / "whole", "cpu")
    log = (tmp_path / "whole" / "log.txt").read_text()
    assert "world_size: checkpoint has 2, this machine has 1" in log
    # without BatchNorm's ranks aside, the batch and the latents are the same ones
    assert read_checkpoint(tmp_path / "whole/checkpoints/step_00000005.pt").images_seen == 40


def test_two_ranks_see_the_batch_of_one(tmp_path: Path) -> None:
    """Two ranks train as one process does, flips and augmentation included.

    To rounding, and without BatchNorm in D, whose statistics are those of a rank's slice.
    """
    cfg = tiny_config(
        tmp_path,
        data={"flip": True},
        model={"d_norm": None},
        train={"num_steps": 1, "augment": "diffaugment"},
        hardware={"precision": "fp32"},
    )
    train(cfg, tmp_path / "one", "cpu")
    path = tmp_path / "none.yaml"
    path.write_text(describe(cfg))
    process = torchrun("-m", "gan", "train", path, "--run-dir", tmp_path / "two")
    assert process.wait(timeout=120) == 0, process.stderr.read()
    one, two = (
        read_checkpoint(tmp_path / n / "checkpoints/step_00000001.pt") for n in ("one", "two")
    )
    assert two.images_seen == 8
    # Adam's first step is +-learning rate: signs must agree where the gradient is not tiny
    for key, value in one.d.items():
        share = ((value - two.d[key]).abs() < 1e-4).float().mean()
        assert share > 0.9, key


def test_a_killed_rank_is_started_again_and_the_run_goes_on(config: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    process = torchrun("--max-restarts=3", "-m", "gan", "train", config, "--run-dir", run_dir,
                       "--set", "train.num_steps=200")  # fmt: skip
    while not (run_dir / "checkpoints/step_00000004.pt").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.kill(_ranks(process)[-1], signal.SIGKILL)
    stderr = process.communicate(timeout=280)[1]
    assert process.returncode == 0, stderr
    assert "resuming from step_" in stderr
    assert read_checkpoint(run_dir / "checkpoints/step_00000200.pt").step == 200


def test_every_rank_says_why_it_stopped_on_collapse(config: Path, tmp_path: Path) -> None:
    settings = {"batch_size": 4096, "num_steps": 100, "log_every_steps": 1,
                "sample_every_steps": 1, "on_collapse": "stop",
                "g_learning_rate": 1e-9, "d_learning_rate": 0.02}  # fmt: skip
    sets = [word for k, v in settings.items() for word in ("--set", f"train.{k}={v}")]
    process = torchrun("-m", "gan", "train", config, "--run-dir", tmp_path / "run", *sets)
    stderr = process.communicate(timeout=120)[1]
    told = [line for line in stderr.splitlines() if "Stopped and saved at step" in line]
    assert told and all("real images' diversity: mode" in line for line in told), stderr


def _endless(run_dir: Path, config: Path) -> subprocess.Popen:
    """Starts two ranks that only save when they are stopped; returns after their first log."""
    process = torchrun("-m", "gan", "train", config, "--run-dir", run_dir,
                       "--set", "train.num_steps=1000000",
                       "--set", "train.checkpoint_every_steps=1000000")  # fmt: skip
    metrics = run_dir / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    return process


def test_a_signal_to_one_rank_saves_and_ends_both(config: Path, tmp_path: Path) -> None:
    process = _endless(tmp_path / "run", config)
    os.kill(_ranks(process)[-1], signal.SIGTERM)
    stderr = process.communicate(timeout=120)[1]
    assert "stopped and saved; to resume: torchrun ... -m gan train" in stderr
    (saved,) = tmp_path.glob("run/checkpoints/step_*.pt")
    assert read_checkpoint(saved).step % 5 == 0  # where the ranks ask each other


def test_a_signal_that_comes_twice_to_each_rank_saves(config: Path, tmp_path: Path) -> None:
    """From Slurm, which signals every process of a cancelled job, and from torchrun."""
    process = _endless(tmp_path / "run", config)
    for pid in (*_ranks(process), process.pid):
        os.kill(pid, signal.SIGTERM)
    stderr = process.communicate(timeout=120)[1]
    assert stderr.count("stopped and saved") == 2, stderr
    assert len(list(tmp_path.glob("run/checkpoints/step_*.pt"))) == 1
