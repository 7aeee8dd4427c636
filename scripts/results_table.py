"""Runs rows of results_rows.py with several seeds, and writes the pages from their records.

    python scripts/results_table.py --row mnist   # train, evaluate, record
    python scripts/results_table.py               # write the tables and figures
    python scripts/results_table.py --check       # fail if a table differs from the records

README.md and docs/results.md get the opening table, docs/experiments.md a table for each group of
rows. An interrupted row resumes when the same command is given again. Rows may share a machine,
one thread each: the minutes in a record are those of the CPU.
"""

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median, stdev

import click
from results_curves import draw_curves
from results_record import GAN, Seed, file_name, run
from results_rows import ROWS, fair_baseline

from gan.config.reader import load_config

Records = dict[str, list[Seed]]  # by row

RECORDS, FIGURES = Path("docs/results"), Path("docs/figures")
SUMMARY, NOTEBOOK, README = Path("docs/results.md"), Path("docs/experiments.md"), Path("README.md")
BEGIN, END = "<!-- made by scripts/results_table.py -->", "<!-- end -->"
COLUMNS = {
    "frechet_distance": "Fréchet",
    "kernel_distance": "kernel x 1000",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "class_balance": "class balance, KL",
    "sliced_wasserstein_mean": "sliced W.",
    "modes": "modes",
    "modes_kl": "modes, KL",
}
HEADS = ("data", "samples", "class labels", "images", "CPU minutes", "distance", "floor",
         "published recipe", "fair baseline", "baseline / ours", "at most half")  # fmt: skip
_RESULTS_ONLY = ("samples", "at most half")  # columns that the table in README.md does not have
_MIN_EVALUATIONS = 6  # of a run whose drift is shown


def load_records() -> Records:
    """Returns the seeds of every row that has a record, in the order of ROWS."""
    loaded = [json.loads(path.read_text()) for path in RECORDS.glob("*.json")]
    by_name = {record["row"]: record["seeds"] for record in loaded}
    return {name: by_name[name] for name in ROWS if name in by_name}


def summary(records: Records) -> str:
    """Returns the opening table: each config beside its fair baseline."""
    return "\n".join([*_markdown(list(HEADS), [*_compared(records)]), ""])


def short_summary(records: Records) -> str:
    """Returns the opening table for README.md."""
    keep = [at for at, head in enumerate(HEADS) if head not in _RESULTS_ONLY]
    lines = [[line[at] for at in keep] for line in _compared(records)]
    return "\n".join([*_markdown([HEADS[at] for at in keep], lines), ""])


def _compared(records: Records) -> list[list[str]]:
    lines = []
    for name, ours in records.items():
        best = fair(name, records)
        if best is None:
            continue
        baseline = records[best]
        published = records.get(f"{name}, published recipe")
        config = Path(ROWS[name].config)
        cfg = load_config(config)
        length = cfg.train.num_steps * cfg.train.batch_size
        rate = best.removeprefix(fair_baseline(name))
        lines.append([
            f"`{config.stem}`", f"![samples](figures/{_samples(name)})",
            "yes" if cfg.model.conditional else "no",
            f"{_images(ours):,.0f} ({_images(ours) / length:.0%})",
            " and ".join(_minutes(seeds) or "–" for seeds in (ours, baseline)),
            _distance(ours), _number(_floor(ours)), _distance(published) if published else "",
            f"{_distance(baseline)} ({rate})",
            f"{mean(_distances(baseline)) / mean(_distances(ours)):.2g}", status(ours, baseline),
        ])  # fmt: skip
    return lines


def fair(name: str, records: Records) -> str | None:
    """Returns the fair baseline of a row: of most seeds, then of the lowest distance."""
    swept = [row for row in records if row.startswith(fair_baseline(name))]
    swept.sort(key=lambda row: (-len(records[row]), mean(_distances(records[row]))))
    return swept[0] if swept else None


