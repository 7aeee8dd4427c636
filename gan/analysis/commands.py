"""The commands about images, runs and shipped generators.

Each imports its libraries when it runs, so `gan --help` is fast.
"""

from pathlib import Path

import click

from gan.analysis.options import DATA_ROOT, DEVICE, FORCE, PATH, RUN, SEED, SET, check_out
from gan.errors import say


@click.command()
@click.argument("config", type=PATH)
@SET
@click.option("--verify", is_flag=True, help="Decode again and compare with what was packed.")
@click.option("--clear", is_flag=True, help="Delete what was packed.")
@click.option("--sheet", type=PATH, help="Write 64 images as training sees them: a .png grid.")
@FORCE
def data(
    config: Path, overrides: tuple[str, ...], verify: bool, clear: bool, sheet: Path | None,
    force: bool,
) -> None:  # fmt: skip
    """Find, check, pack and describe images.

    Downloads the data set of a config if it is missing and can be downloaded.
    """
    if clear and (verify or sheet):
        raise click.UsageError("--clear deletes what --verify and --sheet would read; use it alone")
    if sheet:
        check_out(sheet, force, (".png",), "--sheet")
    from gan.analysis.inspect import clear_packs, inspect
    from gan.config.reader import load_config

    cfg = load_config(config, overrides)
    for line in clear_packs(cfg) if clear else inspect(cfg, verify=verify, sheet=sheet):
        click.echo(line)


@click.command()
@RUN
@click.option("--features", help="mnist, fashion_mnist, cifar10, photos, faces, inception, none, "
              "or a file of weights [default: the one shipped for the data].")  # fmt: skip
@click.option("--num", default=10_000, show_default=True, type=click.IntRange(10, 1_000_000),
              help="Number of samples, and of real images.")  # fmt: skip
@click.option(
    "--draws",
    default=3,
    show_default=True,
    type=click.IntRange(1, 100),
    help="Repeat with other latents and real images.",
)
@SEED
@DATA_ROOT
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
@click.option("--out", type=PATH, help="A .json file; compare and report read RUN/evaluation.json.")
@DEVICE
@FORCE
def evaluate(
    run_or_checkpoint: Path, features: str | None, num: int, draws: int, seed: int,
    data_root: str | None, as_json: bool, out: Path | None, device: str, force: bool,
) -> None:  # fmt: skip
    """Compare generated with real images.

    Prints Fréchet distance (an FID only with --features inception), precision, recall and other
    scores, and those of real images, the floor.
    """
    import json

    if out:
        check_out(out, force, (".json",))
    from gan.analysis.evaluate import evaluate as run_evaluation
    from gan.analysis.table import evaluation_table, write_record
    from gan.machine.precision import choose_device
    from gan.pretrained.load import load_generator

    on = choose_device(device)
    trained = load_generator(run_or_checkpoint, on, data_root=data_root)
    record = run_evaluation(trained, features=features, num=num, seed=seed, draws=draws, device=on)
    table = evaluation_table(record, len(trained.classes))
    click.echo(json.dumps(record, indent=2) if as_json else table)
    if out:
        write_record(record, out)
    if trained.checkpoint.data != record["data"]["checksum"]:
        say("note: the checkpoint was trained on other images (checksums differ)")


@click.command()
@click.argument("runs", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, help="A folder for compare.png, compare.csv, and TensorBoard's "
              "curves by training step.")  # fmt: skip
@FORCE
def compare(runs: tuple[Path, ...], out: Path | None, force: bool) -> None:
    """Compare runs: settings, scores and curves.

    Shows the settings that differ, and scores with their floors. Runs that differ in train.seed
    alone are shown as one: mean and standard deviation.
    """
    if out:
        check_out(out, force, ("",))
    from gan.analysis.compare import compare as run_comparison

    click.echo(run_comparison(runs, out))


@click.command()
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, help="An .html file [default: RUN/report.html].")
@FORCE
def report(run: Path, out: Path | None, force: bool) -> None:
    """Write one HTML file about a run.

    It holds settings, curves, samples and scores, and needs no network.
    """
    out = out or run / "report.html"
    check_out(out, force, (".html",))
    from gan.analysis.report import write_report

    write_report(run, out)
    click.echo(out)


@click.command()
@RUN
@click.option("--points", default=8, show_default=True, type=click.IntRange(2, 1000),
              help="Latents of --seed to visit.")  # fmt: skip
@click.option("--seeds", metavar="N,N,...", help="Visit the first image of each seed instead.")
@click.option("--steps", default=8, show_default=True, type=click.IntRange(1, 1000),
              help="Images from one latent to the next.")  # fmt: skip
