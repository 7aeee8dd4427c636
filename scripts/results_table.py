"""Runs rows of results_rows.py with several seeds, and writes the pages from their records.

    python scripts/results_table.py --row quickstart   # train, evaluate, record, then write
    python scripts/results_table.py                    # write both pages and the figures

docs/results.md gets the opening table, docs/experiments.md a table for each group of rows. An
interrupted row resumes when the same command is given again. Rows with a budget in images may
share a machine; rows with a budget in minutes need it to themselves.
"""

import json
import re
import resource
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import click
import matplotlib
from benchmark_parts import machine
from results_rows import ROWS, Row

from gan.config.reader import load_config

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Seed = dict[str, Any]  # the record of one run
Records = dict[str, list[Seed]]  # by row
Curve = list[tuple[int, list[float]]]  # images seen, and the distance of each seed

GAN = [sys.executable, "-m", "gan"]
RECORDS = Path("docs/results")
SUMMARY, NOTEBOOK = Path("docs/results.md"), Path("docs/experiments.md")
BEGIN, END = "<!-- made by scripts/results_table.py -->", "<!-- end -->"
COLUMNS = {
    "frechet_distance": "Fréchet",
    "recall": "recall",
    "class_balance": "class balance, KL",
    "confident_share": "confident",
    "modes": "modes",
    "modes_kl": "modes, KL",
}
# Okabe and Ito's palette without its pale colours, for colour-blind readers
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)))
_MIN_EVALUATIONS = 6  # of a run whose drift is shown


def run(name: str, seed: int, runs: Path) -> Seed:
    """Trains and evaluates one row with one seed; returns its record.

    A finished seed is read from the record in its run directory. Raises click.ClickException if
    the source differs from its commit, or if the run was made by another command.
    """
    row = ROWS[name]
    run_dir = runs / _file(name) / f"seed{seed}"
    done = run_dir / "record.json"
    train = ["train", row.config]
    for change in (*row.changes, f"train.seed={seed}"):
        train += ["--set", change]
    command = " ".join(["gan", *train])
    if done.exists():
        record = json.loads(done.read_text())
        if record["command"] != command:
            raise click.ClickException(
                f"{run_dir} was made by another command ({record['command']}); move it or choose "
                "another --runs"
            )
        return record
    require_clean_source()
    before = _cpu_seconds()
    subprocess.run([*GAN, *train, "--run-dir", str(run_dir)], check=True)
    minutes = (_cpu_seconds() - before) / 60
    record = {"seed": seed, "command": command, **_evaluated(run_dir, row, minutes)}
    done.write_text(json.dumps(record))
    return record


def require_clean_source() -> None:
    """Raises click.ClickException if the package, configs or scripts differ from their commit."""
    status = ["git", "status", "--porcelain", "--", "gan", "configs", "scripts"]
    changed = subprocess.run(status, check=True, capture_output=True, text=True).stdout
    if changed:
        raise click.ClickException(f"a record needs a clean commit; commit these first:\n{changed}")


