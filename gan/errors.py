"""User-facing errors and the exit codes of `gan`."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

EXIT_ERROR, EXIT_CONFIG, EXIT_DIVERGED, EXIT_DISK_FULL, EXIT_INTERRUPTED = 1, 2, 3, 4, 130


class ConfigError(ValueError):
    """Says what to change in a config or a command, one problem per line."""


class NonFinite(RuntimeError):
    """The run diverged; its last good checkpoint is intact."""


@contextmanager
def one_message() -> Iterator[None]:
    """Turns an error that a user can fix into one message and its exit code."""
    _open_closed_streams()
    try:
        yield
    except (click.exceptions.Exit, click.exceptions.Abort, BrokenPipeError):
        raise  # click ends quietly
    except ConfigError as error:
        fail(str(error), EXIT_CONFIG)
    except NonFinite as error:
        fail(str(error), EXIT_DIVERGED)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        where = f"{error.filename}: " if error.filename else ""
        hint = "; free some disk space and run the same command again" if full else ""
        fail(f"{where}{error.strerror or error}{hint}", EXIT_DISK_FULL if full else EXIT_ERROR)
    except ValueError as error:
        fail(str(error), EXIT_ERROR)
    except (MemoryError, RuntimeError) as error:
        if not (where := _exhausted_memory(error)):
            raise
        fail(
            f"out of {where}; stop other processes, ask for fewer or smaller images, or start a "
            "new run with a lower train.batch_size, data.image_size, model.g_width or "
            "model.d_width",
            EXIT_ERROR,
        )
    except KeyboardInterrupt:  # before a run has anything to save
        fail("interrupted", EXIT_INTERRUPTED)


def _open_closed_streams() -> None:
    """Opens what `2>&-` has closed; else the next file that is opened gets its messages."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files and classes, as on stderr
        sys.stdout.reconfigure(errors="backslashreplace")


def _exhausted_memory(error: Exception) -> str:
    import torch

    if isinstance(error, torch.OutOfMemoryError):
        return "GPU memory"
    is_cpu = isinstance(error, MemoryError) or "can't allocate memory" in str(error)
    return "memory" if is_cpu else ""


def printable(name: object) -> str:
    """Returns a name for a message; if it has control characters, with escapes instead."""
    text = str(name)
    return text if text.isprintable() else ascii(text)[1:-1]


def fail(message: str, code: int) -> NoReturn:
    """Ends the program with one message."""
    say(f"Error: {message}")
    sys.exit(code)


def say(text: str) -> None:
    """Prints a line to stderr; a console that cannot be written changes nothing else."""
    try:
        click.echo(text, err=True)
    except OSError:
        sys.stderr = open(os.devnull, "w")  # else Python fails to flush it and exits with 120
