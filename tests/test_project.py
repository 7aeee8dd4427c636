"""Files of the project agree with each other."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import gan


def requirements() -> list[str]:
    lines = Path("requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_requirements_equal_the_dependencies_of_pyproject() -> None:
    wanted = tomllib.loads(Path("pyproject.toml").read_text())["project"]["dependencies"]
    assert requirements()[: len(wanted)] == wanted
    assert requirements()[-1] == "-e ."


def test_every_requirement_has_a_lower_bound() -> None:
    assert all(">=" in line for line in requirements()[:-1])


def test_installed_libraries_are_within_the_bounds() -> None:
    from importlib.metadata import version

    from packaging.requirements import Requirement

    for line in requirements()[:-1]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(version(wanted.name)), line


def test_a_failed_installation_is_tried_again(tmp_path: Path) -> None:
    for name in ("scripts/install.sh", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(name, tmp_path / name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\n[ "$*" = "-m pip --version" ]\n')  # its pip only installs nothing
    python.chmod(0o755)
    env = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(["bash", "scripts/install.sh"], cwd=tmp_path, env=env)
    assert done.returncode and not (tmp_path / ".venv" / "installed.stamp").exists()


def test_half_an_environment_is_made_whole(tmp_path: Path) -> None:
    """Without Debian's python3-venv, or interrupted, venv leaves a Python without pip."""
    (tmp_path / "scripts").mkdir()
    shutil.copy("scripts/install.sh", tmp_path / "scripts")
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_text("")
    place = tmp_path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    env = {**os.environ, "PYTHON": sys.executable}
    subprocess.run(["bash", "scripts/install.sh"], cwd=tmp_path, env=env, check=True)
    assert (place / "bin" / "pip").exists() and (place / "installed.stamp").exists()


@pytest.mark.parametrize("script", sorted(Path("scripts").glob("*.sh")), ids=str)
def test_shell_scripts_stop_at_the_first_error_and_download_nothing(script: Path) -> None:
    text = script.read_text()
    assert script.name == "install.sh" or "set -euo pipefail" in text
    assert not re.search(r"\b(curl|wget)\b", text)  # gan.data downloads and checks the data sets


def test_configs_in_the_readme_exist() -> None:
    readme = Path("README.md").read_text()
    named = set(re.findall(r"configs/\w+\.yaml", readme)) - {"configs/mine.yaml"}
    assert named and all(Path(name).exists() for name in named)


PAGES = [*Path().glob("*.md"), *Path("docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files_that_a_page_links_to_exist(page: Path) -> None:
    links = re.findall(
        r"\]\(([^)#\s]+)[^)\n]*\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    )
    files = [link for link in links if not link.startswith("http")]
    assert [link for link in files if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_table_has_a_header_and_rows_of_one_length(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        rows = re.sub(r"`[^`\n]*`", "", table).splitlines()
        assert len(rows) > 2 and re.fullmatch(r"[-:|]+", rows[1]), table  # else no table is shown
        assert len({row.count("|") for row in rows}) == 1, table


@pytest.mark.parametrize("vulns", [[], [{"id": "CVE-1", "fix_versions": ["2.1"]}]])
def test_audit_fails_only_for_known_vulnerabilities(vulns: list, tmp_path: Path) -> None:
    packages = [{"name": "a", "version": "2.0", "vulns": vulns}, {"name": "b", "skip_reason": "?"}]
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"dependencies": packages}))
    command = [sys.executable, "scripts/read_audit.py", report]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == len(vulns)
    assert f"{len(vulns)} known vulnerabilities in 1 packages; 1 could not" in done.stdout
    assert ("audit: a 2.0: CVE-1, fixed in 2.1" in done.stdout) == bool(vulns)


def test_architecture_tree_names_every_module() -> None:
    tree = Path("docs/architecture.md").read_text().split("    gan/")[1].split("    scripts/")[0]
    modules = [path.name for path in Path("gan").rglob("*.py") if path.name != "__init__.py"]
    assert sorted(re.findall(r"\w+\.py", tree)) == sorted(modules)


def test_every_file_names_the_same_version_and_licence() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    citation = yaml.safe_load(Path("CITATION.cff").read_text())
    assert project["version"] == gan.__version__ == citation["version"]
    assert project["version"] in Path("CHANGELOG.md").read_text()
    assert citation["license"] in Path("LICENSE").read_text().splitlines()[0]
    assert citation["authors"][0]["name"] in Path("LICENSE").read_text()


def test_hosted_ci_runs_the_ci_script_on_the_oldest_python() -> None:
    text = Path(".github/workflows/ci.yml").read_text()
    workflow = yaml.load(text, yaml.BaseLoader)  # the safe one reads the key `on` as true
    job = workflow["jobs"]["test"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert all(Path(command).is_file() for command in commands) and ".ci/run" in commands
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    assert f">={job['strategy']['matrix']['python'][0]}" == project["requires-python"]
    assert set(workflow["on"]) == {"push", "pull_request"}


def test_container_leaves_out_what_git_ignores() -> None:
    left_out = set(Path(".dockerignore").read_text().splitlines())
    ignored = Path(".gitignore").read_text().split()
    for name in (line.rstrip("/") for line in ignored if not line.startswith("!")):
        assert {name, f"**/{name}"} & left_out, name
