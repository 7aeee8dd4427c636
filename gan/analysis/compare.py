"""Compares runs: the settings that differ, their curves in one picture, and their scores."""

import csv
import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gan.analysis.by_step import write_by_step
from gan.analysis.curves import draw_curves
from gan.analysis.runs import RECORD, RunFiles, read_run
from gan.analysis.table import aligned, setting_text, spread
from gan.files import replacing

_SEED = "train.seed"
_COLUMNS = 80  # of a terminal
# of these the terminal shows what was measured; the CSV has all
_SHOWN = ("fid", "frechet_distance", "precision", "recall", "class_balance", "modes")


class Score(NamedTuple):
    """One score of a group of runs."""

    mean: float | None
    deviation: float | None
    floor: float | None


Groups = dict[str, list[RunFiles]]  # runs that differ in the seed alone, by their names


def compare(run_dirs: Sequence[Path], out: Path | None = None) -> str:
    """Returns the comparison as text; writes compare.png, compare.csv and by_step/ into `out`.

    Raises ValueError if a run is missing or has no curves.
    """
    unique = {path.resolve(): path for path in run_dirs}
    groups = group_runs([read_run(path) for path in unique.values()])
    has_records, note = _choose_scores(list(groups.values()))
    scores = {name: group_scores(group, has_records) for name, group in groups.items()}
    settings = _settings_table(groups)
    lines = [*settings, *[""] * bool(settings), *_scores_table(groups, scores), "", note]
    if out:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / "compare.png") as part:
            part.write_bytes(draw_curves(groups))
        _write_csv(groups, scores, out / "compare.csv")
        write_by_step([run for group in groups.values() for run in group], out / "by_step")
        lines += [
            f"{out}: compare.png, compare.csv",
            f"curves by training step: tensorboard --logdir {shlex.quote(str(out / 'by_step'))}",
        ]
    return "\n".join(lines)


def group_runs(runs: Sequence[RunFiles]) -> Groups:
    """Puts runs together whose settings differ in train.seed alone."""
    names = {run.path: run.path.resolve().name for run in runs}
    if len(set(names.values())) < len(runs):
        names = {path: str(path) for path in names}
    found: dict[str, list[RunFiles]] = {}
    for run in runs:
        found.setdefault(repr(run.settings | {_SEED: None}), []).append(run)
    return {", ".join(names[run.path] for run in group): group for group in found.values()}


def differing_settings(groups: Groups) -> dict[str, list[Any]]:
    """Returns the settings that differ between the groups, with the value of each group."""
    all_settings = [group[0].settings for group in groups.values()]
    columns = {key: [settings[key] for settings in all_settings] for key in all_settings[0]}
    return {
        key: column
        for key, column in columns.items()
        if key != _SEED and any(value != column[0] for value in column)
    }


def group_scores(group: Sequence[RunFiles], from_records: bool) -> dict[str, Score]:
    """Returns each score that all runs of a group have: the mean and deviation over its runs.

    The deviation of one run is that over the draws of its evaluation.
    """
    records = [
        run.record
        if from_records and run.record
        else {"values": run.last_scores, "deviation": {}, "floor": run.last_floors}
        for run in group
    ]
    found = {}
    for name in set.intersection(*(set(record["values"]) for record in records)):
        column = [record["values"][name] for record in records]
        floors = [record["floor"][name] for record in records if name in record["floor"]]
        of_draws = records[0]["deviation"].get(name)
        found[name] = Score(
            statistics.mean(column),
            statistics.stdev(column) if len(group) > 1 else of_draws,
            statistics.mean(floors) if floors else None,
        )
    return {name: found[name] for name in records[0]["values"] if name in found}


def _choose_scores(groups: Sequence[Sequence[RunFiles]]) -> tuple[bool, str]:
    """Tells whether all runs have comparable records of `gan evaluate`, and explains the scores."""
    runs = [run for group in groups for run in group]
    records = [run.record for run in runs if run.record]
    protocols = {repr([record.get(key) for key in ("num_real", "network")]) for record in records}
    if len(records) == len(runs) and len(protocols) == 1:
        older = [
            f"\nnote: {run.path} was evaluated at {seen} images, not after the last step"
            for run, record in zip(runs, records, strict=True)
            # a run that was stopped by a signal saves after its last log
            if not isinstance(seen := record["checkpoint"].get("images_seen"), int)
            or seen < run.images_seen
        ]
        return True, (
            f"scores: gan evaluate, {records[0].get('num_real')} images; ± is the standard "
            f"deviation\nover seeds, of a single run over draws{''.join(older)}"
        )
    reason = "are of different protocols" if len(protocols) > 1 else "are missing"
    notes = [
        f"\nnote: {run.path} was not evaluated, so the runs beside it have no scores"
        for group in groups
        for run in group
        if len(group) > 1 and not run.last_scores
    ]
    if records:
        notes += [f"\nnote: {run.path} has no record" for run in runs if not run.record]
    if len({run.cfg.data.source for run in runs}) > 1:
        notes.append("\nnote: distances between runs with other data are not comparable")
    return False, (
        f"scores: the newest evaluation during each run; records {reason};\n"
        f"to write one: gan evaluate RUN --out RUN/{RECORD}{''.join(notes)}"
    )


def _settings_table(groups: Groups) -> list[str]:
    differing = differing_settings(groups)
    if not differing:
        has_seeds = any(len(group) > 1 for group in groups.values())
        return ["no setting differs but the seed"] if has_seeds else []
    rows = [(key, *map(setting_text, column)) for key, column in differing.items()]
    if len(groups) <= len(differing) + 2:
        return aligned([("setting", *groups), *rows], _COLUMNS)
    return aligned(list(zip(("runs", *groups), *rows, strict=True)), _COLUMNS)


def _scores_table(groups: Groups, scores: dict[str, dict[str, Score]]) -> list[str]:
    """Returns a line for each group, and one for each of their floors that differ."""
    names = [name for name in _SHOWN if any(name in found for found in scores.values())]
    if not names:  # without a network
        names = [name for name in ("sliced_wasserstein_mean",) if any(map(len, scores.values()))]
    rows = [("runs", "seeds", "images", *names)]
    floors: dict[tuple[str, ...], str] = {}
    for label, group in groups.items():
        found = [scores[label].get(name, Score(None, None, None)) for name in names]
        images = sorted({run.images_seen for run in group})
        length = " to ".join(f"{seen:,}" for seen in dict.fromkeys((images[0], images[-1])))
        means = (spread(score.mean, score.deviation) for score in found)
        rows.append((label, str(len(group)), length, *means))
        floors.setdefault(tuple(spread(score.floor) for score in found), label)
    for cells, label in floors.items():
        if any(cells):
            rows.append(("floor" if len(floors) == 1 else f"floor of {label}", "", "", *cells))
    return aligned(rows, _COLUMNS)


def _write_csv(groups: Groups, scores: dict[str, dict[str, Score]], path: Path) -> None:
    """Writes one line for each score of each group."""
    differing = differing_settings(groups)
    heads = ["runs", "seeds", "images_seen", *differing, "score", "mean", "deviation", "floor"]
    with replacing(path) as part, part.open("w", newline="", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(heads)
        for i, (label, group) in enumerate(groups.items()):
            seeds = " ".join(str(run.cfg.train.seed) for run in group)
            images = statistics.mean(run.images_seen for run in group)
            settings = [column[i] for column in differing.values()]
            for name, score in scores[label].items():
                writer.writerow([label, seeds, images, *settings, name, *score])
