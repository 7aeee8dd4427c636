"""The group `gan paper`: one verb for each experiment of the paper's sections 5 and 6.

A verb imports its experiment when it runs, so that `gan --help` is fast.
"""

import time
from importlib import import_module
from pathlib import Path
from typing import Any

import click

_PATH = click.Path(path_type=Path)
_SHARED = (
    click.Argument(["run_or_checkpoint"], type=_PATH),
    click.Option(["--out"], required=True, type=_PATH,
                 help="A .png figure; its numbers are written to a .json of the same name."),
    click.Option(["--seed"], default=0, show_default=True, type=click.IntRange(0, 2**31 - 1)),
    click.Option(["--data-root"],
                 help="Folder of the real images [default: $GAN_DATA, else data]."),
    click.Option(["--device"], type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto",
                 show_default=True, help="Where to compute."),
    click.Option(["--force"], is_flag=True, help="Overwrite existing files."),
)  # fmt: skip


@click.group()
def paper() -> None:
    """Redo the experiments of the DCGAN paper.

    Each takes a run or a checkpoint, draws a figure, and writes its numbers beside it.
    docs/paper.md compares them with the paper's.
    """


def _add(name: str, about: str, *own: click.Parameter) -> None:
    """Adds the verb for `run` of the module of this name, with options of its own."""

    def verb(
        run_or_checkpoint: Path, out: Path, data_root: str | None, device: str, force: bool,
        **options: Any,
    ) -> None:  # fmt: skip
        _check_out(out, force)
        from gan.machine.precision import choose_device
        from gan.paper.result import save
        from gan.pretrained import load_generator

        started = time.perf_counter()
        trained = load_generator(run_or_checkpoint, choose_device(device), data_root=data_root)
        result = import_module(f"gan.paper.{name}").run(trained, **options)
        save(result, trained, out, time.perf_counter() - started)
        click.echo("\n".join([*result.lines, f"{out}: {trained.origin}"]))

    paper.add_command(click.Command(name, callback=verb, params=[*_SHARED, *own], help=about))


def _check_out(out: Path, force: bool) -> None:
    if out.suffix != ".png":
        raise click.BadParameter(f"{out}: must end in .png", param_hint="--out")
    for file in (out, out.with_suffix(".json")):
        if file.exists() and not force:
            raise click.UsageError(f"{file} exists; choose another --out, or add --force")


def _number(name: str, default: int, low: int, high: int, about: str) -> click.Option:
    kind = click.IntRange(low, high)
    return click.Option([name], default=default, show_default=True, type=kind, help=about)


def _counts(ctx: click.Context, option: click.Parameter, value: str) -> list[int | None]:
    words = value.split(",")
    if not all(word == "all" or (word.isdecimal() and int(word) > 0) for word in words):
        raise click.BadParameter(f"{value!r}: must be numbers or all, such as 100,1000,all")
    return [None if word == "all" else int(word) for word in words]


_SEARCHED = _number("--num", 4000, 20, 1_000_000, "Samples to look for the concepts in.")

_add("digits", """Classify real test images by their nearest sample.

    For runs with classes. The numbers are the test error of a 1-nearest-neighbour classifier
    trained on samples, and on real images.""",
    _number("--num", 50_000, 10, 10_000_000, "Samples to train the classifier on."),
)  # fmt: skip
_add("probe", """Classify images by the discriminator's features.

    A linear SVM is trained on them, on those of a discriminator with initial weights, and on
    pixels; beside them, a network of the same shape is trained on the labels alone.""",
    click.Option(["--labels"], default="100,1000,all", show_default=True, metavar="N,N,...",
                 callback=_counts, help="Numbers of labels to train on."),
    _number("--draws", 5, 1, 100, "Sets of labels of each number."),
    click.Option(["--also"], multiple=True, type=_PATH, metavar="RUN_OR_CHECKPOINT",
                 help="Measure this one too, such as an earlier one; repeatable."),
)  # fmt: skip
_add("features", """Show what the discriminator's features respond to.

    Guided back-propagation for the samples that excite a feature of the last layer most, beside a
    discriminator with initial weights.""",
    _number("--num", 2000, 20, 100_000, "Samples to choose from."),
)  # fmt: skip
_add("nearest", """Find the nearest training images of samples.

    Their distances are compared with those of real images that were never trained on.""",
    _number("--num", 1000, 100, 10_000, "Samples, and held-out images."),
)  # fmt: skip
_add("walk", """Walk between latents, and measure how evenly images change.

    A generator that has memorised its training images would jump from one to the next.""",
    _number("--points", 9, 2, 1000, "Latents to visit."),
    _number("--steps", 8, 2, 1000, "Images from one latent to the next."),
    click.Option(["--nearest/--no-nearest"], default=True, show_default=True,
                 help="Show the nearest training image of each of these latents."),
)  # fmt: skip
_add("arithmetic", """Add and subtract concepts: a - b + c.

    For runs without classes. A classifier chooses the latents and counts the results. By default
    smiling women - other women + other men, or thick ones - thin ones + thin sevens. A CONCEPT is
    an attribute or class of the classifier that ships for the data, or "thick", "slanted" (grey
    images), "turned" (colour); "not NAME" is its opposite.""",
    _SEARCHED, _number("--trials", 200, 4, 100_000, "Sums, each of other samples."),
    click.Option(["--trait"], metavar="CONCEPT", help="What a has, and b and c have not."),
    click.Option(["--start"], metavar="CONCEPT", help="What a and b are."),
    click.Option(["--end"], metavar="CONCEPT", help="What c is."),
)  # fmt: skip
_add("ablate", """Remove a concept: drop the feature maps of G that draw it.

    For runs without classes. Logistic regression finds the maps, and a classifier counts what is
    left, beside as many random maps. A CONCEPT is as in `gan paper arithmetic`.""", _SEARCHED,
    click.Option(["--concept"], metavar="CONCEPT", help="What to remove [default: Smiling, or 0]."),
    _number("--layer", 1, 1, 8, "Whose maps to drop; layer 1 has 4 to 7 pixels a side."),
)  # fmt: skip