def status(ours: list[Seed], baseline: list[Seed]) -> str:
    """Says whether the distance is at most half of the baseline's, beyond both deviations."""
    gap = mean(_distances(baseline)) / 2 - mean(_distances(ours))
    if abs(gap) <= _deviation(ours) + _deviation(baseline) / 2:
        return "undecided"
    seeds = min(len(ours), len(baseline))
    return f"{'met' if gap > 0 else 'missed'}, {seeds} seed{'s' * (seeds > 1)}"


def _deviation(seeds: list[Seed]) -> float:
    """Returns the deviation of the distance over the seeds and that over the draws, together."""
    over_seeds = stdev(_distances(seeds)) if len(seeds) > 1 else 0.0
    draws = [seed["evaluation"]["deviation"]["frechet_distance"] for seed in seeds]
    return over_seeds + mean(draws)


def notebook(records: Records) -> str:
    """Returns a section for each group: its table, its figure, and where each row was measured."""
    lines = []
    for group, rows in by_group(records).items():
        lines += ["", f"### {group}", "", *table(rows), ""]
        lines += [f"![Fréchet distance against images seen](figures/{_figure(group)})", ""]
        origins = {name: _origin(seeds) for name, seeds in rows.items()}
        for origin in dict.fromkeys(origins.values()):
            names = [name for name, where in origins.items() if where == origin]
            lines.append(f"- {origin}: {'; '.join(names)}")
    return "\n".join([*lines, ""])


def by_group(records: Records) -> dict[str, Records]:
    """Returns the records of each group of rows."""
    groups: dict[str, Records] = {}
    for name, seeds in records.items():
        groups.setdefault(ROWS[name].group, {})[name] = seeds
    return groups


def table(records: Records) -> list[str]:
    """Returns the table of one group: mean and standard deviation over the seeds."""
    first = next(iter(records.values()))[0]
    columns = {key: head for key, head in COLUMNS.items() if key in first["evaluation"]["values"]}
    second = first.get("second", {}).get("network", {}).get("name")
    heads = ["row", "seeds", "images", "CPU minutes", *columns.values(), "draws ±", "end / best"]
    lines = []
    for name, seeds in records.items():
        numbers = ", ".join(str(seed["seed"]) for seed in seeds)
        values = [
            spread([_scaled(key, s["evaluation"]["values"]) for s in seeds]) for key in columns
        ]
        draws = mean([s["evaluation"]["deviation"]["frechet_distance"] for s in seeds])
        lines.append([name, numbers, f"{_images(seeds):,.0f}", _minutes(seeds), *values,
                      f"{draws:.2g}", _drift(seeds)])  # fmt: skip
        if second:
            lines[-1] += [spread([s["second"]["values"][key] for s in seeds]) for key in _SECOND]
    floor = first["evaluation"]["floor"]
    deviation = f"{first['evaluation']['floor_deviation']['frechet_distance']:.2g}"
    cells = [_number(_scaled(key, floor)) for key in columns]
    lines.append(["floor", "", "", "", *cells, deviation, ""])
    if second:
        heads += [f"{second}: {COLUMNS[key]}" for key in _SECOND]
        lines[-1] += [_number(first["second"]["floor"][key]) for key in _SECOND]
    return _markdown(*_without_empty(heads, lines))


_SECOND = ("frechet_distance", "precision", "recall")


def _scaled(key: str, values: dict[str, float]) -> float:
    return values[key] * (1000 if key == "kernel_distance" else 1)


