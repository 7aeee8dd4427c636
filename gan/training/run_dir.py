"""The directory of a run: its number, its lock, and the files that describe the run."""

import json
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gan.config.reader import describe
from gan.config.settings import Config
from gan.errors import say
from gan.files import naming, read_json, replacing

_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "tensorboard", "pydantic")


def next_run_dir(parent: Path, name: str) -> Path:
    """Makes and returns parent/00000-name, with the first free number."""
    parent.mkdir(parents=True, exist_ok=True)
    numbers = (re.match(r"\d+(?=-)", path.name) for path in parent.iterdir())
    number = 1 + max((int(found[0]) for found in numbers if found), default=-1)
    try:
        run_dir = parent / f"{number:05}-{name}"
        run_dir.mkdir()
        return run_dir
    except FileExistsError:  # another run was faster
        return next_run_dir(parent, name)


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Holds the lock of a run directory.

    Raises ValueError with the process id, host and start of the process that has it.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    holder = run_dir / ".lock.json"
    lock = FileLock(run_dir / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        who = "another process"
        with suppress(OSError), holder.open(errors="replace") as file:
            who = file.read(200) or who  # it is being written
        raise ValueError(f"{run_dir} is in use by {who}; wait for it or stop it") from None
    try:
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        with naming(holder):
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()} since {started}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def describe_run(run_dir: Path, cfg: Config, facts: dict[str, Any]) -> None:
    """Writes config.yaml (resolved) and appends this call to the list `calls` of meta.json.

    The path of a user's own images is written as an absolute one. A config.yaml that was there
    before the run becomes config.original.yaml.
    """
    if cfg.data.source == "folder":
        root = os.path.abspath(os.path.expanduser(cfg.data.root))
        cfg = cfg.model_copy(update={"data": cfg.data.model_copy(update={"root": root})})
    config, meta_file = run_dir / "config.yaml", run_dir / "meta.json"
    if config.is_file() and not meta_file.exists():  # not written by a run, but by the user
        config.replace(run_dir / "config.original.yaml")
        say(f"{config} is now config.original.yaml; config.yaml has every setting of the run")
    with replacing(config) as part:
        part.write_text(describe(cfg))
    call = {
        "command": shlex.join(sys.argv),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "commit": source_commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        **facts,
    }
    meta = read_json(meta_file)
    calls = meta.get("calls") if isinstance(meta, dict) else None
    calls = [*calls, call] if isinstance(calls, list) else [call]
    with replacing(meta_file) as part:
        part.write_text(json.dumps({"calls": calls}, indent=2) + "\n")


def _version(package: str) -> str | None:
    with suppress(PackageNotFoundError):  # such as pillow, of which there are other builds
        return version(package)
    return None


def source_commit() -> str | None:
    """Returns the commit of this source, with + if files of the package differ from it."""
    here = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        return subprocess.run(
            command, capture_output=True, check=True, text=True, timeout=5
        ).stdout.strip()

    try:
        # fails if the package is installed: a repository around it is another project's
        git("ls-files", "--error-unmatch", __file__)
        commit = git("rev-parse", "HEAD")
        return commit + ("+" if git("status", "--porcelain", "--untracked-files=no", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None