@SEED
@click.option("--out", required=True, type=PATH, help="A .png strip, a .gif or an .mp4 (ffmpeg).")
@click.option("--labels", "--label", metavar="CLASS,CLASS,...", help="Visit these classes.")
@click.option("--scale", type=click.IntRange(1, 64),
              help="Factor to enlarge images by [default: videos have 256 pixels].")  # fmt: skip
@DEVICE
@FORCE
def walk(
    run_or_checkpoint: Path, points: int, seeds: str | None, steps: int, seed: int, out: Path,
    labels: str | None, scale: int | None, device: str, force: bool,
) -> None:  # fmt: skip
    """Interpolate between latents, as a strip, GIF or video.

    The walk ends at the latent where it began. `--seeds 3 --labels 2,7` changes the class alone;
    the shorter list is repeated.
    """
    check_out(out, force, (".png", ".gif", ".mp4"))
    from gan.analysis.walk import path_ends, save_walk
    from gan.machine.precision import choose_device
    from gan.pretrained.load import load_generator

    trained = load_generator(run_or_checkpoint, choose_device(device))
    ends = path_ends(trained, points=points, seed=seed, seeds=seeds, labels=labels)
    num = save_walk(trained, out, *ends, steps=steps, scale=scale)
    click.echo(f"{out}: {num} images of {trained.origin}")


@click.command()
@RUN
@click.argument("images", type=PATH, nargs=-1)
@click.option("--out", type=PATH, help="A .png of each image beside the nearest of G.")
@click.option(
    "--walk", "film", type=PATH, help="A .gif or .mp4 from the first image to the second."
)
@click.option(
    "--held-out", is_flag=True, help="Compare training images with held-out ones instead."
)
@click.option("--num", default=64, show_default=True, type=click.IntRange(2, 100_000),
              help="Images of each kind, with --held-out.")  # fmt: skip
@DATA_ROOT
@SEED
@DEVICE
@FORCE
def invert(
    run_or_checkpoint: Path, images: tuple[Path, ...], out: Path | None, film: Path | None,
    held_out: bool, num: int, data_root: str | None, seed: int, device: str, force: bool,
) -> None:  # fmt: skip
    """Find the latents whose images are nearest to given images.

    Distances are root mean squares in grey levels. Equal distances of held-out and training images
    suggest that G has not memorised the training images.
    """
    if held_out == bool(images) or held_out == bool(out) or (film and len(images) != 2):
        raise click.UsageError(
            "give IMAGES and --out (with --walk two IMAGES), or --held-out alone"
        )
    if out:
        check_out(out, force, (".png",))
    if film:
        check_out(film, force, (".gif", ".mp4"), "--walk")
    from gan.analysis.invert import compare_held_out, save_pairs
    from gan.machine.precision import choose_device
    from gan.pretrained.load import load_generator

    trained = load_generator(run_or_checkpoint, choose_device(device), data_root=data_root)
    if out:
        lines = save_pairs(trained, images, out, film=film, seed=seed)
    else:
        lines = compare_held_out(trained, num=num, seed=seed)
    for line in lines:
        click.echo(line)


@click.command()
def models() -> None:
    """List the shipped generators.

    Their names work in place of a run. Distance: the Fréchet distance of `gan evaluate` (not an
    FID); floor: that of real images.
    """
    from gan.analysis.table import aligned
    from gan.pretrained.shipped import table

    click.echo("\n".join(aligned(table())))


@click.command()
@RUN
@click.option(
    "--out", required=True, type=PATH, help="An .onnx, .pt2 or .safetensors file, or a folder."
)
@FORCE
def export(run_or_checkpoint: Path, out: Path, force: bool) -> None:
    """Write the generator for other programs.

    .onnx and .pt2 map z (N, Z), and labels (N,) with classes, to images (N, C, H, W) in [-1, 1],
    for any N; a file is kept only if its images are those of PyTorch. A folder has the layout of
    model hubs; every command reads it. docs/export.md describes the files.
    """
    check_out(out, force, (".onnx", ".pt2", ".safetensors", ""))
    import torch

    from gan.export import save_export
    from gan.pretrained.load import load_generator

    trained = load_generator(run_or_checkpoint, torch.device("cpu"))
    for num, difference in save_export(trained, out).items():
        click.echo(f"batch of {num}: images differ from PyTorch's by at most {difference:.1e}")
    click.echo(f"{out}: the generator of {trained.origin}")
