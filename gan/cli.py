"""The command line: `gan COMMAND`. A command parses, calls one function and reports.

Libraries are imported inside the commands, so that `gan --help` is fast.
"""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from gan import __version__
from gan.analysis import commands
from gan.analysis.options import DEVICE, FORCE, PATH, RUN, SEED, SET, check_out
from gan.errors import EXIT_DIVERGED, fail, one_message, say
from gan.page.commands import page
from gan.paper.commands import paper


class _Main(click.Group):
    """Reports errors that a user can fix as one message with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        with one_message():
            return super().invoke(ctx)


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gan")
def main() -> None:
    """Train, resume, sample and evaluate a deep convolutional GAN.

    \b
    gan sample mnist --out digits.png                  # use a shipped generator
    gan train configs/mnist.yaml --run-dir runs/mnist  # start or resume a run

    GENERATOR is a run (its newest checkpoint), a checkpoint, a folder that `gan export` wrote, or
    the name of a shipped generator.
    """


@main.command()
@click.argument("config", type=PATH)
@click.option("--run-dir", type=PATH, help="Directory of the run [default: runs/NNNNN-CONFIG].")
@SET
@DEVICE
@click.option("--dry-run", is_flag=True, help="Show sizes and estimates; write nothing.")
def train(
    config: Path, run_dir: Path | None, overrides: tuple[str, ...], device: str, dry_run: bool
) -> None:
    """Start a run, or resume the run in --run-dir.

    Exit codes: 0 done, 1 error, 2 usage or config, 3 non-finite loss or (with train.on_collapse
    stop) collapse, 4 disk full; 129, 130 and 143 stopped by SIGHUP, SIGINT and SIGTERM after
    saving.
    """
    from gan.analysis.inspect import open_with_warnings
    from gan.config.reader import load_config

    cfg = load_config(config, overrides)
    source, warnings = open_with_warnings(cfg)
    for warning in warnings:
        say(f"warning: {warning}")
    if dry_run:
        from gan.analysis.dry_run import dry_run as estimate

        click.echo(estimate(cfg, device, source))
        return
    from torch.distributed import is_torchelastic_launched

    from gan.pretrained.load import read_source
    from gan.training.loop import train as run_training
    from gan.training.run import Ending

    run = run_training(cfg, run_dir, device, name=config.stem, source=source, read=read_source)
    if run.ending == Ending.COLLAPSED:
        fail(run.describe_collapse(), EXIT_DIVERGED)
    if run.is_first and run.ending and (run.ending.is_signal or run.ending == Ending.TIME_UP):
        sets = [word for override in overrides for word in ("--set", override)]
        gan = ["torchrun", "...", "-m", "gan"] if is_torchelastic_launched() else ["gan"]
        on = [] if device == "auto" else ["--device", device]
        command = [*gan, "train", config, *sets, "--run-dir", run.run_dir, *on]
        say(f"to resume: {shlex.join(map(str, command))}")
    if run.ending and run.ending.is_signal:
        sys.exit(run.ending)


@main.command()
@RUN
@click.option("--num", default=64, show_default=True, type=click.IntRange(1, 1_000_000),
              help="Number of images.")  # fmt: skip
@SEED
@click.option("--out", required=True, type=PATH, help="A .png or .jpg grid, .npz, or a folder.")
@click.option("--label", help="Only this class, by name or number, or all (conditional runs).")
@click.option("--truncation", default=1.0, show_default=True,
              type=click.FloatRange(0, 1, min_open=True),
              help="Scale latents: below 1, images are more typical and less varied.")  # fmt: skip
@click.option(
    "--columns", type=click.IntRange(1), help="Images per row of a grid [default: a square]."
)
@click.option("--scale", default=1, show_default=True, type=click.IntRange(1, 64),
              help="Factor to enlarge images by; pixels are repeated.")  # fmt: skip
@DEVICE
@FORCE
def sample(
    run_or_checkpoint: Path, num: int, seed: int, out: Path, label: str | None,
    truncation: float, columns: int | None, scale: int, device: str, force: bool,
) -> None:  # fmt: skip
    """Write images of a run, a checkpoint or a shipped generator.

    The same seed gives the same images; the first k of --num n are those of --num k. --label all
    gives a grid with one class per row: it rounds --num up to whole rows, and images depend on
    --num.
    """
    check_out(out, force, (".png", ".jpg", ".npz", ""))
    from gan.machine.precision import choose_device
    from gan.pretrained.load import load_generator
    from gan.pretrained.samples import save_samples

    trained = load_generator(run_or_checkpoint, choose_device(device), truncation=truncation)
    num = save_samples(trained, out, num, seed, label, columns=columns, scale=scale)
    click.echo(f"{out}: {num} images of {trained.origin}")


@main.command()
@click.argument("config", type=PATH)
@SET
def config(config: Path, overrides: tuple[str, ...]) -> None:
    """Show every setting of a config with its meaning."""
    from gan.config.reader import describe, load_config

    click.echo(describe(load_config(config, overrides)))


for command in (
    commands.data,
    commands.models,
    commands.evaluate,
    commands.compare,
    commands.report,
    commands.walk,
    commands.invert,
    commands.export,
    page,
    paper,
):
    main.add_command(command)
