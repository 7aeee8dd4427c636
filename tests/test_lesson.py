"""The code blocks, figures and commands of both lessons, in both editions."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import draw_gan
import draw_transposed_conv
import lesson_gan
import pytest
from click.testing import CliRunner
from lesson_generator_figures import overlap_counts
from PIL import Image

ROOT = Path(__file__).parents[1]
EDITIONS = ("transposed_convolution.md", "transposed_convolution.zh-CN.md")
GAN_EDITIONS = ("gan.md", "gan.zh-CN.md")
LESSONS = (EDITIONS, GAN_EDITIONS)
COMMAND = "python scripts/draw_transposed_conv.py"


def read(edition: str) -> str:
    """Returns an edition's text."""
    return (ROOT / "docs" / edition).read_text(encoding="utf-8")


def blocks(edition: str, language: str) -> list[str]:
    """Returns the fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(edition), re.DOTALL | re.MULTILINE)


def figures(edition: str) -> list[str]:
    """Returns the paths of the figures, in order, relative to docs/."""
    return re.findall(r"!\[[^\]]*\]\(([^)]+)\)", read(edition))


def paste(*sources: str) -> subprocess.CompletedProcess:
    """Returns what the Python prompt says to the blocks, and checks that it reports no error."""
    # the prompt, unlike a file, needs a blank line after an indented block
    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        input="\n".join(sources),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "", "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=200,
    )
    assert "Error" not in done.stderr
    return done


def test_blocks_can_be_pasted_into_the_python_prompt_and_compute_the_table() -> None:
    sources = blocks(EDITIONS[0], "python")  # those of the other edition are the same
    assert len(sources) >= 15
    done = paste(*sources, 'print("\\n".join(table))\n')
    printed = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    rows = [line for line in read(EDITIONS[0]).splitlines() if re.match(r"\| \d+ ×", line)]
    assert printed == rows


def test_blocks_about_gans_can_be_pasted_into_the_python_prompt() -> None:
    sources = blocks(GAN_EDITIONS[0], "python")  # another test compares the editions
    assert len(sources) >= 10
    assert paste(*sources, "print('the end')\n").stdout.endswith("the end\n")


def test_prompt_reports_a_missing_blank_line() -> None:
    with pytest.raises(AssertionError, match="SyntaxError"):
        paste("for i in range(2):\n    i\nassert i == 1\n")


def functions(source: str) -> dict[str, str]:
    """Returns the functions of a source by name, without docstrings and types."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
            if ast.get_docstring(node):
                node.body = node.body[1:]
            found[node.name] = ast.unparse(node)
    return found


def test_figures_about_gans_are_drawn_with_the_code_of_the_page() -> None:
    on_page = functions("\n".join(blocks(GAN_EDITIONS[0], "python")))
    drawn = functions(Path(lesson_gan.__file__).read_text(encoding="utf-8"))
    assert drawn == {name: on_page[name] for name in drawn}


@pytest.mark.parametrize(("kernel", "counts"), [(3, {1, 2, 4}), (4, {4}), (5, {4, 6, 9}), (6, {9})])
def test_overlap_counts_of_the_figure_are_the_known_values(kernel: int, counts: set) -> None:
    inside = overlap_counts(10, kernel, 2)[kernel:-kernel, kernel:-kernel]
    assert set(inside.flatten().tolist()) == counts


def test_overlap_counts_fall_towards_the_border() -> None:
    row = [1, 1, 2, 1, 2, 1, 1]
    assert overlap_counts(3, 3, 2).tolist() == [[i * j for j in row] for i in row]


@pytest.mark.parametrize("editions", LESSONS)
@pytest.mark.parametrize("language", ["python", "bash"])
def test_editions_have_the_same_blocks(language: str, editions: tuple[str, str]) -> None:
    assert blocks(editions[0], language) == blocks(editions[1], language)


@pytest.mark.parametrize("editions", LESSONS)
def test_editions_have_the_same_sections_figures_and_sources(editions: tuple[str, str]) -> None:
    shapes = []
    for edition in editions:
        text = read(edition)
        numbers = re.findall(r"^## (\d+)\.", text, re.MULTILINE)
        shapes.append((numbers, figures(edition), re.findall(r"\]\((https[^)]+)\)", text)))
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("edition", "other"), [order for pair in LESSONS for order in (pair, pair[::-1])]
)
def test_links_exist_and_the_first_leads_to_the_other_edition(edition: str, other: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", read(edition))
    local = [link for link in links if not link.startswith("https://")]
    assert local[0] == other
    files = [link.split("#")[0] for link in local]
    missing = [file for file in files if not (ROOT / "docs" / file).is_file()]
    assert missing == []


def test_script_draws_every_figure_of_the_lesson_and_no_other(tmp_path: Path) -> None:
    draw(f"--figures-dir {tmp_path}")
    drawn = sorted(f"figures/{path.name}" for path in tmp_path.iterdir())
    assert drawn == sorted(figures(EDITIONS[0]))


def test_script_draws_every_figure_about_gans_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw_gan, "NUM_STEPS", 24)
    monkeypatch.setattr(draw_gan, "NUM_COLLAPSED_STEPS", 24)
    draw(f"--figures-dir {tmp_path}", draw_gan.main)
    drawn = sorted(f"figures/{path.name}" for path in tmp_path.iterdir())
    assert drawn == sorted(figures(GAN_EDITIONS[0]))


def test_animation_has_a_frame_for_each_input_element_and_a_last_one(tmp_path: Path) -> None:
    (command,) = blocks(EDITIONS[0], "bash")
    assert command.startswith(COMMAND)
    draw(command.removeprefix(COMMAND).replace("my.gif", str(tmp_path / "my.gif")))
    with Image.open(tmp_path / "my.gif") as animation:
        assert animation.n_frames == 4 * 4 + 1


def test_script_rejects_padding_that_removes_the_whole_output(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="padding must be at most 2"):
        draw(f"--kernel 2 --padding 3 --out {tmp_path / 'none.gif'}")


def draw(arguments: str, script: click.Command = draw_transposed_conv.main) -> None:
    """Runs a drawing script in this process."""
    result = CliRunner().invoke(script, shlex.split(arguments))
    assert result.exit_code == 0, result.output