def _cpu_seconds() -> float:
    """Returns the CPU seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _evaluated(run_dir: Path, row: Row, minutes: float) -> dict[str, Any]:
    """Evaluates a finished run, and adds what its files say.

    `minutes` are CPU minutes of the last call of `gan train`, start-up and evaluations included;
    the record has none if the run was made by more than one call.
    """
    calls = json.loads((run_dir / "meta.json").read_text())["calls"]
    curve = [json.loads(line) for line in (run_dir / "evaluations.jsonl").open()]
    record = {
        "commit": calls[-1]["commit"],
        "machine": machine(),
        "cpu_minutes": minutes if len(calls) == 1 else None,
        "evaluation": _evaluate(run_dir, row.num),
        "curve": [[at["images_seen"], at["metric/frechet_distance"]] for at in curve],
    }
    if row.second:
        record["second"] = _evaluate(run_dir, row.num, "--features", row.second)
    return record


def _evaluate(run_dir: Path, num: int, *options: str) -> dict[str, Any]:
    """Returns the record of gan evaluate: values, floor, counts, seeds, and the files' hashes."""
    command = [*GAN, "evaluate", str(run_dir), "--num", str(num), "--json", *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def load_records() -> Records:
    """Returns the seeds of every row that has a record, in the order of ROWS."""
    loaded = [json.loads(path.read_text()) for path in RECORDS.glob("*.json")]
    by_name = {record["row"]: record["seeds"] for record in loaded}
    return {name: by_name[name] for name in ROWS if name in by_name}


def summary(records: Records) -> str:
    """Returns the opening table: every row but the ablations and the baselines."""
    baselines = {row.baseline for row in ROWS.values()}
    heads = ["row", "seeds", "images", "of the config's length", "minutes", "hardware",
             "distance", "floor", "classic recipe (seeds)"]  # fmt: skip
    lines = []
    for name, seeds in records.items():
        row = ROWS[name]
        if row.group == "Ablations" or name in baselines:
            continue
        images = _mean_images(seeds)
        train = load_config(row.config).train
        share = images / (train.num_steps * train.batch_size)
        minutes = statistics.mean(s["images_seen"] / s["images_per_s"] / 60 for s in seeds)
        baseline = records.get(row.baseline or "", [])
        lines.append([
            f"`{name}`", str(len(seeds)), f"{images:,.0f}", f"{100 * share:.3g} %",
            f"{minutes:.2g}", _hardware(seeds[0]["machine"]), _distance(seeds),
            _number(seeds[0]["floor"]["frechet_distance"]),
            f"{_distance(baseline)} ({len(baseline)})" if baseline else "",
        ])  # fmt: skip
    return "\n".join([*_markdown(heads, lines), ""])


def notebook(records: Records) -> str:
    """Returns a section for each group: its table, its figure, and where each row was measured."""
    lines = []
    for group, rows in by_group(records).items():
        figure = f"![Fréchet distance against images seen](figures/{_figure(group)})"
        lines += ["", f"### {group}", "", *table(rows), "", figure, ""]
        origins = {name: _origin(seeds) for name, seeds in rows.items()}
        for origin in dict.fromkeys(origins.values()):
            names = [_title(name) for name, where in origins.items() if where == origin]
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
    columns = {key: head for key, head in COLUMNS.items() if key in first["values"]}
    lines = [
        [_title(name), ", ".join(str(s["seed"]) for s in seeds), f"{_mean_images(seeds):,.0f}",
         *(spread([s["values"][key] for s in seeds]) for key in columns), _drift(seeds)]
        for name, seeds in records.items()
    ]  # fmt: skip
    lines.append(["floor", "", "", *(_number(first["floor"][key]) for key in columns), ""])
    heads = ["row", "seeds", "images", *columns.values(), "end / best"]
    if not any(line[-1] for line in lines):
        heads, lines = heads[:-1], [line[:-1] for line in lines]
    return _markdown(heads, lines)


def spread(values: list[float]) -> str:
    """Returns mean ± standard deviation."""
    deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{_number(statistics.mean(values))}{deviation}"


def end_over_best(curve: list[tuple[int, float]]) -> float:
    """Returns the last running median of three evaluations over the smallest one."""
    values = [value for _, value in curve]
    medians = [statistics.median(values[i : i + 3]) for i in range(max(1, len(values) - 2))]
    return medians[-1] / min(medians)


def draw_curves(records: Records, path: Path) -> None:
    """Draws the mean distance against images seen, with a band from minimum to maximum.

    The lowest final value comes first. Many rows get a panel each, which repeats the first row.
    """
    curves = {_title(name): _curve(seeds) for name, seeds in records.items()}
    curves = {title: curve for title, curve in curves.items() if len(curve) > 1}
    titles = sorted(curves, key=lambda title: statistics.mean(curves[title][-1][1]))
    if len(titles) > len(COLOURS):
        figure = _panels(curves, titles)
    else:
        figure, axis = plt.subplots(figsize=(9, 5), layout="constrained")
        for title, colour, dash in zip(titles, COLOURS, DASHES, strict=False):
            _draw_curve(axis, curves[title], colour, dash, title)
        axis.set(xlabel="images seen", ylabel="Fréchet distance", yscale="log")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.legend(reverse=True)  # like the ends of the curves, the highest above
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def _panels(curves: dict[str, Curve], titles: list[str]) -> Figure:
    """Draws a panel for each curve but the first one, which is black in all of them."""
    first = next(iter(curves))
    others = [title for title in titles if title != first]
    figure, axes = plt.subplots(
        -(-len(others) // 3), 3, figsize=(9, 13), sharex=True, sharey=True, layout="constrained"
    )
    for axis in axes.flat[len(others) :]:
        axis.remove()
    for axis, title in zip(axes.flat, others, strict=False):
        _draw_curve(axis, curves[first], "black", DASHES[1])
        _draw_curve(axis, curves[title], COLOURS[0], DASHES[0])
        axis.set_title("\n".join(textwrap.wrap(title, 34)), fontsize=10)
        final = _number(statistics.mean(curves[title][-1][1]))
        axis.text(0.95, 0.93, final, ha="right", va="top", transform=axis.transAxes)
        axis.set(yscale="log")
        axis.locator_params(axis="x", nbins=3)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.grid(alpha=0.3)
    final = _number(statistics.mean(curves[first][-1][1]))
    figure.suptitle(f"dashed: {first} ({final}); blue: with the change; number: final value")
    figure.supxlabel("images seen")
    figure.supylabel("Fréchet distance")
    return figure


def _curve(seeds: list[Seed]) -> Curve:
    """Returns the distances of all seeds at each number of images where all were evaluated."""
    runs = [dict(map(tuple, seed["curve"])) for seed in seeds]
    seen = sorted(set.intersection(*(set(run) for run in runs)))
    return [(images, [run[images] for run in runs]) for images in seen]


def _draw_curve(axis: Axes, curve: Curve, colour: str, dash: Any, label: str = "") -> None:
    seen, values = zip(*curve, strict=True)
    axis.plot(seen, [*map(statistics.mean, values)], color=colour, linestyle=dash, label=label)
    axis.fill_between(seen, [*map(min, values)], [*map(max, values)], color=colour, alpha=0.15)


def with_generated(page: str, generated: str) -> str:
    """Returns the page with the text between its two marks replaced."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n" + generated + END + rest.partition(END)[2]


def _file(name: str) -> str:
    return re.sub(r"\W+", "_", name)


def _figure(group: str) -> str:
    return f"results_{_file(group).lower()}.png"


def _title(name: str) -> str:
    return ROWS[name].title or name


def _markdown(heads: list[str], lines: list[list[str]]) -> list[str]:
    rule = "|" + "---|" * len(heads)
    head, *rest = ("| " + " | ".join(cells) + " |" for cells in (heads, *lines))
    return [head, rule, *rest]


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"  # 1000 modes, not 1e+03


def _mean_images(seeds: list[Seed]) -> float:
    return statistics.mean(seed["images_seen"] for seed in seeds)


def _distance(seeds: list[Seed]) -> str:
    return spread([seed["values"]["frechet_distance"] for seed in seeds])


def _drift(seeds: list[Seed]) -> str:
    if min(len(seed["curve"]) for seed in seeds) < _MIN_EVALUATIONS:
        return ""
    return spread([end_over_best(seed["curve"]) for seed in seeds])


def _hardware(machine: str) -> str:
    """Returns the GPU, or the processor and its threads (see benchmark_parts.machine)."""
    _, *gpu, processor, threads, _ = machine.split(", ")
    return gpu[0] if gpu else f"{processor}, {re.sub(r'^1 threads', '1 thread', threads)}"


def _origin(seeds: list[Seed]) -> str:
    """Returns date, machine and commits of a row; + marks a source with changes."""
    commits: dict[str, list[str]] = {}
    for seed in seeds:
        commit = re.sub(r"^(.{7})[^+]*", r"\1", seed["commit"])
        commits.setdefault(seed["machine"], []).append(commit)
    return "; ".join(
        f"{where}, commit {', '.join(dict.fromkeys(made))}" for where, made in commits.items()
    )


@click.command()
@click.option("--row", "names", multiple=True, type=click.Choice(list(ROWS)), help="Repeatable.")
@click.option("--seeds", default=3, show_default=True, help="Number of runs, with seeds 0, 1, ...")
@click.option("--runs", default="runs/results", show_default=True, type=click.Path(path_type=Path))
def main(names: tuple[str, ...], seeds: int, runs: Path) -> None:
    """Runs rows, then writes docs/results.md, docs/experiments.md and their figures."""
    for name in names:
        record = {"row": name, "seeds": [run(name, seed, runs) for seed in range(seeds)]}
        (RECORDS / f"{_file(name)}.json").write_text(json.dumps(record, indent=1) + "\n")
    if names:
        return
    records = load_records()
    for group, rows in by_group(records).items():
        draw_curves(rows, SUMMARY.parent / "figures" / _figure(group))
    for page, generated in ((SUMMARY, summary(records)), (NOTEBOOK, notebook(records))):
        page.write_text(with_generated(page.read_text(), generated))


if __name__ == "__main__":
    main()
