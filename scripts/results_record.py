"""Trains and evaluates one seed of a row, and returns its record."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from benchmark_parts import machine
from results_rows import ROWS, Row

Seed = dict[str, Any]  # the record of one run
GAN = [sys.executable, "-m", "gan"]


def run(name: str, seed: int, runs: Path) -> Seed:
    """Trains and evaluates one row with one seed; returns its record.

    A finished seed is read from the record in its run directory. Raises click.ClickException if
    the source differs from its commit, or if the run was made by another command.
    """
    row = ROWS[name]
    run_dir = runs / file_name(name) / f"seed{seed}"
    done = run_dir / "record.json"
    train = ["train", row.config]
    for change in (*row.changes, f"train.seed={seed}"):
        train += ["--set", change]
    command = " ".join(["gan", *train])
    if done.exists():
        record = json.loads(done.read_text())
        if record["command"] != command:
            raise click.ClickException(
                f"{run_dir} was made by another command ({record['command']}); move it or choose "
                "another --runs"
            )
        return record
    require_clean_source()
    before = cpu_seconds(resource.RUSAGE_CHILDREN)
    subprocess.run([*GAN, *train, "--run-dir", str(run_dir)], check=True)
    minutes = (cpu_seconds(resource.RUSAGE_CHILDREN) - before) / 60
    record = {"seed": seed, "command": command, **_evaluated(run_dir, row, minutes)}
    done.write_text(json.dumps(record))
    return record


def require_clean_source() -> None:
    """Raises click.ClickException if the package, configs or scripts differ from their commit."""
    status = ["git", "status", "--porcelain", "--", "gan", "configs", "scripts"]
    changed = subprocess.run(status, check=True, capture_output=True, text=True).stdout
    if changed:
        raise click.ClickException(f"a record needs a clean commit; commit these first:\n{changed}")


def cpu_seconds(of: int) -> float:
    """Returns the CPU seconds of this process (resource.RUSAGE_SELF), or of those that it started
    and that have ended (RUSAGE_CHILDREN)."""
    used = resource.getrusage(of)
    return used.ru_utime + used.ru_stime


def _evaluated(run_dir: Path, row: Row, minutes: float) -> dict[str, Any]:
    """Evaluates a finished run, and adds what its files say.

    `minutes` are CPU minutes of the last call of `gan train`, start-up and evaluations included;
    the record has none if the run was made by more than one call.
    """
    calls = json.loads((run_dir / "meta.json").read_text())["calls"]
    evaluations = run_dir / "evaluations.jsonl"  # not there without evaluations during the run
    curve = [json.loads(line) for line in evaluations.open()] if evaluations.exists() else []
    record = {
        "commit": calls[0]["commit"],  # later calls may train nothing
        "machine": machine(),
        "cpu_minutes": minutes if len(calls) == 1 else None,
        "evaluation": _evaluate(run_dir, row),
        "curve": [[at["images_seen"], at["metric/frechet_distance"]] for at in curve],
    }
    if row.second:
        record["second"] = _evaluate(run_dir, row, "--features", row.second)
    return record


def _evaluate(run_dir: Path, row: Row, *options: str) -> dict[str, Any]:
    """Returns the record of gan evaluate: values, floor, counts, seeds, and the files' hashes."""
    command = [*GAN, "evaluate", str(run_dir), "--num", str(row.num), "--json", *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def file_name(name: str) -> str:
    """Returns the name of a row as part of a path."""
    return re.sub(r"\W+", "_", name)
