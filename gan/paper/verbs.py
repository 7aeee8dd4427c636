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
        from gan.pretrained import load_generator

        started = time.perf_counter()
        trained = load_generator(run_or_checkpoint, choose_device(device), data_root=data_root)
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


def _counts(ctx: click.Context, option: click.Parameter, value: str) -> list[int | None]:
    words = value.split(",")
    if not all(word == "all" or (word.isdecimal() and int(word) > 0) for word in words):
        raise click.BadParameter(f"{value!r}: must be numbers or all, such as 100,1000,all")
    return [None if word == "all" else int(word) for word in words]


@_experiment
@click.option("--labels", default="100,1000,all", show_default=True, metavar="N,N,...",
              callback=_counts, help="Numbers of labels to train on.")  # fmt: skip
@click.option("--draws", default=5, show_default=True, type=click.IntRange(1, 100),
              help="Sets of labels of each number.")  # fmt: skip
@click.option("--also", multiple=True, type=_PATH, metavar="RUN_OR_CHECKPOINT",
              help="Measure this one too, such as an earlier one; repeatable.")  # fmt: skip
def probe(
    trained: "Trained", seed: int, labels: list[int | None], draws: int, also: tuple[Path, ...]
) -> "Result":
    """Classify images by the discriminator's features.

    A linear SVM is trained on them, on those of a discriminator with initial weights, and on
    pixels; beside them, a network of the same shape is trained on the labels alone.
    """
    from gan.paper.probe import run
    from gan.pretrained import load_generator

    root, on = trained.cfg.data.root, next(trained.generator.parameters()).device
    others = [load_generator(path, on, data_root=root) for path in also]
    return run(trained, others, labels=labels, draws=draws, seed=seed)


@_experiment
@click.option("--num", default=2000, show_default=True, type=click.IntRange(20, 100_000),
              help="Samples to choose from.")  # fmt: skip
def features(trained: "Trained", seed: int, num: int) -> "Result":
    """Show what the discriminator's features respond to.

    Guided back-propagation from the last convolutional layer, for the samples that excite a feature
    most; beside a discriminator with initial weights.
    """
    from gan.paper.features import run

    return run(trained, num=num, seed=seed)


@_experiment
@click.option("--num", default=1000, show_default=True, type=click.IntRange(100, 10_000),
              help="Samples, and held-out images.")  # fmt: skip
def nearest(trained: "Trained", seed: int, num: int) -> "Result":
    """Find the nearest training images of samples.

    Their distances are compared with those of real images that were never trained on.
    """
    from gan.paper.nearest import run

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


@_experiment
@click.option("--points", default=9, show_default=True, type=click.IntRange(2, 1000),
              help="Latents to visit.")  # fmt: skip
@click.option("--steps", default=8, show_default=True, type=click.IntRange(2, 1000),
              help="Images from one latent to the next.")  # fmt: skip
@click.option("--nearest/--no-nearest", default=True, show_default=True,
              help="Show the nearest training image of each of these latents.")  # fmt: skip
def walk(trained: "Trained", seed: int, **options: Any) -> "Result":
    """Walk between latents, and measure how evenly images change.

    A generator that has memorised its training images would jump from one to the next.
    """
    from gan.paper.walk import run

    return run(trained, seed=seed, **options)


@_experiment
@_NUM
@click.option("--concept", metavar="CONCEPT", help="What to remove [default: Smiling, or 0].")
@click.option("--layer", default=1, show_default=True, type=click.IntRange(1, 8),
              help="Whose maps to drop; layer 1 has 4 to 7 pixels a side.")  # fmt: skip
def ablate(trained: "Trained", seed: int, **options: Any) -> "Result":
    """Remove a concept: drop the feature maps of G that draw it.

    For runs without classes. Logistic regression finds the maps, and a classifier counts what is
    left, beside as many random maps. A CONCEPT is as in `gan paper arithmetic`.
    """
    from gan.paper.ablate import run

    return run(trained, seed=seed, **options)
