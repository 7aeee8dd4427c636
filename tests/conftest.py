"""Shared fixtures: a tiny run on synthetic images that takes about a second."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from gan.config.reader import parse_config
from gan.config.settings import Config
from gan.training.loop import train

TINY = {
    "data": {"source": "synthetic", "image_size": 16, "channels": 3},
    "model": {"g_width": 4, "d_width": 4, "z_dim": 8},
    "train": {
        "batch_size": 8,
        "num_steps": 4,
        "log_every_steps": 2,
        "sample_every_steps": 2,
        "checkpoint_every_steps": 2,
    },
}


def tiny_config(root: Path, **sections: dict) -> Config:
    """Returns the tiny config with some settings changed, its packs under `root`."""
    values = {name: {**inner, **sections.get(name, {})} for name, inner in TINY.items()}
    values["data"]["root"] = str(root)
    values["hardware"] = sections.get("hardware", {})
    return parse_config(values, origin="tiny")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The tiny config as a file."""
    path = tmp_path / "tiny.yaml"
    data = {**TINY["data"], "root": str(tmp_path)}
    path.write_text(yaml.safe_dump({**TINY, "data": data}))
    return path


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, str], None]]:
    """Mounts, or mounts again, a file system in memory, with options such as size=64k or ro."""
    mounted: set[Path] = set()

    def mount(place: Path, options: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        options = f"remount,{options}" if place in mounted else options
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("only root may mount a small disk")
        mounted.add(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets; skips where there is none."""
    root = os.environ.get("GAN_DATA")
    if not root:
        pytest.skip("GAN_DATA is not set: the real data sets are not at hand")
    return Path(root)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run; tests only read it."""
    root = tmp_path_factory.mktemp("tiny")
    train(tiny_config(root), root / "run", "cpu")
    return root / "run"


@pytest.fixture(scope="session")
def conditional_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run with classes and uniform latents; tests only read it."""
    root = tmp_path_factory.mktemp("conditional")
    cfg = tiny_config(root, model={"conditional": True, "z_dist": "uniform"})
    train(cfg, root / "run", "cpu")
    return root / "run"


# test processes share the cores; threads that wait for each other would take most of the time
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
