"""Draws the curves of the results pages: distance against images seen."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib
from results_record import Seed

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

Curve = list[tuple[int, list[float]]]  # images seen, and the distance of each seed

# Okabe and Ito's palette for colour-blind readers, with brown for its yellow, which is pale, and
# two of Tol's colours
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7A4B1E",
           "#882255", "#999933")  # fmt: skip
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 1)),
          (0, (2, 2)), (0, (1, 3)), (0, (5, 1, 1, 1, 1, 1)), (0, (10, 3)))  # fmt: skip


def draw_curves(rows: dict[str, list[Seed]], path: Path) -> None:
    """Draws the mean distance of each row, with a band from minimum to maximum over the seeds.

    The final evaluation's floor is dotted. Raises ValueError for more rows than colours.
    """
    curves = {title: _curve(seeds) for title, seeds in rows.items()}
    titles = sorted(curves, key=lambda title: statistics.mean(curves[title][-1][1]))
    figure, axis = plt.subplots(figsize=(9, 5), layout="constrained")
    styles = COLOURS[: len(titles)], DASHES[: len(titles)]
    for title, colour, dash in zip(titles, *styles, strict=True):
        _draw_curve(axis, curves[title], colour, dash, title)
    floor = next(iter(rows.values()))[0]["evaluation"]["floor"]["frechet_distance"]
    axis.axhline(floor, color="grey", linestyle=":", label="real images (floor)")
    axis.set(xlabel="images seen", ylabel="Fréchet distance", xscale="log", yscale="log")
    axis.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator())
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.legend(reverse=True)  # like the ends of the curves, the highest above
    figure.savefig(path, dpi=80, metadata={"Software": None})
    plt.close(figure)


def _curve(seeds: list[Seed]) -> Curve:
    """Returns the distances of all seeds at each number of images where all were evaluated."""
    runs = [dict(map(tuple, seed["curve"])) for seed in seeds]
    seen = sorted(set.intersection(*(set(run) for run in runs)))
    return [(images, [run[images] for run in runs]) for images in seen]


def _draw_curve(axis: Axes, curve: Curve, colour: str, dash: Any, label: str) -> None:
    seen, values = zip(*curve, strict=True)
    axis.plot(seen, [*map(statistics.mean, values)], color=colour, linestyle=dash, label=label)
    axis.fill_between(seen, [*map(min, values)], [*map(max, values)], color=colour, alpha=0.15)
