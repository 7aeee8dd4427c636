"""The group `gan paper`. A command imports its experiment when it runs, so `gan --help` is fast."""

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from gan.analysis.options import DATA_ROOT, FORCE, PATH, RUN, SEED, check_out


@click.group()
def paper() -> None:
    """Repeat the DCGAN paper's experiments."""


def _add(name: str, about: str, *own: click.Parameter) -> None:
    """Adds the command for `run` of the module of this name, with options of its own."""

    @click.command(name, help=about)
    @RUN
    @click.option("--out", required=True, type=PATH, help="A .png; the numbers go to a .json.")
    @SEED
    @DATA_ROOT
    @FORCE
    def command(
        run_or_checkpoint: Path, out: Path, data_root: str | None, force: bool, **options: Any
    ) -> None:
        check_out(out, force, (".png",))
        check_out(out.with_suffix(".json"), force, (".json",))
        from gan.machine.precision import choose_device
        from gan.paper.result import save
        from gan.pretrained.load import load_generator

        device = choose_device("auto")
        trained = load_generator(run_or_checkpoint, device, data_root=data_root)
        figure, numbers = import_module(f"gan.paper.{name}").run(trained, **options)
        click.echo(save(trained, figure, numbers, out))

    command.params += own
    paper.add_command(command)


def _number(name: str, default: int, low: int, about: str) -> click.Option:
    kind = click.IntRange(low, 1_000_000)
    return click.Option([name], default=default, show_default=True, type=kind, help=about)


_SEARCHED = _number("--num", 4000, 20, "Samples to look for the concepts in.")
_CONCEPT = ("an attribute or class of the classifier that ships for the data, thick or slanted "
            "(grey images), turned (colour), or 'not NAME'")  # fmt: skip

_add("probe", "Classify images by the features of D and a linear SVM.",
     click.Option(["--labels"], default="100,1000,all", show_default=True, metavar="N,N,...",
                  help="Numbers of labels to train on."),
     _number("--draws", 5, 1, "Sets of labels of each number."),
     click.Option(["--also"], multiple=True, type=PATH, metavar="GENERATOR",
                  help="Measure this D too, such as an earlier one; repeatable."))  # fmt: skip
_add("features", "Show what the features of D respond to.",
     _number("--num", 2000, 20, "Samples to choose from."))  # fmt: skip
_add("nearest", "Find the training images nearest to samples.",
     _number("--num", 1000, 100, "Samples, and held-out images."))  # fmt: skip
_add("digits", "Classify test images by their nearest sample. For runs with classes.",
     _number("--num", 50_000, 10, "Samples to train the classifier on."))  # fmt: skip
_add("walk", "Walk between latents, and measure how evenly images change.",
     _number("--points", 9, 2, "Latents to visit."),
     _number("--steps", 8, 2, "Images from one latent to the next."),
     click.Option(["--nearest/--no-nearest"], default=True, show_default=True,
                  help="Show the nearest training image of each of these latents."))  # fmt: skip
_add("arithmetic", "Add and subtract concepts: a - b + c. For runs without classes.",
     _SEARCHED, click.Option(["--concepts"], nargs=3, metavar="TRAIT START END",
                  help="What only a has; what a and b are; what c is. Each is "
                  f"{_CONCEPT} [default: Smiling 'not Male' Male, or thick 1 7]."))  # fmt: skip
_add("ablate", "Drop the feature maps of G that draw a concept. For runs without classes.",
     _SEARCHED, click.Option(["--concept"], help=f"What to remove: {_CONCEPT} "
                             "[default: Smiling, or 0]."))  # fmt: skip
