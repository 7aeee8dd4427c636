"""The README's commands run, and its messages exist."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan.cli import main
from tests.conftest import gan

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


def section(title: str) -> str:
    """Returns the text of a section of the README."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def run(command: str, images: Path) -> None:
    """Runs a command with fewer steps, smaller networks, and `images` as its data."""
    launcher, *words = shlex.split(command.replace("/path/to/images", str(images)), comments=True)
    verb = words[words.index("gan") + 1] if launcher == "torchrun" else words[0]
    if verb in ("train", "data") and "configs/folder.yaml" not in words:
        words += ["--set", "data.source=folder", "--set", f"data.root={images}"]
    if verb == "train":
        words += SHORT
    if verb == "evaluate":
        words += ["--features", "none", "--num", "100", "--draws", "1"]
        if "runs/mine" not in words:
            words += ["--data-root", str(images)]
    if verb == "paper":
        words += ["--points", "2", "--steps", "2"]
    if launcher == "gan":
        assert gan(*words).exit_code == 0, command
        return
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run([*torchrun, *words], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.parametrize("verb", main.commands)
def test_every_verb_has_an_example(verb: str) -> None:
    assert any(f"gan {verb} " in command for command in COMMANDS)


def test_every_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = tmp_path / "images"  # with ten classes
    for i in range(30):
        noise = np.random.default_rng(i).integers(0, 256, (28, 30, 3), np.uint8)
        (images / str(i % 10)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(images / str(i % 10) / f"{i}.png")
    (tmp_path / "configs").symlink_to(Path("configs").resolve())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gan.analysis.invert._STEPS", 40)
    for command in COMMANDS:
        run(command, images)
    names = ("sheet.png", "samples.png", "sevens.png", "samples.npz", "walk.gif")
    assert all(Path(name).stat().st_size for name in names)


def test_linked_and_named_files_exist() -> None:
    links = {link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link}
    named = set(re.findall(r"\b(?:configs|scripts)/\w+\.\w+", README))
    assert links and named and all(Path(path).exists() for path in links | named)


def messages() -> list[str]:
    """Returns every string in the source, with ... for its formatted values."""
    trees = [ast.parse(path.read_text()) for path in Path("gan").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    parts = [node.values for node in nodes if isinstance(node, ast.JoinedStr)]
    parts += [[node] for node in nodes if isinstance(node, ast.Constant)]
    return ["".join(str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else "..."
                    for part in values) for values in parts]  # fmt: skip


def test_quoted_messages_are_in_the_source() -> None:
    rows = section("Troubleshooting").split("|---|---|\n")[1].strip().splitlines()
    quotes = re.findall(r"`([^`]+)`", " ".join(row.split("|")[1] for row in rows))
    assert len(quotes) >= len(rows) > 5
    source = messages()
    for quote in quotes:
        assert any(quote.strip(".") in message for message in source), quote
