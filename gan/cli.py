"""Owns the command line: `gan VERB`. A verb parses, calls one function and reports.

Libraries are imported inside the verbs, so that `gan --help` answers at once.
"""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gan import __version__
from gan.errors import EXIT_DIVERGED, fail, mendable

_PATH = click.Path(path_type=Path)
_RUN = click.argument("run_or_checkpoint", type=_PATH)
_SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting; repeatable."
)
_DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="What computes.",
)
_SEED = click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1))
_FORCE = click.option("--force", is_flag=True, help="Overwrite what is there.")
_LABEL = click.option("--label", help="Only this class, by name or number (conditional runs).")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gan")
def main() -> None:
    """Train, resume, sample and judge a deep convolutional GAN.

    A run starts from a YAML file, as in configs/, and lives in one directory.
    """


@main.command()
@click.argument("config", type=_PATH)
@click.option("--run-dir", type=_PATH, help="Where the run lives [default: runs/NNNNN-CONFIG].")
@_SET
@_DEVICE
@click.option("--dry-run", is_flag=True, help="Show sizes and estimates; write nothing.")
@mendable
def train(
    config: Path, run_dir: Path | None, overrides: tuple[str, ...], device: str, dry_run: bool
) -> None:
    """Start the run of a directory, or go on with it.

    Exit codes: 0 done, 1 error, 2 usage or config, 3 non-finite loss or (if asked to stop
    then) collapse, 4 disk full, 130 and 143 stopped by SIGINT and SIGTERM after the state was
    saved.
    """
    from gan.config.reader import load_config

    cfg = load_config(config, overrides)
    if dry_run:
        from gan.training.dry_run import dry_run as estimate

        click.echo(estimate(cfg, device))
        return
    from gan.machine.ranks import under_torchrun
    from gan.training.loop import Collapsed, NonFinite, Stopped
    from gan.training.loop import train as run

    try:
        run(cfg, run_dir, device, name=config.stem, progress=_progress_bar())
    except Stopped as stopped:
        sets = [word for override in overrides for word in ("--set", override)]
        gan = ["torchrun", "...", "-m", "gan"] if under_torchrun() else ["gan"]
        again = [*gan, "train", config, *sets, "--run-dir", stopped.run_dir, "--device", device]
        click.echo(f"stopped and saved; to go on: {shlex.join(map(str, again))}", err=True)
        sys.exit(128 + stopped.signum)
    except (NonFinite, Collapsed) as error:
        fail(str(error), EXIT_DIVERGED)


@main.command()
@_RUN
@click.option("--num", default=64, show_default=True, type=click.IntRange(1, 1_000_000))
@_SEED
@click.option("--out", required=True, type=_PATH, help="A .png grid, an .npz, or a folder.")
@_LABEL
@_DEVICE
@_FORCE
@mendable
def sample(
    run_or_checkpoint: Path, num: int, seed: int, out: Path, label: str | None, device: str,
    force: bool,
) -> None:  # fmt: skip
    """Write images of a run's newest checkpoint, or of a checkpoint file.

    The same seed gives the same images, and the first k of --num n are those of --num k.
    """
    _spare(out, force, (".png", ".npz", ""))
    from gan.machine.precision import choose_device
    from gan.sampling import load_trained, save_samples

    trained = load_trained(run_or_checkpoint, choose_device(device))
    save_samples(trained, out, num, seed, label)
    click.echo(f"{num} images of {trained.path}, step {trained.step:,}: {out}")


@main.command()
@_RUN
@click.option("--points", default=8, show_default=True, type=click.IntRange(2, 1000),
              help="Latents that the walk visits.")  # fmt: skip
@click.option("--steps", default=8, show_default=True, type=click.IntRange(1, 1000),
              help="Images from one latent to the next.")  # fmt: skip
