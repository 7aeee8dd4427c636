"""Runs the rows of docs/results.md, each with several seeds, and writes the page from its records.

    python scripts/results_table.py --row quickstart          # runs, judges, records, writes
    python scripts/results_table.py                            # writes the page from the records

A row's runs are kept, so the same command goes on where it stopped. Rows whose budget is in images
may run beside others; those in minutes mean something only on a quiet machine.
"""

import json
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import matplotlib
from benchmark_parts import machine
from results_rows import ROWS

matplotlib.use("Agg")

from matplotlib import pyplot as plt

RECORDS, PAGE = Path("docs/results"), Path("docs/results.md")
_FEWEST_JUDGED = 6  # evaluations of a run whose drift is told
BEGIN, END = "<!-- made by scripts/results_table.py -->", "<!-- end -->"
COLUMNS = {
    "frechet_distance": "Fréchet",
    "recall": "recall",
    "class_balance": "class balance, KL",
    "confident_share": "confident",
    "modes": "modes",
    "modes_kl": "modes, KL",
}


def _file(name: str) -> str:
    return re.sub(r"\W+", "_", name)


def run(name: str, seed: int, runs: Path) -> dict[str, Any]:
    """Trains and judges one row with one seed in processes of their own; returns its record.

    A finished seed is taken from the record beside its run.
    """
    row = ROWS[name]
    run_dir = runs / _file(name) / f"seed{seed}"
    done = run_dir / "record.json"
    gan = [sys.executable, "-m", "gan"]
    changes = [
        word for change in (*row.changes, f"train.seed={seed}") for word in ("--set", change)
    ]
    train = ["train", row.config, *changes]
    command = " ".join(["gan", *train])
    if done.exists():
        record = json.loads(done.read_text())
        if record["command"] != command:
            raise click.ClickException(f"{run_dir} is of {record['command']}; move it away")
        return record
    subprocess.run([*gan, *train, "--run-dir", str(run_dir)], check=True)
    judge = ["evaluate", str(run_dir), "--num", str(row.num)]
    found = json.loads(subprocess.run([*gan, *judge], check=True, capture_output=True).stdout)
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").open()]
    curve = [json.loads(line) for line in (run_dir / "evaluations.jsonl").open()]
    record = {
        "seed": seed,
        "command": command,
        "commit": json.loads((run_dir / "meta.json").read_text())["commit"],
        "machine": machine(),
        "judged by": f"gan evaluate RUN --num {row.num}",
        "images_seen": rows[-1]["images_seen"],
        "images_per_s": statistics.median(row["throughput/images_per_s"] for row in rows),
        "values": found["values"],
        "floor": found["floor"],
        "memorisation": found["memorisation"],
        "curve": [[row["images_seen"], row["metric/frechet_distance"]] for row in curve],
    }
    done.write_text(json.dumps(record))
    return record


def table(records: dict[str, dict[str, Any]]) -> list[str]:
    """Returns the lines of one group: mean and standard deviation over the seeds."""
    first = next(iter(records.values()))["seeds"][0]
    columns = {key: head for key, head in COLUMNS.items() if key in first["values"]}
    drifts = [_drift(record["seeds"]) for record in records.values()]
    last = ["end / best"] if any(drifts) else []
    heads = ["recipe", "seeds", "images", *columns.values(), *last]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for (name, record), drift in zip(records.items(), drifts, strict=True):
        seeds = record["seeds"]
        cells = [name, ", ".join(str(s["seed"]) for s in seeds)]
        cells += [f"{statistics.mean(s['images_seen'] for s in seeds):,.0f}"]
        cells += [spread([s["values"][key] for s in seeds]) for key in columns]
        lines.append("| " + " | ".join([*cells, drift][: len(heads)]) + " |")
    floor = [_number(first["floor"][key]) for key in columns]
    lines.append("| " + " | ".join(["floor", "", "", *floor, ""][: len(heads)]) + " |")
    return lines