def _without_empty(heads: list[str], lines: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    keep = [at for at in range(len(heads)) if any(line[at] for line in lines)]
    return [heads[at] for at in keep], [[line[at] for at in keep] for line in lines]


def spread(values: list[float]) -> str:
    """Returns mean ± standard deviation, which has two digits, or one after three decimals."""
    if len(values) == 1:
        return _number(mean(values))
    deviation = stdev(values)
    first = -math.floor(math.log10(deviation)) if deviation else 1  # the place of its first digit
    decimals = max(0, min(first + 1, max(first, 3)))
    return f"{mean(values):.{decimals}f} ± {deviation:.{decimals}f}"


def end_over_best(curve: list[tuple[int, float]]) -> float:
    """Returns the last running median of three evaluations over the smallest one."""
    values = [value for _, value in curve]
    medians = [median(values[i : i + 3]) for i in range(max(1, len(values) - 2))]
    return medians[-1] / min(medians)


def with_generated(page: str, generated: str, begin: str = BEGIN) -> str:
    """Returns the page with the text between its two marks replaced."""
    before, _, rest = page.partition(begin)
    return before + begin + "\n" + generated + END + rest.partition(END)[2]


def pages() -> dict[Path, Callable[[Records], str]]:
    """Returns what writes the generated part of each page."""
    return {SUMMARY: summary, NOTEBOOK: notebook, README: short_summary}


def _figure(group: str) -> str:
    return f"results_{file_name(group).lower()}.png"


def _samples(name: str) -> str:
    return f"results_samples_{file_name(name)}.png"


def _markdown(heads: list[str], lines: list[list[str]]) -> list[str]:
    rule = "|" + "---|" * len(heads)
    head, *rest = ("| " + " | ".join(cells) + " |" for cells in (heads, *lines))
    return [head, rule, *rest]


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"  # 1000 modes, not 1e+03


def _distances(seeds: list[Seed]) -> list[float]:
    return [seed["evaluation"]["values"]["frechet_distance"] for seed in seeds]


def _distance(seeds: list[Seed]) -> str:
    return spread(_distances(seeds))


def _floor(seeds: list[Seed]) -> float:
    return seeds[0]["evaluation"]["floor"]["frechet_distance"]


def _images(seeds: list[Seed]) -> float:
    return mean([seed["evaluation"]["checkpoint"]["images_seen"] for seed in seeds])


def _minutes(seeds: list[Seed]) -> str:
    known = [seed["cpu_minutes"] for seed in seeds if seed["cpu_minutes"]]
    return f"{mean(known):.2g}" if known else ""


def _drift(seeds: list[Seed]) -> str:
    if min(len(seed["curve"]) for seed in seeds) < _MIN_EVALUATIONS:
        return ""
    return spread([end_over_best(seed["curve"]) for seed in seeds])


def _origin(seeds: list[Seed]) -> str:
    """Returns date, machine and commits of a row."""
    commits: dict[str, list[str]] = {}
    for seed in seeds:
        commits.setdefault(seed["machine"], []).append(seed["commit"][:7])
    return "; ".join(
        f"{where}, commit {', '.join(dict.fromkeys(made))}" for where, made in commits.items()
    )


def _record(name: str, seeds: int, runs: Path) -> None:
    """Runs a row, and writes its record; one with a fair baseline gets a picture of seed 0."""
    record = {"row": name, "seeds": [run(name, seed, runs) for seed in range(seeds)]}
    (RECORDS / f"{file_name(name)}.json").write_text(json.dumps(record, indent=1) + "\n")
    if any(row.startswith(fair_baseline(name)) for row in ROWS):
        sample = [*GAN, "sample", str(runs / file_name(name) / "seed0"), "--num", "16",
                  "--columns", "8", "--force", "--out", str(FIGURES / _samples(name))]  # fmt: skip
        subprocess.run(sample, check=True)


@click.command()
@click.option("--row", "names", multiple=True, type=click.Choice(list(ROWS)), help="Repeatable.")
@click.option("--seeds", default=3, show_default=True, help="Number of runs, with seeds 0, 1, ...")
@click.option("--runs", default="runs/results", show_default=True, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; fail if a table differs.")
def main(names: tuple[str, ...], seeds: int, runs: Path, check: bool) -> None:
    """Runs rows and records them; without a row, writes the tables and figures of the pages."""
    for name in names:
        _record(name, seeds, runs)
    if names:
        return
    records = load_records()
    for page, generate in pages().items():
        text = page.read_text()
        written = with_generated(text, generate(records))
        if not check:
            page.write_text(written)
        elif written != text:
            raise click.ClickException(f"the tables of {page} differ from the records")
    for group, rows in by_group({} if check else records).items():
        draw_curves(rows, FIGURES / _figure(group))


if __name__ == "__main__":
    main()
