"""What the two ranks of test_distributed.py do.

    torchrun --nproc-per-node=2 -m tests.two_ranks runs FOLDER
    torchrun --nproc-per-node=2 --max-restarts=1 -m tests.two_ranks killed FOLDER

Starting ranks takes much longer than tiny runs, so `runs` makes several runs in the same processes.
"""

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, redirect_stderr
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from gan.cli import main
from gan.machine.precision import Precision
from gan.machine.ranks import Ranks, average_gradients, process_group
from gan.training.loop import train
from gan.training.run import Run
from gan.training.state import TrainState, make_state
from gan.training.steps import one_step
from tests.conftest import tiny_config

AfterStep = Callable[[TrainState], None]
RANK = int(os.environ.get("RANK", "0"))
COMPARED = {"num_steps": 6}
ENDLESS = {"num_steps": 10**6, "checkpoint_every_steps": 10**6}
COLLAPSING = {"num_steps": 100, "log_every_steps": 1, "sample_every_steps": 1,
              "on_collapse": "stop", "g_learning_rate": 1e-9, "d_learning_rate": 0.02}  # fmt: skip
# flips, augmentation and noise are drawn for the whole batch
ONE_STEP = {
    "data": {"flip": True},
    "train": {"num_steps": 1, "augment": "translate", "colour_noise": 8.0},
    "hardware": {"precision": "fp32"},
}


def make_runs(folder: Path) -> None:
    """Makes all runs that do not kill a rank, and saves what this rank found."""
    save_gradients(folder)
    with without_batch_norm():
        make_run(folder, "one_step", **ONE_STEP)
    make_run(folder, "unbroken", train=COMPARED)
    make_run(folder, "parts", train={"num_steps": 2})
    make_run(folder, "parts", train=COMPARED)
    # rank 0 alone evaluates the last step of a finished run
    missed = COMPARED | {"evaluate_every_steps": 6, "on_collapse": "stop"}
    make_run(folder, "parts", train=missed)
    with patch("gan.training.collapse._LASTING_IMAGES", 16):
        collapsed = make_run(folder, "collapsed", train=COLLAPSING)
    one_signal = make_run(folder, "one_signal", signal_to_one_rank, train=ENDLESS)
    two_signals = make_run(folder, "two_signals", signal_twice, train=ENDLESS)
    found = {
        "refused": train_with_other_seeds(folder),
        "collapsed": collapsed.describe_collapse(),
        "one_signal": one_signal.ending.name,
        "two_signals": two_signals.ending.name,
        "threads": [path.read_text() for path in Path("/proc/self/task").glob("*/comm")],
    }
    (folder / f"found_{RANK}.json").write_text(json.dumps(found))


def without_batch_norm() -> AbstractContextManager:
    """Makes discriminators without BatchNorm, which would see a rank's slice of the batch."""
    layers = "gan.nn.discriminator._activated"
    return patch(layers, lambda conv, batch_norm: [conv, nn.LeakyReLU(0.2)])


def make_killed_run(folder: Path) -> None:
    """Trains like the unbroken run; one rank kills itself and torchrun restarts both."""
    train_with(kill_one_rank_once, folder, "killed", train=COMPARED)


def make_run(
    folder: Path, name: str, after_step: AfterStep = lambda state: None, **sections: dict
) -> Run:
    """Trains under separate keys in torchrun's store."""
    use_other_keys()
    return train_with(after_step, folder, name, **sections)


def use_other_keys() -> None:
    """Makes the next process group use separate keys in torchrun's store, as after a restart."""
    restarts = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    os.environ["TORCHELASTIC_RESTART_COUNT"] = str(restarts + 1)


def train_with_other_seeds(folder: Path) -> dict[str, Any]:
    """Runs `gan train` with the rank as the seed; returns the exit code and what it printed."""
    use_other_keys()
    words = ["train", str(folder / "tiny.yaml"), "--run-dir", str(folder / "other_seed")]
    with redirect_stderr(io.StringIO()) as stderr, pytest.raises(SystemExit) as ended:
        main([*words, "--set", f"train.seed={RANK}"])
    return {"code": ended.value.code, "stderr": stderr.getvalue()}


def train_with(after_step: AfterStep, folder: Path, name: str, **sections: dict) -> Run:
    """Trains, and calls a function after each step."""

    def step(state: TrainState, *args: object) -> dict[str, Tensor]:
        values = one_step(state, *args)
        after_step(state)
        return values

    with patch("gan.training.loop.one_step", step):
        return train(tiny_config(folder, **sections), folder / name, "cpu")


def signal_to_one_rank(state: TrainState) -> None:
    if state.step == 7 and RANK == 1:
        signal.raise_signal(signal.SIGTERM)


def signal_twice(state: TrainState) -> None:
    if state.step == 7:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


def kill_one_rank_once(state: TrainState) -> None:
    if state.step == 3 and RANK == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)


def save_gradients(folder: Path) -> None:
    """Saves the averaged gradients of D for this rank's slice of the images."""
    with process_group(torch.device("cpu")) as ranks:
        state = state_of(folder, ranks)
        part = images().chunk(ranks.world_size)[ranks.rank]
        state.d(part).logits.square().mean().backward()
        average_gradients(state.d, ranks)
    gradients = [parameter.grad for parameter in state.d.parameters()]
    torch.save(gradients, folder / f"gradients_{RANK}.pt")


def state_of(folder: Path, ranks: Ranks | None = None) -> TrainState:
    precision = Precision(torch.float32, channels_last=False, threads=1)
    return make_state(tiny_config(folder), 0, torch.device("cpu"), precision, ranks)


def images() -> Tensor:
    return torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))


if __name__ == "__main__":
    {"runs": make_runs, "killed": make_killed_run}[sys.argv[1]](Path(sys.argv[2]))
