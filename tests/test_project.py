"""The project's own files agree with one another."""

import re
import tomllib
from pathlib import Path

import pytest


def requirements() -> list[str]:
    lines = Path("requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_requirements_and_pyproject_ask_for_the_same() -> None:
    wanted = tomllib.loads(Path("pyproject.toml").read_text())["project"]["dependencies"]
    assert requirements()[: len(wanted)] == wanted
    assert requirements()[-1] == "-e ."


def test_every_requirement_has_a_lower_bound() -> None:
    assert all(">=" in line for line in requirements()[:-1])


def test_the_installed_libraries_are_within_the_bounds() -> None:
    from importlib.metadata import version

    from packaging.requirements import Requirement

    for line in requirements()[:-1]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(version(wanted.name)), line


@pytest.mark.parametrize("script", sorted(Path("scripts").glob("*.sh")), ids=str)
def test_shell_scripts_stop_at_the_first_error_and_fetch_nothing(script: Path) -> None:
    text = script.read_text()
    assert script.name == "install.sh" or "set -euo pipefail" in text
    assert not re.search(r"\b(curl|wget)\b", text)  # what is fetched is checked by who fetches it


def test_configs_in_the_readme_exist() -> None:
    readme = Path("README.md").read_text()
    named = set(re.findall(r"configs/\w+\.yaml", readme)) - {"configs/mine.yaml"}
    assert named and all(Path(name).exists() for name in named)
