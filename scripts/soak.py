"""Breaks one real run again and again, goes on with it, and compares its end with an unbroken run.

    python scripts/soak.py --minutes 30

Every start is `gan train` with the same words, in a process of its own. Between and during the
starts one fault of a random kind is injected. After each, the run must go on from its newest whole
checkpoint, without a traceback; at the end its last checkpoint must be the unbroken run's, bit for
bit. Exit code 1, with the fault and the run's output, at the first thing lost.
"""

import json
import subprocess
import time
from pathlib import Path

import click
from soak_faults import FAULTS, kill
from soak_run import Lost, Soak


def compare(soak: Soak) -> str:
    """Ends the run, does an unbroken one of the same length, and compares their last states."""
    num_steps = soak.newest_whole() + 1
    ends = []
    for run_dir in (soak.run_dir, soak.place / "unbroken"):
        done = subprocess.run(soak.command(run_dir, num_steps), capture_output=True, text=True)
        if done.returncode:
            raise Lost(f"{run_dir}: exit code {done.returncode}\n{done.stderr}")
        ends.append((run_dir / f"checkpoints/step_{num_steps:08}.pt").read_bytes())
    if ends[0] != ends[1]:
        raise Lost(f"the states after step {num_steps:,} differ")
    steps = [json.loads(row)["step"] for row in (soak.run_dir / "metrics.jsonl").open()]
    if steps != sorted(set(steps)):
        raise Lost("metrics.jsonl has steps twice or out of order")
    leftovers = [*soak.run_dir.glob("**/*.part*"), *soak.images.glob("packed/*.part*")]
    if leftovers:
        raise Lost(f"left behind: {leftovers}")
    return f"after step {num_steps:,} the two checkpoints are equal, {len(ends[0]):,} bytes"


@click.command()
@click.option("--minutes", default=30.0, show_default=True, help="Of injecting faults.")
@click.option("--seed", default=0, show_default=True)
@click.option("--place", type=click.Path(path_type=Path), default="runs/soak", show_default=True)
def main(minutes: float, seed: int, place: Path) -> None:
    """Breaks a run for a while, then compares it with an unbroken one."""
    if place.exists():
        raise click.UsageError(f"{place} is there already; delete it or name another --place")
    soak = Soak(place, seed)
    end = time.monotonic() + 60 * minutes
    fault = kill
    try:
        while time.monotonic() < end:
            fault = soak.random.choice(FAULTS)
            fault(soak)
            soak.faults[fault.__name__] += 1
            click.echo(f"{soak.faults.total():4} {fault.__name__:20} step {soak.newest_whole():,}")
        equal = compare(soak)
    except Lost as lost:
        soak.process.kill()
        raise click.ClickException(
            f"lost after {soak.faults.total()} faults, in {fault.__name__}: {lost}\n"
            + soak.errors.read_text()
        ) from None
    click.echo(f"\n{soak.faults.total()} faults injected and survived, nothing lost; {equal}")
    click.echo(f"{soak.steps_again:,} steps were done again after losing what no checkpoint held")
    for name, count in soak.faults.most_common():
        click.echo(f"{count:6} {name}")


if __name__ == "__main__":
    main()
