"""The command `gan page`."""

from pathlib import Path

import click

from gan.analysis.options import FORCE, PATH, RUN, check_out


@click.command()
@RUN
@click.option("--out", required=True, type=PATH, help="An .html file.")
@FORCE
def page(run_or_checkpoint: Path, out: Path, force: bool) -> None:
    """Write one HTML file that shows the generator at work.

    It opens in a browser from the disk and needs no network. The page of a run shows its training
    too.
    """
    check_out(out, force, (".html",))
    from gan.page.build import write_page

    click.echo(f"{out}: {write_page(run_or_checkpoint, out):,} bytes")
