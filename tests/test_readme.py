"""Every command in the README runs, on synthetic images and with short lengths."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = Path("README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.startswith(("gan ", "torchrun "))
]
SHORT = [
    "--set", "train.num_steps=2", "--set", "train.batch_size=4", "--set", "model.g_width=2",
    "--set", "model.d_width=2",
]  # fmt: skip


def short(command: str, images: Path) -> list[str]:
    """The command with its own words, but fewer steps and data that is at hand."""
    words = shlex.split(command.replace("/path/to/images", str(images)))
    verb = words[words.index("gan") + 1] if words[0] == "torchrun" else words[1]
    if verb in ("train", "data") and "configs/folder.yaml" not in words:
        words += ["--set", "data.source=synthetic", "--set", f"data.root={images}"]
    if verb == "train":
        words += SHORT
    if verb == "evaluate":
        words += ["--data-root", str(images), "--features", "none", "--num", "100"]
    launcher = {"gan": ["-m", "gan"], "torchrun": ["-m", "torch.distributed.run", "--standalone"]}
    return [sys.executable, *launcher[words[0]], *words[1:]]


def test_the_readme_names_every_verb() -> None:
    for verb in ("train", "sample", "walk", "evaluate", "data", "config"):
        assert any(f"gan {verb} " in command for command in COMMANDS), verb


def test_every_command_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(24):
        noise = np.random.default_rng(i).integers(0, 256, (70, 80, 3), np.uint8)
        Image.fromarray(noise).save(images / f"{i}.png")
    (tmp_path / "configs").symlink_to(Path("configs").resolve())
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        done = subprocess.run(short(command, images), capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    names = ("samples.png", "samples.npz", "walk.gif")
    assert all(Path(name).stat().st_size for name in names)


def test_files_that_the_readme_links_to_exist() -> None:
    for link in re.findall(r"\]\(((?:docs|configs|scripts)/[^)]+)\)", README):
        assert Path(link).exists(), link