@_SEED
@click.option("--out", required=True, type=_PATH, help="A .png strip or a .gif.")
@_LABEL
@_DEVICE
@_FORCE
@mendable
def walk(
    run_or_checkpoint: Path, points: int, steps: int, seed: int, out: Path, label: str | None,
    device: str, force: bool,
) -> None:  # fmt: skip
    """Walk from latent to latent and back to the first, as a strip of images or a looping GIF."""
    _spare(out, force, (".png", ".gif"))
    from gan.machine.precision import choose_device
    from gan.sampling import load_trained, save_walk

    trained = load_trained(run_or_checkpoint, choose_device(device))
    save_walk(trained, out, points, steps, seed, label)
    click.echo(f"{points * steps} images of {trained.path}, step {trained.step:,}: {out}")


@main.command()
@_RUN
@click.option("--features", help="mnist, fashion_mnist, cifar10, inception, none, or a file of "
              "weights [default: the one shipped for the data].")  # fmt: skip
@click.option("--num", default=10_000, show_default=True, type=click.IntRange(10, 1_000_000))
@_SEED
@click.option("--data-root", help="Where the real images are [default: $GAN_DATA, else data].")
@_DEVICE
@mendable
def evaluate(
    run_or_checkpoint: Path, features: str | None, num: int, seed: int, data_root: str | None,
    device: str,
) -> None:  # fmt: skip
    """Judge a generator against real images, beside the floor that real images reach themselves.

    Prints one JSON record with the values and the whole protocol.
    """
    import json

    from gan.machine.precision import choose_device
    from gan.metrics.evaluate import evaluate as judge
    from gan.sampling import load_trained

    on = choose_device(device)
    trained = load_trained(run_or_checkpoint, on, data_root=data_root)
    record = judge(trained, features=features, num=num, seed=seed, device=on)
    click.echo(json.dumps(record, indent=2))
    if trained.data != record["data"]["checksum"]:
        click.echo("note: these are not the images it was trained on (their checksum is another)",
                   err=True)  # fmt: skip


@main.command()
@click.argument("config", type=_PATH)
@_SET
@mendable
def data(config: Path, overrides: tuple[str, ...]) -> None:
    """Find, check, download where allowed, and pack the images of a config."""
    from gan.config.reader import load_config
    from gan.data.datasets import NothingHeldOut, Split, open_source
    from gan.data.pack import pack, summary

    cfg = load_config(config, overrides)
    splits: tuple[tuple[Split, str], ...] = (("train", "to train on"), ("test", "held out"))
    for split, title in splits:
        try:
            source = open_source(cfg.data, split, download=True)
        except NothingHeldOut as reason:
            click.echo(f"held out: nothing; {reason}")
            continue
        packed = pack(source, cfg.data, _progress_bar())
        click.echo(f"{title}\n{summary(source, packed)}")


@main.command()
@click.argument("config", type=_PATH)
@_SET
@mendable
def config(config: Path, overrides: tuple[str, ...]) -> None:
    """Show every setting of a config with its meaning."""
    from gan.config.reader import describe, load_config

    click.echo(describe(load_config(config, overrides)))


def _spare(out: Path, force: bool, suffixes: tuple[str, ...]) -> None:
    """Refuses to write what the name does not say, and to overwrite unless asked to."""
    is_folder = out.is_dir() and "" in suffixes
    if out.suffix not in suffixes and not is_folder:
        *most, last = [suffix or "nothing, for a folder" for suffix in suffixes]
        ends = f"{', '.join(most)} or {last}"
        raise click.BadParameter(f"{out}: must end in {ends}", param_hint="--out")
    if out.exists() and not force and not (is_folder and not any(out.iterdir())):
        raise click.UsageError(f"{out} exists; give another --out, or --force to overwrite it")


def _progress_bar() -> Callable[[int, int], None]:
    """Returns a report of packing: a bar on a terminal, nothing elsewhere."""
    bar: Any = None

    def report(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            from tqdm import tqdm

            rank = int(os.environ.get("RANK", "0"))
            hidden = rank > 0 or not sys.stderr.isatty()
            bar = tqdm(total=total, desc="packing", unit="image", disable=hidden)
        bar.update(done - bar.n)
        if done == total:
            bar.close()
            bar = None  # held-out images come next

    return report
