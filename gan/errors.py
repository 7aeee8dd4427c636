"""Owns how a verb ends that cannot do what it was asked: one message, one exit code."""

import errno
import functools
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

EXIT_CONFIG, EXIT_DIVERGED, EXIT_DISK_FULL, EXIT_INTERRUPTED = 2, 3, 4, 130


class ConfigError(ValueError):
    """Tells a user what to change in a config, one problem a line."""


def mendable(verb: Callable[..., None]) -> Callable[..., None]:
    """Turns what a user can mend into one short message and the exit code of its kind."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except ConfigError as error:
            fail(str(error), EXIT_CONFIG)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            where = f"{error.filename}: " if error.filename else ""
            hint = "; free some room and give the same command again" if full else ""
            fail(f"{where}{error.strerror or error}{hint}", EXIT_DISK_FULL if full else 1)
        except ValueError as error:
            fail(str(error), 1)
        except RuntimeError as error:
            import torch

            if not isinstance(error, torch.OutOfMemoryError):
                raise
            fail(
                "the GPU has no room for this; free it of other processes, or lower "
                "train.batch_size, data.image_size, model.g_width or model.d_width in a new run",
                1,
            )
        except KeyboardInterrupt:  # before a run has anything to save
            fail("interrupted", EXIT_INTERRUPTED)

    return run


def fail(message: str, code: int) -> NoReturn:
    """Ends the program with one message."""
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)
