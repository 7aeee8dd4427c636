"""The group `gan paper`: one verb for each experiment of the paper's sections 5 and 6.

A verb imports its experiment when it runs, so that `gan --help` is fast.
"""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gan.paper.result import Result
    from gan.sampling import Trained

_PATH = click.Path(path_type=Path)
_SHARED = (
    click.argument("run_or_checkpoint", type=_PATH),
    click.option("--out", required=True, type=_PATH,
                 help="A .png figure; its numbers are written to a .json of the same name."),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1)),
    click.option("--data-root", help="Folder of the real images [default: $GAN_DATA, else data]."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto",
                 show_default=True, help="Where to compute."),
    click.option("--force", is_flag=True, help="Overwrite existing files."),
)  # fmt: skip


@click.group()
def paper() -> None:
    """Redo the experiments of the DCGAN paper.

    Each takes a run or a checkpoint, draws a figure, and writes its numbers beside it.
    docs/paper.md compares them with the paper's.
    """


def _experiment(verb: "Callable[..., Result]") -> click.Command:
    """Makes a verb of a function of (trained, seed, ...) that returns a Result."""

    @functools.wraps(verb)
    def run(
        run_or_checkpoint: Path, out: Path, data_root: str | None, device: str, force: bool,
        **options: Any,
    ) -> None:  # fmt: skip
        _check_out(out, force)
        from gan.machine.precision import choose_device
        from gan.paper.result import save
        from gan.sampling import load_trained

        started = time.perf_counter()
        trained = load_trained(run_or_checkpoint, choose_device(device), data_root=data_root)
        result = verb(trained, **options)
        save(result, trained, out, time.perf_counter() - started)
        click.echo("\n".join([*result.lines, f"{out}: {trained.origin}"]))

    command: Callable[..., Any] = run
    for option in reversed(_SHARED):
        command = option(command)
    return paper.command()(command)


def _check_out(out: Path, force: bool) -> None:
    if out.suffix != ".png":
        raise click.BadParameter(f"{out}: must end in .png", param_hint="--out")
    for file in (out, out.with_suffix(".json")):
        if file.exists() and not force:
            raise click.UsageError(
                f"{file} exists; choose another --out, or overwrite with --force"
            )


@_experiment
@click.option("--num", default=50_000, show_default=True, type=click.IntRange(10, 10_000_000),
              help="Samples to train the classifier on.")  # fmt: skip
def digits(trained: "Trained", seed: int, num: int) -> "Result":
    """Classify real test images by their nearest sample.

    For runs with classes. The figure shows one class a row and one latent a column; the numbers are
    the test error of a 1-nearest-neighbour classifier trained on samples, and on real images.
    """
    from gan.paper.digits import run

    return run(trained, num=num, seed=seed)


_NUM = click.option("--num", default=4000, show_default=True, type=click.IntRange(20, 1_000_000),
                    help="Samples to look for the concepts in.")  # fmt: skip


@_experiment
@_NUM
@click.option("--trials", default=200, show_default=True, type=click.IntRange(4, 100_000),
              help="Sums, each of other samples.")  # fmt: skip
@click.option("--trait", metavar="CONCEPT", help="What a has, and b and c have not.")
@click.option("--start", metavar="CONCEPT", help="What a and b are.")
@click.option("--end", metavar="CONCEPT", help="What c is.")
def arithmetic(trained: "Trained", seed: int, **options: Any) -> "Result":
    """Add and subtract concepts: a - b + c.

    For runs without classes. A classifier chooses the latents and counts the results. By default
    smiling women - other women + other men, or thick ones - thin ones + thin sevens. A CONCEPT is
    an attribute or class of the classifier that ships for the data, or "thick", "slanted" (grey
    images), "turned" (colour); "not NAME" is its opposite.
    """
    from gan.paper.arithmetic import run

    return run(trained, seed=seed, **options)
