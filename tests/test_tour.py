"""Every cell of docs/tour.ipynb runs, with ten steps of training instead of three minutes."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

TOUR = nbformat.read("docs/tour.ipynb", as_version=4)


def test_every_cell_runs_and_every_command_succeeds(
    conditional_run: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = {
        "faces": str(tiny_run),
        "digits": str(conditional_run),
        "config": str(Path("configs/quickstart.yaml").resolve()),
        "train": "--set train.num_steps=10",
        "resume": "--set train.num_steps=12",
        "evaluate": "--num 20 --draws 1",
        "out": "tour",
    }
    notebook = nbformat.from_dict(TOUR)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    names = re.findall(r"^(\w+)(?:, (\w+))? =", tagged[0].source, re.MULTILINE)
    assert {name for pair in names for name in pair if name} == set(parameters)
    tagged[0].source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    # in the process of the notebook, which saves the seconds that each command takes to start
    in_process = r'main(shlex.split(f"\1"), standalone_mode=False)'
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source = re.sub(r"^!gan (.*)$", in_process, cell.source, flags=re.MULTILINE)
    tagged[0].source += "\nimport shlex\nfrom gan.cli import main"
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    client = NotebookClient(notebook, timeout=600, startup_timeout=600,
                            resources={"metadata": {"path": tmp_path}})  # fmt: skip
    client.execute()
    for name in ("faces.png", "walk.gif", "pairs.png", "before.png", "after.png"):
        with Image.open(tmp_path / "tour" / name) as image:
            image.load()
    steps = sorted((tmp_path / "tour/run/checkpoints").glob("step_*.pt"))
    assert [path.stem for path in steps][-2:] == ["step_00000010", "step_00000012"]


def test_stored_outputs_are_small_pictures_only() -> None:
    outputs = [output for cell in TOUR.cells for output in cell.get("outputs", [])]
    assert all("image/png" in output.get("data", {}) for output in outputs)
    assert Path("docs/tour.ipynb").stat().st_size < 300_000
    assert all(cell.get("execution_count") is None for cell in TOUR.cells)
