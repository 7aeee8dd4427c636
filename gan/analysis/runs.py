"""What the files of a run directory say: settings, curves, and the record of its evaluation."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gan.config.reader import flat_identity, load_config
from gan.config.settings import Config
from gan.files import read_json, read_rows

RECORD = "evaluation.json"  # of `gan evaluate RUN --out RUN/evaluation.json`
_TABLES = ("values", "deviation", "floor", "floor_deviation", "memorisation")
_MEMORISATION = {"nearest_training", "nearest_training_floor", "near_copies"}

Row = dict[str, Any]
Curve = tuple[np.ndarray, np.ndarray]  # images seen, values


@dataclass(frozen=True)
class RunFiles:
    """A run as its files describe it, without its checkpoints."""

    path: Path
    cfg: Config
    calls: list[Row]  # see gan.training.run_dir.describe_run
    logs: list[Row]  # of metrics.jsonl
    evaluations: list[Row]  # of evaluations.jsonl
    record: dict[str, Any] | None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that decide what a run computes, by section.key, and its images."""
        return flat_identity(self.cfg) | {
            "images": self.calls[-1].get("data") if self.calls else None
        }

    @property
    def images_seen(self) -> int:
        return int(self.logs[-1]["images_seen"])

    @property
    def last_scores(self) -> dict[str, float]:
        """The newest evaluation made during the run, empty if there is none."""
        return {k: v for k, v in self._newest().items() if not k.endswith("_floor")}

    @property
    def last_floors(self) -> dict[str, float]:
        """The same scores of real images."""
        found = self._newest()
        return {k: found[f"{k}_floor"] for k in self.last_scores if f"{k}_floor" in found}

    def _newest(self) -> dict[str, float]:
        row = self.evaluations[-1] if self.evaluations else {}
        return {key[7:]: row[key] for key in row if key.startswith("metric/") and _is(row, key)}

    def curve(self, tag: str) -> Curve:
        """Returns the points of a curve, none if it was not written."""
        rows = self.evaluations if tag.startswith("metric/") else self.logs
        points = [(row["images_seen"], row[tag]) for row in rows if _is(row, tag)]
        columns = np.array(points, dtype=float).reshape(-1, 2)
        return columns[:, 0], columns[:, 1]


def read_run(path: Path) -> RunFiles:
    """Reads a run directory; raises ValueError if it is none or has no curves yet."""
    if not (path / "config.yaml").is_file():
        raise ValueError(f"{path}: not a run directory (it has no config.yaml)")
    logs = _rows(path / "metrics.jsonl")
    if not logs:
        raise ValueError(f"{path}: the run has not logged anything yet; train it first")
    meta = read_json(path / "meta.json")
    calls = meta.get("calls") if isinstance(meta, dict) else None
    return RunFiles(
        path=path,
        cfg=load_config(path / "config.yaml"),
        calls=[c for c in calls if isinstance(c, dict)] if isinstance(calls, list) else [],
        logs=logs,
        evaluations=_rows(path / "evaluations.jsonl"),
        record=_read_record(path / RECORD),
    )


def as_utf_8(name: str) -> str:
    """Returns the name of a folder with ? for bytes that are not UTF-8."""
    return name.encode(errors="replace").decode()


def _rows(path: Path) -> list[Row]:
    return [row for row in read_rows(path) if _is(row, "images_seen")]


def _is(row: Row, key: str) -> bool:
    """Tells whether a row has a finite number under this key."""
    try:
        return type(row.get(key)) in (int, float) and math.isfinite(row[key])
    except OverflowError:  # an integer beyond float64
        return False


def _read_record(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    record = read_json(path)
    complete = isinstance(record, dict) and all(
        isinstance(record.get(name), dict) and all(_is(record[name], key) for key in record[name])
        for name in _TABLES
    )
    if not complete or not _has_what_is_shown(record):
        raise ValueError(f"{path}: not a record of gan evaluate; delete it, or write it again with "
                         f"gan evaluate {path.parent} --out {path} --force")  # fmt: skip
    return record


def _has_what_is_shown(record: dict[str, Any]) -> bool:
    return (
        isinstance(record.get("checkpoint"), dict)
        and type(record.get("num_real")) is int
        and record["values"].keys() <= record["floor"].keys()
        and _MEMORISATION <= record["memorisation"].keys()
    )
