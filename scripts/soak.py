"""Breaks and resumes one real run for a while, then compares it with an unbroken run.

    python scripts/soak.py --minutes 30
    python scripts/soak.py --minutes 30 --ranks 2 --place runs/soak2

Each start is the same `gan train` command in a process of its own. A random fault is injected
during or between starts. After each fault the run must resume from its newest intact checkpoint
without a traceback. At the end its last checkpoint must equal that of an unbroken run bit for bit.
At the first violation the script prints the fault and the run's output and exits with code 1.
"""

import subprocess
import time
from pathlib import Path

import click
from soak_faults import FAULTS, FAULTS_OF_RANKS, kill
from soak_run import Soak, Violation

from gan.files import parse_row


def compare(soak: Soak) -> str:
    """Finishes the run, trains an unbroken one of the same length, and compares their ends."""
    num_steps = soak.newest_intact() + 1
    ends = []
    for run_dir in (soak.run_dir, soak.place / "unbroken"):
        done = subprocess.run(soak.command(run_dir, num_steps), capture_output=True, text=True)
        if done.returncode:
            raise Violation(f"{run_dir}: exit code {done.returncode}\n{done.stderr}")
        ends.append((run_dir / f"checkpoints/step_{num_steps:08}.pt").read_bytes())
    if ends[0] != ends[1]:
        raise Violation(f"the checkpoints after step {num_steps:,} differ")
    lines = (soak.run_dir / "metrics.jsonl").read_bytes().splitlines()
    steps = [row["step"] for row in map(parse_row, lines) if row]
    if steps != sorted(set(steps)):
        raise Violation("metrics.jsonl has duplicate or unordered steps")
    leftovers = [*soak.run_dir.glob("**/*.part*"), *soak.images.glob("packed/*.part*")]
    if leftovers:
        raise Violation(f"temporary files remain: {leftovers}")
    return f"after step {num_steps:,} the two checkpoints are equal, {len(ends[0]):,} bytes"


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="Time to inject faults.")
@click.option("--seed", default=0, show_default=True)
@click.option("--ranks", default=1, show_default=True, help="Processes, under torchrun.")
@click.option("--place", type=click.Path(path_type=Path), default="runs/soak", show_default=True)
def main(minutes: float, seed: int, ranks: int, place: Path) -> None:
    """Breaks a run for a while, then compares it with an unbroken one."""
    if place.exists():
        raise click.UsageError(f"{place} already exists; delete it or choose another --place")
    soak = Soak(place, seed, ranks)
    faults = FAULTS_OF_RANKS if ranks > 1 else FAULTS
    end = time.monotonic() + 60 * minutes
    fault = kill
    try:
        while time.monotonic() < end:
            fault = soak.random.choice(faults)
            fault(soak)
            soak.faults[fault.__name__] += 1
            click.echo(f"{soak.faults.total():4} {fault.__name__:20} step {soak.newest_intact():,}")
        equal = compare(soak)
    except Violation as violation:
        soak.kill(soak.process)
        raise click.ClickException(
            f"failed after {soak.faults.total()} faults, in {fault.__name__}: {violation}\n"
            + soak.errors.read_text()
        ) from None
    click.echo(f"\nsurvived {soak.faults.total()} faults, nothing lost; {equal}")
    click.echo(f"{soak.steps_repeated:,} steps were repeated because no checkpoint held them")
    for name, count in soak.faults.most_common():
        click.echo(f"{count:6} {name}")


if __name__ == "__main__":
    main()
