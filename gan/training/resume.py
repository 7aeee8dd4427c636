"""Owns where a run starts: its newest good checkpoint, another run's networks, or nothing."""

from pathlib import Path

from gan.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    load_checkpoint,
    newest_good,
)
from gan.config.reader import identity, parse_config
from gan.machine.ranks import from_first
from gan.training.run import Run
from gan.training.state import environment, load_networks, restore


def go_on(run: Run) -> list[str]:
    """Restores the newest good checkpoint of the run directory; returns what to tell of it."""
    found = list(newest_good(run.checkpoints)) if run.state.ranks.is_first else []
    faults = [fault for fault in found if isinstance(fault, BadCheckpoint)]
    good = [checkpoint for checkpoint in found if isinstance(checkpoint, Checkpoint)]
    notes = [f"{fault}; taking the one before" for fault in faults]
    if faults and not good:
        raise BadCheckpoint(
            "\n".join(map(str, faults))
            + f"\nno good checkpoint in {run.checkpoints}; nothing was deleted; move that folder "
            "away to start again"
        )
    path = from_first(good[0].path if good else None, run.state.ranks)
    if path is None:
        return []
    payload = good[0].payload if good else load_checkpoint(path)
    _require_same_run(run, payload, path)
    try:
        restore(run.state, payload)
    except BadCheckpoint as error:
        raise BadCheckpoint(f"{path}: {error}; move that file away to go on from another") from None
    now = environment(run.state)
    differ = [
        f"{k} {v} then, {now.get(k)} now"
        for k, v in payload["environment"].items()
        if v != now.get(k)
    ]
    if differ:
        notes.append(f"not bit-identical to an unbroken run: {'; '.join(differ)}")
    return [*notes, f"going on from {path.name}"]


def _require_same_run(run: Run, payload: dict, path: Path) -> None:
    old, new = identity(parse_config(payload["config"], origin=str(path))), identity(run.cfg)
    differ = [
        f"  {section}.{key}: {old[section][key]!r} there, {value!r} asked for"
        for section, values in new.items()
        for key, value in values.items()
        if old[section][key] != value
    ]
    if payload["data"] != run.packed.checksum:
        differ.append(f"  the images of data.source {run.cfg.data.source} are not the same")
    if differ:
        raise ValueError(
            f"{path.parent.parent} is another run; give a new --run-dir (and train.init_from: "
            f"{path} to start from its networks), or take back:\n" + "\n".join(differ)
        )


def initialise(run: Run) -> list[str]:
    """Takes the networks of train.init_from, if asked."""
    if run.cfg.train.init_from is None:
        return []
    path = Path(run.cfg.train.init_from).expanduser()
    payload = load_checkpoint(path)
    try:
        load_networks(run.state, payload)
    except BadCheckpoint as error:
        raise ValueError(f"train.init_from: {path}: {error}") from None
    return [f"networks from {path}, step {payload['step']:,}"]
