"""Every code block, figure and command of the lesson, in both editions."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from draw_transposed_conv import main
from PIL import Image

ROOT = Path(__file__).parents[1]
EDITIONS = ("transposed_convolution.md", "transposed_convolution.zh-CN.md")
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


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_block_runs_and_the_table_is_what_they_compute(edition: str) -> None:
    namespace: dict = {}
    sources = blocks(edition, "python")
    assert len(sources) >= 15
    for number, source in enumerate(sources, start=1):
        exec(compile(source, f"{edition}, block {number}", "exec"), namespace)
    rows = [line for line in read(edition).splitlines() if re.match(r"\| \d+ ×", line)]
    assert rows == namespace["table"]


@pytest.mark.parametrize("language", ["python", "bash"])
def test_editions_have_the_same_blocks(language: str) -> None:
    assert blocks(EDITIONS[0], language) == blocks(EDITIONS[1], language)


def test_editions_have_the_same_sections_figures_and_sources() -> None:
    shapes = []
    for edition in EDITIONS:
        text = read(edition)
        numbers = re.findall(r"^## (\d+)\.", text, re.MULTILINE)
        shapes.append((numbers, figures(edition), re.findall(r"\]\((https[^)]+)\)", text)))
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(("edition", "other"), [EDITIONS, EDITIONS[::-1]])
def test_links_lead_somewhere_and_to_the_other_edition(edition: str, other: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", read(edition))
    local = [link for link in links if not link.startswith("https://")]
    assert local[0] == other
    missing = [link for link in local if not (ROOT / "docs" / link).is_file()]
    assert missing == []


def test_script_redraws_exactly_the_figures_of_the_lesson(
    tmp_path: Path,
) -> None:
    draw(f"--figures-dir {tmp_path}")
    drawn = sorted(f"figures/{path.name}" for path in tmp_path.iterdir())
    assert drawn == sorted(figures(EDITIONS[0]))


def test_command_of_the_lesson_draws_a_frame_for_each_input_element_and_a_last_one(
    tmp_path: Path,
) -> None:
    (command,) = blocks(EDITIONS[0], "bash")
    assert command.startswith(COMMAND)
    draw(command.removeprefix(COMMAND).replace("my.gif", str(tmp_path / "my.gif")))
    with Image.open(tmp_path / "my.gif") as animation:
        assert animation.n_frames == 4 * 4 + 1


def test_script_refuses_settings_that_leave_nothing_to_draw(
    tmp_path: Path,
) -> None:
    with pytest.raises(AssertionError, match="padding must be at most 2"):
        draw(f"--kernel 2 --padding 3 --out {tmp_path / 'none.gif'}")


def draw(arguments: str) -> None:
    """Runs the drawing script in this process."""
    result = CliRunner().invoke(main, shlex.split(arguments))
    assert result.exit_code == 0, result.output
