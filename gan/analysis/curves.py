"""Curves of runs in one picture; runs that differ in the seed alone are one curve with a band."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gan.analysis.runs import Curve, RunFiles, as_utf_8

_NUM_POINTS = 200  # of a mean over runs
_FEW = 10  # points that get markers
_ABSENT = "not measured during the run\n(train.evaluate_every_steps, train.sample_every_steps)"
_STYLES = ("-", "--", ":", "-.")  # matplotlib has ten colours


def draw_curves(groups: Mapping[str, Sequence[RunFiles]]) -> bytes:
    """Returns a PNG with distance, diversity, and both losses against images seen."""
    runs = [run for group in groups.values() for run in group]
    distance = next(
        (name for name in ("frechet_distance", "sliced_wasserstein_mean")
         if any(name in run.last_scores for run in runs)), "frechet_distance",
    )  # fmt: skip
    panels = {
        f"metric/{distance}": f"{distance} (lower is better)",
        "samples/diversity": "diversity of the samples (real images: 1)",
        "loss/d": "loss of D",
        "loss/g": "loss of G",
    }
    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(2, 2).flat
    for axis, (tag, title) in zip(axes, panels.items(), strict=True):
        for i, (label, group) in enumerate(groups.items()):
            curves = [curve for run in group if len((curve := run.curve(tag))[0])]
            name = as_utf_8(label).replace("$", r"\$")  # or matplotlib reads a formula
            name = f" {name}" if name.startswith("_") else name  # or the legend leaves it out
            _draw(axis, curves, name, f"C{i % 10}", _STYLES[i // 10 % len(_STYLES)])
        axis.set(title=title, xlabel="images seen")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        if not axis.lines:
            axis.text(0.5, 0.5, _ABSENT, ha="center", va="center", transform=axis.transAxes)
        elif tag.startswith("metric/"):
            axis.set_yscale("log")
    handles, labels = axes[2].get_legend_handles_labels()  # every run has losses
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _draw(axis: Axes, curves: Sequence[Curve], label: str, color: str, style: str) -> None:
    """Draws each curve and, of several, their mean with a band of one standard deviation."""
    is_alone = len(curves) < 2
    for seen, values in curves:
        marker = "." if len(seen) < _FEW else ""  # a single point would not be seen
        axis.plot(
            seen, values, style, color=color, marker=marker, linewidth=1.2 if is_alone else 0.5,
            label=label if is_alone else None,
        )  # fmt: skip
    if is_alone:
        return
    # where all runs have values
    first, last = max(seen[0] for seen, _ in curves), min(seen[-1] for seen, _ in curves)
    shared = np.linspace(first, max(first, last), _NUM_POINTS)
    values = np.stack([np.interp(shared, *curve) for curve in curves])
    mean, deviation = values.mean(0), values.std(0, ddof=1)
    axis.plot(shared, mean, style, label=label, linewidth=1.6, color=color)
    axis.fill_between(shared, mean - deviation, mean + deviation, color=color, alpha=0.15)