def _drift(seeds: list[dict[str, Any]]) -> str:
    """Returns end over best of runs that were judged often enough to tell."""
    if min(len(s["curve"]) for s in seeds) < _FEWEST_JUDGED:
        return ""
    return spread([end_over_best(s["curve"]) for s in seeds])


def spread(values: list[float]) -> str:
    """Returns mean and standard deviation."""
    deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{_number(statistics.mean(values))}{deviation}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"  # 1000 modes, not 1e+03


def end_over_best(curve: list[tuple[int, float]]) -> float:
    """Returns the last of the curve's running medians of three, as a multiple of the least."""
    values = [value for _, value in curve]
    medians = [statistics.median(values[i : i + 3]) for i in range(max(1, len(values) - 2))]
    return medians[-1] / min(medians)


def curves(records: dict[str, dict[str, Any]], path: Path) -> None:
    """Draws the distance against images seen, one line a recipe, a band from least to largest."""
    figure, axis = plt.subplots(figsize=(9, 5))
    for number, (name, record) in enumerate(records.items()):
        runs = [dict(map(tuple, s["curve"])) for s in record["seeds"]]
        seen = sorted(set.intersection(*(set(r) for r in runs)))
        if len(seen) < 2:
            continue  # judged at its end alone
        values = [[r[x] for r in runs] for x in seen]
        (line,) = axis.plot(seen, [statistics.mean(v) for v in values], label=name, linewidth=1.2,
                            linestyle="-" if number < 10 else "--")  # ten colours  # fmt: skip
        axis.fill_between(seen, list(map(min, values)), list(map(max, values)),
                          color=line.get_color(), alpha=0.15)  # fmt: skip
    axis.set(xlabel="images seen", ylabel="Fréchet distance", yscale="log")
    axis.legend(fontsize=7, ncol=2)
    figure.tight_layout()
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def page() -> str:
    """Returns the generated part of the page from all records."""
    loaded = {path: json.loads(path.read_text()) for path in RECORDS.glob("*.json")}
    by_name = {record["row"]: record for record in loaded.values()}
    lines = []
    for group in dict.fromkeys(row.group for row in ROWS.values()):
        records = {n: by_name[n] for n, row in ROWS.items() if row.group == group and n in by_name}
        if not records:
            continue
        figure = f"figures/results_{_file(group).lower()}.png"
        curves(records, PAGE.parent / figure)
        lines += ["", f"### {group}", "", *table(records), "",
                  f"![Fréchet distance against images seen]({figure})", ""]  # fmt: skip
        for where in dict.fromkeys(map(_origin, records.values())):
            names = [name for name, r in records.items() if _origin(r) == where]
            lines.append(f"- {where}: {'; '.join(names)}")
    return "\n".join([*lines, ""])


def _origin(record: dict[str, Any]) -> str:
    """Says where, when, and from which source; + is source with changes."""
    commits: dict[str, list[str]] = {}
    for seed in record["seeds"]:
        commits.setdefault(seed["machine"], []).append(
            re.sub(r"^(.{7})[^+]*", r"\1", seed["commit"])
        )
    return "; ".join(
        f"{where}, commit {', '.join(dict.fromkeys(made))}" for where, made in commits.items()
    )


@click.command()
@click.option("--row", "names", multiple=True, type=click.Choice(list(ROWS)), help="Repeatable.")
@click.option("--seeds", default=3, show_default=True, help="0, 1, ... each a run.")
@click.option("--runs", default="runs/results", show_default=True, type=click.Path(path_type=Path))
def main(names: tuple[str, ...], seeds: int, runs: Path) -> None:
    """Runs rows, then writes docs/results.md between its two marks from all records."""
    RECORDS.mkdir(exist_ok=True)
    for name in names:
        found = [run(name, seed, runs) for seed in range(seeds)]
        record = {"row": name, "seeds": found}
        (RECORDS / f"{_file(name)}.json").write_text(json.dumps(record, indent=1) + "\n")
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + page() + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
