"""What tests share: `gan` in this process, a tiny run on synthetic images, limited disks."""

import os
import resource
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings
from PIL import Image

from gan.cli import main
from gan.config.reader import parse_config
from gan.config.settings import Config, DataConfig
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.metrics import pyramid
from gan.training.loop import train

# before anything is packed: packs would be written into the user's cache
_CACHE = tempfile.TemporaryDirectory(prefix="gan-tests-")
os.environ["GAN_CACHE"] = _CACHE.name

BROWSER_MS = 300_000  # the longest wait for a browser on a busy machine

SmallDisk = Callable[[Path, str], None]

# other programs on the machine may slow a test down; that is no failure
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

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
    """Returns the tiny config with some settings changed, and its data under `root`."""
    values = {name: {**inner, **sections.get(name, {})} for name, inner in TINY.items()}
    values["data"]["root"] = str(root)
    values["hardware"] = sections.get("hardware", {})
    return parse_config(values, origin="tiny")


def gan(*words: object) -> Result:
    """Runs `gan` with these arguments in this process, which is seconds faster than a new one."""
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Limits the size of files that this process can write."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def tiny_file(folder: Path) -> Path:
    """Writes the tiny config to a file, with its data under `folder`."""
    path = folder / "tiny.yaml"
    data = {**TINY["data"], "root": str(folder)}
    path.write_text(yaml.safe_dump({**TINY, "data": data}))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The tiny config as a file."""
    return tiny_file(tmp_path)


def folder_config(root: Path, **changes: object) -> DataConfig:
    values = {"source": "folder", "root": str(root), "image_size": 16, "channels": 3, **changes}
    return DataConfig(**values)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of one test, in tmp_path, for tests that look at packs or damage them."""
    monkeypatch.setenv("GAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache can be written, so packs are written beside the data."""
    monkeypatch.setenv("GAN_CACHE", os.devnull)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six images of different colours in two class folders, and a text file."""
    root = tmp_path / "images"
    for i in range(6):
        place = root / ("cat" if i < 4 else "dog") / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (40 * i, 0, 0)).save(place)
    (root / "notes.txt").write_text("hello")
    return root


def zip_of(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    return path


def packed(cfg: DataConfig) -> PackedImages:
    return pack(open_source(cfg), cfg)


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    """Mounts or remounts a file system in memory, with options such as size=64k or ro."""
    mounted: set[Path] = set()

    def mount(place: Path, options: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        options = f"remount,{options}" if place in mounted else options
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting a small disk needs root")
        mounted.add(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Limits this process to 200 MB more memory than it has."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + 200_000_000, limits[1])
    )
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets; skips the test if there is none."""
    root = os.environ.get("GAN_DATA")
    if not root:
        pytest.skip("GAN_DATA is not set: the real data sets are not available")
    return Path(root)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run; tests only read it."""
    root = tmp_path_factory.mktemp("tiny")
    train(tiny_config(root), root / "run", "cpu")
    return root / "run"


@pytest.fixture
def finished_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run and its data in tmp_path, for tests that change it."""
    shutil.copytree(tiny_run.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "run"


@pytest.fixture(scope="session")
def conditional_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run with classes and uniform latents; tests only read it."""
    root = tmp_path_factory.mktemp("conditional")
    cfg = tiny_config(root, model={"conditional": True, "z_dist": "uniform"})
    train(cfg, root / "run", "cpu")
    return root / "run"


# only a power cut shows the difference, and a busy disk takes seconds for each checkpoint
os.fsync = lambda handle: None

# all 32,768 patches take a second in each of many evaluations
pyramid.NUM_PATCHES = 4096

# tests run in parallel; with several threads each, they would mostly wait for each other
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_runtest_setup() -> None:
    """Before the fixtures of each test: no test depends on those that ran before it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
