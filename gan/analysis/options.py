"""Arguments and options that several commands share, and the check of --out."""

from pathlib import Path
from typing import Any

import click


class _Path(click.Path):
    """A path; an empty one, as of an unset shell variable, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("is empty", param, ctx)
        return super().convert(value, param, ctx)


PATH = _Path(path_type=Path)
RUN = click.argument("run_or_checkpoint", metavar="GENERATOR", type=PATH)
SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting; repeatable."
)
DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Device.",
)
SEED = click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1),
                    help="Random seed.")  # fmt: skip
DATA_ROOT = click.option(
    "--data-root",
    help="Folder of the real images [default: data.root of a run with source folder; else "
    "$GAN_DATA or data].",
)
FORCE = click.option("--force", is_flag=True, help="Overwrite an existing file or folder.")


def check_out(out: Path, force: bool, suffixes: tuple[str, ...], option: str = "--out") -> None:
    """Refuses an --out with another suffix, and one that exists unless --force is given."""
    is_folder = out.is_dir() and "" in suffixes
    if out.suffix not in suffixes and not is_folder:
        *most, last = [suffix or "no suffix (a folder)" for suffix in suffixes]
        allowed = f"{', '.join(most)} or {last}" if most else last
        raise click.BadParameter(f"{out}: must end in {allowed}", param_hint=option)
    if out.exists() and not force and not (is_folder and not any(out.iterdir())):
        raise click.UsageError(f"{out} exists; choose another {option}, or overwrite with --force")
