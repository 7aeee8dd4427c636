"""The command line: `gan VERB`. A verb parses, calls one function and reports.

Libraries are imported inside the verbs, so that `gan --help` is fast.
"""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from gan import __version__
from gan.errors import EXIT_DIVERGED, fail, one_message, say
from gan.paper.verbs import paper

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
    help="Where to compute.",
)
_SEED = click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1))
_FORCE = click.option("--force", is_flag=True, help="Overwrite an existing file or folder.")


class _Verbs(click.Group):
    """Reports errors that a user can fix as one message with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        with one_message():
            return super().invoke(ctx)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gan")
def main() -> None:
    """Train, resume, sample and evaluate a deep convolutional GAN.

    A run starts from a YAML file, as in configs/, and has one directory.
    """


@main.command()
@click.argument("config", type=_PATH)
@click.option("--run-dir", type=_PATH, help="Directory of the run [default: runs/NNNNN-CONFIG].")
@_SET
@_DEVICE
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
    from gan.machine.ranks import under_torchrun
    from gan.pretrained.load import read_source
    from gan.training.loop import train as run_training
    from gan.training.run import Ending

    run = run_training(cfg, run_dir, device, name=config.stem, source=source, read=read_source)
    if run.ending == Ending.COLLAPSED:
        fail(run.describe_collapse(), EXIT_DIVERGED)
    if run.ending and (run.ending.is_signal or run.ending == Ending.TIME_UP):
        sets = [word for override in overrides for word in ("--set", override)]
        gan = ["torchrun", "...", "-m", "gan"] if under_torchrun() else ["gan"]
        on = [] if device == "auto" else ["--device", device]
        command = [*gan, "train", config, *sets, "--run-dir", run.run_dir, *on]
        say(f"to resume: {shlex.join(map(str, command))}")
    if run.ending and run.ending.is_signal:
        sys.exit(run.ending)


@main.command()
@_RUN
@click.option("--num", default=64, show_default=True, type=click.IntRange(1, 1_000_000))
@_SEED
@click.option("--out", required=True, type=_PATH, help="A .png or .jpg grid, .npz, or a folder.")
@click.option("--label", help="Only this class, by name or number, or all (conditional runs).")
@click.option("--truncation", default=1.0, type=click.FloatRange(0, 1, min_open=True),
              help="Multiply latents: below 1, images are typical, less varied.")  # fmt: skip
@click.option("--columns", type=click.IntRange(1), help="Of the grid [default: a square].")
@click.option("--scale", default=1, show_default=True, type=click.IntRange(1, 64),
              help="Repeat each pixel so many times.")  # fmt: skip
@_DEVICE
@_FORCE
def sample(
    run_or_checkpoint: Path, num: int, seed: int, out: Path, label: str | None,
    truncation: float, columns: int | None, scale: int, device: str, force: bool,
) -> None:  # fmt: skip
    """Write images of a run, a checkpoint or a shipped generator.

    `gan models` lists the shipped ones. Of a run, the newest checkpoint is used. The same seed
    gives the same images; the first k of --num n are those of --num k. --label all gives a grid
    with one class a row, and rounds --num up to whole rows.
    """
    _check_out(out, force, (".png", ".jpg", ".npz", ""))
    from gan.machine.precision import choose_device
    from gan.pretrained import load_generator
    from gan.sampling import save_samples

    trained = load_generator(run_or_checkpoint, choose_device(device), truncation=truncation)
    num = save_samples(trained, out, num, seed, label, columns=columns, scale=scale)
    click.echo(f"{out}: {num} images of {trained.origin}")


@main.command()
def models() -> None:
    """List the shipped generators.

    Their names work in place of a run. The distance is that of `gan evaluate`, with its floor.
    """
    from gan.analysis.table import aligned
    from gan.pretrained.shipped import table

    click.echo("\n".join(aligned(table())))


@main.command()
@_RUN
@click.option("--points", default=8, show_default=True, type=click.IntRange(2, 1000),
              help="Latents of --seed to visit.")  # fmt: skip
@click.option("--seeds", metavar="N,N,...", help="Visit the first image of each seed instead.")
@click.option("--steps", default=8, show_default=True, type=click.IntRange(1, 1000),
              help="Images from one latent to the next.")  # fmt: skip
@_SEED
@click.option("--out", required=True, type=_PATH, help="A .png strip, a .gif or an .mp4 (ffmpeg).")
@click.option("--labels", "--label", metavar="CLASS,CLASS,...", help="Visit these classes.")
@click.option("--scale", type=click.IntRange(1, 64),
              help="Repeat each pixel so many times [default: films have 256 pixels].")  # fmt: skip
@_DEVICE
@_FORCE
def walk(
    run_or_checkpoint: Path, points: int, seeds: str | None, steps: int, seed: int, out: Path,
    labels: str | None, scale: int | None, device: str, force: bool,
) -> None:  # fmt: skip
    """Interpolate between latents, as a strip or a film.

    The walk ends at the latent where it began. `--seeds 3 --labels 2,7` changes the class alone;
    the shorter list is repeated.
    """
    _check_out(out, force, (".png", ".gif", ".mp4"))
    from gan.analysis.walk import path_ends, save_walk
    from gan.machine.precision import choose_device
    from gan.pretrained import load_generator

    trained = load_generator(run_or_checkpoint, choose_device(device))
    ends = path_ends(trained, points=points, seed=seed, seeds=seeds, labels=labels)
    num = save_walk(trained, out, *ends, steps=steps, scale=scale)
    click.echo(f"{out}: {num} images of {trained.origin}")


@main.command()
@_RUN
@click.option("--features", help="mnist, fashion_mnist, cifar10, photos, faces, inception, none, "
              "or a file of weights [default: the one shipped for the data].")  # fmt: skip
@click.option("--num", default=10_000, show_default=True, type=click.IntRange(10, 1_000_000))
@click.option(
    "--draws",
    default=3,
    show_default=True,
    type=click.IntRange(1, 100),
    help="Evaluations with other latents and real images.",
)
@_SEED
@click.option("--data-root", help="Folder of the real images [default: of own images, "
              "that of the run; else $GAN_DATA, else data].")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
@click.option(
    "--out", type=_PATH, help="A .json file; compare and report read RUN/evaluation.json."
)
@_DEVICE
@_FORCE
def evaluate(
    run_or_checkpoint: Path, features: str | None, num: int, draws: int, seed: int,
    data_root: str | None, as_json: bool, out: Path | None, device: str, force: bool,
) -> None:  # fmt: skip
    """Compare generated with real images.

    Compares real images with each other too: their distance is the floor.
    """
    import json

    if out:
        _check_out(out, force, (".json",))
    from gan.analysis.evaluate import evaluate as run_evaluation
    from gan.analysis.runs import own_images
    from gan.analysis.table import evaluation_table, write_record
    from gan.machine.precision import choose_device
    from gan.pretrained import load_generator

    on = choose_device(device)
    data_root = data_root or own_images(run_or_checkpoint)
    trained = load_generator(run_or_checkpoint, on, data_root=data_root)
    record = run_evaluation(trained, features=features, num=num, seed=seed, draws=draws, device=on)
    table = evaluation_table(record, len(trained.classes))
    click.echo(json.dumps(record, indent=2) if as_json else table)
    if out:
        write_record(record, out)
    if trained.checkpoint.data != record["data"]["checksum"]:
        say("note: the checkpoint was trained on other images (checksums differ)")


@main.command()
@_RUN
@click.option(
    "--out", required=True, type=_PATH, help="An .onnx, .pt2 or .safetensors file, or a folder."
)
@_FORCE
def export(run_or_checkpoint: Path, out: Path, force: bool) -> None:
    """Write the generator for other programs.

    Normalisation is folded into the weights. .onnx and .pt2 map z (N, Z), and labels (N,) with
    classes, to images (N, C, H, W) in [-1, 1], for any N; the file is kept only if its images are
    those of PyTorch. A folder has the layout of model hubs; every verb reads it.
    """
    _check_out(out, force, (".onnx", ".pt2", ".safetensors", ""))
    import torch

    from gan.export import save_export
    from gan.pretrained import load_generator

    trained = load_generator(run_or_checkpoint, torch.device("cpu"))
    for num, difference in save_export(trained, out).items():
        click.echo(f"batch of {num}: images differ from PyTorch's by at most {difference:.1e}")
    click.echo(f"{out}: the generator of {trained.origin}")


@main.command()
@_RUN
@click.argument("images", type=_PATH, nargs=-1)
@click.option("--out", type=_PATH, help="A .png of each image beside the nearest of G.")
@click.option(
    "--walk", "film", type=_PATH, help="A .gif or .mp4 from the first image to the second."
)
@click.option(
    "--held-out", is_flag=True, help="Compare training images with held-out ones instead."
)
@click.option("--num", default=64, show_default=True, type=click.IntRange(2, 100_000),
              help="Images of each kind, with --held-out.")  # fmt: skip
@click.option("--data-root", help="Folder of the real images [default: $GAN_DATA, else data].")
@_SEED
@_DEVICE
@_FORCE
def invert(
    run_or_checkpoint: Path, images: tuple[Path, ...], out: Path | None, film: Path | None,
    held_out: bool, num: int, data_root: str | None, seed: int, device: str, force: bool,
) -> None:  # fmt: skip
    """Find the latents whose images are nearest to given images.

    Distances are root mean squares in grey levels. If G draws held-out images as well as training
    images, that is one more sign that it has not memorised these.
    """
    if held_out == bool(images) or held_out == bool(out) or (film and len(images) != 2):
        raise click.UsageError("give images and --out, with --walk two; or --held-out alone")
    for path, suffixes in ((out, (".png",)), (film, (".gif", ".mp4"))):
        if path:
            _check_out(path, force, suffixes)
    from gan.analysis.invert import compare_held_out, save_pairs
    from gan.machine.precision import choose_device
    from gan.pretrained import load_generator

    trained = load_generator(run_or_checkpoint, choose_device(device), data_root=data_root)
    if out:
        lines = save_pairs(trained, images, out, film=film, seed=seed)
    else:
        lines = compare_held_out(trained, num=num, seed=seed)
    for line in lines:
        click.echo(line)


@main.command()
@click.argument("runs", type=_PATH, nargs=-1, required=True)
@click.option("--out", type=_PATH, help="A folder for compare.png, compare.csv, and TensorBoard's "
              "curves by training step.")  # fmt: skip
def compare(runs: tuple[Path, ...], out: Path | None) -> None:
    """Compare runs: settings, scores and curves.

    Shows the settings that differ, and scores with their floors. Runs that differ in train.seed
    alone are shown as one: mean and standard deviation.
    """
    from gan.analysis.compare import compare as run_comparison

    click.echo(run_comparison(runs, out))


@main.command()
@click.argument("run", type=_PATH)
@click.option("--out", type=_PATH, help="An .html file [default: RUN/report.html].")
@_FORCE
def report(run: Path, out: Path | None, force: bool) -> None:
    """Write one HTML file about a run.

    It holds settings, curves, samples and scores, and needs no network.
    """
    out = out or run / "report.html"
    _check_out(out, force, (".html",))
    from gan.analysis.report import write_report

    write_report(run, out)
    click.echo(out)


@main.command()
@_RUN
@click.option("--out", required=True, type=_PATH, help="An .html file.")
@_FORCE
def page(run_or_checkpoint: Path, out: Path, force: bool) -> None:
    """Write one HTML file that shows the generator at work.

    It opens in a browser from the disk and needs no network. The page of a run shows its training
    too.
    """
    _check_out(out, force, (".html",))
    from gan.page.build import write_page

    click.echo(f"{out}: {write_page(run_or_checkpoint, out):,} bytes")


@main.command()
@click.argument("config", type=_PATH)
@_SET
@click.option("--verify", is_flag=True, help="Decode again and compare with what was packed.")
@click.option("--clear", is_flag=True, help="Delete what was packed.")
@click.option("--sheet", type=_PATH, help="Write 64 images as training sees them: a .png grid.")
def data(
    config: Path, overrides: tuple[str, ...], verify: bool, clear: bool, sheet: Path | None
) -> None:
    """Find, check, pack and describe images.

    Downloads those of a config that can be downloaded.
    """
    if sheet and sheet.suffix != ".png":
        raise click.BadParameter(f"{sheet}: must end in .png", param_hint="--sheet")
    from gan.analysis.inspect import clear_packs, inspect
    from gan.config.reader import load_config

    cfg = load_config(config, overrides)
    for line in clear_packs(cfg) if clear else inspect(cfg, verify=verify, sheet=sheet):
        click.echo(line)


@main.command()
@click.argument("config", type=_PATH)
@_SET
def config(config: Path, overrides: tuple[str, ...]) -> None:
    """Show every setting of a config with its meaning."""
    from gan.config.reader import describe, load_config

    click.echo(describe(load_config(config, overrides)))


main.add_command(paper)


def _check_out(out: Path, force: bool, suffixes: tuple[str, ...]) -> None:
    """Refuses an --out with another suffix, and one that exists unless --force is given."""
    is_folder = out.is_dir() and "" in suffixes
    if out.suffix not in suffixes and not is_folder:
        *most, last = [suffix or "no suffix (a folder)" for suffix in suffixes]
        allowed = f"{', '.join(most)} or {last}" if most else last
        raise click.BadParameter(f"{out}: must end in {allowed}", param_hint="--out")
    if out.exists() and not force and not (is_folder and not any(out.iterdir())):
        raise click.UsageError(f"{out} exists; choose another --out, or overwrite with --force")
