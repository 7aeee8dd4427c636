"""The record of an evaluation as a table for people: values, floors, and what they tell."""

import json
import math
import textwrap
from pathlib import Path
from typing import Any

from gan.files import replacing

_MIN_FLOOR = 500  # real images, for 1 % of them to mean something

HEADS = ("score", "samples", "real (floor)", "better")
_HIGHER = {"precision", "recall", "density", "coverage", "modes", "confident_share",
           "inception_score"}  # fmt: skip
_NEAR_COPIES_FLOOR = 0.01  # by its definition, see gan.analysis.evaluate.memorisation


def evaluation_table(record: dict[str, Any], num_classes: int) -> str:
    """Returns the table of an evaluation, with one line of reading for each telling value.

    `record` is that of `gan.analysis.evaluate.evaluate`, `num_classes` the number of the data's
    classes.
    """
    rows = evaluation_rows(record)
    origin, network = record["checkpoint"], record["network"]
    several = record["draws"] > 1
    draws = f"mean ± standard deviation of {record['draws']} draws" if several else "one draw"
    lines = [
        f"{origin['file']}, step {origin['step']:,}, {origin['images_seen']:,} images seen",
        f"{record['num_generated']:,} samples and as many real images; features of "
        f"{network['name'] if network else 'no network'}; {draws}",
        "(nearest_training and near_copies are of the last draw)",
        "",
        *aligned([HEADS, *rows]),
    ]
    if found := readings(record, num_classes):
        lines += ["", *found]
    return "\n".join(lines)


def write_record(record: dict[str, Any], out: Path) -> None:
    """Writes the record of an evaluation as JSON."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


def evaluation_rows(record: dict[str, Any]) -> list[tuple[str, ...]]:
    """Returns the cells of each score: name, samples, real images, which way is better."""
    rows = [
        (
            name,
            spread(value, record["deviation"].get(name)),
            spread(record["floor"].get(name), record["floor_deviation"].get(name)),
            "higher" if name in _HIGHER else "lower",
        )
        for name, value in record["values"].items()
    ]
    found = record["memorisation"]
    nearest, nearest_floor = found["nearest_training"], found["nearest_training_floor"]
    copies = spread(found["near_copies"]), spread(_NEAR_COPIES_FLOOR)
    return [
        *rows,
        ("nearest_training", spread(nearest), spread(nearest_floor), ""),
        ("near_copies", *copies, "lower"),
    ]


def readings(record: dict[str, Any], num_classes: int) -> list[str]:
    """Returns a sentence for each value that tells something."""
    values, floor = record["values"], record["floor"]
    found = []
    for name in ("fid", "frechet_distance"):
        if name in values and floor[name] > 0:
            times = values[name] / floor[name]
            reading = "as near as real images" if times <= 1 else f"{number(times)} times the floor"
            found.append((name, values[name], reading))
    for name, reading in (
        ("precision", "many samples are unlike the real images"),
        ("recall", "the samples lack much of the variety of the real images"),
        ("coverage", "many kinds of real images have no sample near them"),
        ("confident_share", "many samples are of no clear class"),
    ):
        if name in values and values[name] < 0.5 * floor[name]:
            found.append((name, values[name], reading))
    if "modes" in values and values["modes"] < 0.9 * floor["modes"]:
        missing = floor["modes"] - values["modes"]
        found.append(("modes", values["modes"], f"about {missing:.0f} classes are missing"))
    if "class_balance" in values and num_classes:
        # a divergence D from uniform is that of K exp(-D) equal classes out of K
        equal = num_classes * math.exp(-values["class_balance"])
        many = f"no more varied than {equal:.1f} of {num_classes} classes"
        if equal < 0.8 * num_classes:
            reading = f"almost one class of {num_classes}" if equal < 1.5 else many
            found.append(("class_balance", values["class_balance"], reading))
    copies = record["memorisation"]["near_copies"]
    if copies >= 0.1 and record["num_real"] >= _MIN_FLOOR:
        reading = "many samples are copies of training images, or smooth"
        found.append(("near_copies", copies, reading))
    return [f"{name} {number(value)}: {reading}" for name, value, reading in found]


def spread(value: float | None, deviation: float | None = None) -> str:
    """Returns value ± deviation, without what is not known."""
    if value is None:
        return ""
    return number(value) + ("" if deviation is None else f" ± {number(deviation, 2)}")


def number(value: float, digits: int = 3) -> str:
    """Returns a value with so many digits, and no exponent where a person would write none."""
    if abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}" if abs(value) >= 1e-4 or not value else f"{value:.1e}"


def setting_text(value: Any) -> str:
    """Returns the value of a setting as a config writes it: null, true."""
    return value if isinstance(value, str) else json.dumps(value)


def aligned(rows: list[tuple[str, ...]], columns: int | None = None) -> list[str]:
    """Returns the lines of a table, its columns as wide as their widest cell.

    A table of more `columns` of characters is cut into several, each with the first column; a long
    text in the first column is continued in the next line.
    """
    if columns:
        rows = [
            (part, *(row[1:] if i == 0 else [""] * len(row[1:])))
            for row in rows
            for i, part in enumerate(textwrap.wrap(row[0], columns // 3) or [""])
        ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for block in _blocks(widths, columns or sum(widths) + 2 * len(widths)):
        lines += [""] if lines else []
        lines += ["  ".join(f"{row[i]:<{widths[i]}}" for i in block).rstrip() for row in rows]
    return lines


def _blocks(widths: list[int], columns: int) -> list[list[int]]:
    """Splits the columns of a table into blocks that fit, each of them with the first column."""
    blocks = [[0]]
    for i in range(1, len(widths)):
        needed = sum(widths[j] + 2 for j in blocks[-1]) + widths[i]
        if needed > columns and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1].append(i)
    return blocks
