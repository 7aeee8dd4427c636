"""Redraws the figures of the lesson on GANs, with the lesson's own code.

python scripts/draw_gan.py
"""

import copy
from pathlib import Path
from typing import NamedTuple

import click
import torch
from lesson_drawing import BLUE, GREEN, INK, ORANGE, RED, save_page
from lesson_gan import play, real_points, sample, train
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import softplus

from gan.training.collapse import _MIN_DIVERSITY, diversity

FIGURES = Path(__file__).parents[1] / "docs" / "figures"
NUM_STEPS, NUM_COLLAPSED_STEPS = 500, 300
WINDOW = 100  # steps at the end of a run whose paths are drawn
NUM_PATHS = 30


class Run(NamedTuple):
    """What the figures show of one training run; S steps."""

    moments: list[tuple[int, nn.Module, nn.Module]]  # step, G, D
    g: nn.Module
    g_ema: nn.Module
    paths: tuple[Tensor, Tensor]  # (S, N, 2): G(z) after each step, and the average's
    values: dict[str, list[float]]  # by name, after each step


def record(num_steps: int, **settings: float) -> Run:
    """Trains with the lesson's code and records what the figures need."""
    torch.manual_seed(0)
    z = torch.randn(64, 8)
    real = real_points(64).numpy()
    shown = {num_steps // 10, num_steps // 4, num_steps // 2, num_steps}
    moments, paths, values = [], [], {}
    for step, (g, d, g_ema, logged) in enumerate(train(num_steps, **settings), 1):
        with torch.no_grad():
            points = g(z), g_ema(z)
        paths.append(torch.stack(points))
        logged["margin"] = logged["d/real"] - logged["d/fake"]
        logged["diversity"] = diversity(points[1].numpy(), real)
        for name, value in logged.items():
            values.setdefault(name, []).append(value)
        if step in shown:
            moments.append((step, copy.deepcopy(g), copy.deepcopy(d)))
    raw, averaged = torch.stack(paths, dim=1)
    return Run(moments, g, g_ema, (raw, averaged), values)


def draw_losses(path: Path) -> None:
    """Draws both losses of G, and their slopes, against D's logit for a fake."""
    logit = torch.linspace(-8, 8, 200, requires_grad=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for loss, name, colour, dash in (
        (softplus(-logit), "non-saturating: −log D(G(z))", BLUE, "-"),
        (-softplus(logit), "saturating: log(1 − D(G(z)))", ORANGE, "--"),
    ):
        (slope,) = torch.autograd.grad(loss.sum(), logit)
        left.plot(logit.detach(), loss.detach(), color=colour, linestyle=dash, label=name)
        right.plot(logit.detach(), slope.abs(), color=colour, linestyle=dash)
    left.set(title="loss of G", xlabel="D's logit for a fake")
    right.set(title="size of the gradient", xlabel="D's logit for a fake")
    right.axvspan(-8, -4, color="#EEEEEE", zorder=0)
    right.text(
        -6, 0.5, "early in training:\nD is sure that\na fake is fake", ha="center", va="center"
    )
    left.legend(loc="lower left", fontsize=8)
    _save(figure, path)


def draw_training(path: Path, run: Run) -> None:
    """Draws real and generated points over D's output at four steps."""
    figure, axes = plt.subplots(1, 4, figsize=(10, 2.6), layout="constrained")
    side = torch.linspace(-3.5, 3.5, 80)
    grid = torch.cartesian_prod(side, side)
    torch.manual_seed(0)
    real = real_points(300)
    for ax, (step, g, d) in zip(axes, run.moments, strict=True):
        with torch.no_grad():
            output = d(grid).sigmoid().view(80, 80).T.numpy()
        image = ax.imshow(
            output, origin="lower", extent=(-3.5, 3.5, -3.5, 3.5), cmap="gray", vmin=0, vmax=1
        )
        ax.scatter(*real.T, s=3, color=BLUE, label="real")
        ax.scatter(*sample(g, 300).T, s=3, color=ORANGE, label="generated")
        ax.set(title=f"step {step}", xticks=[], yticks=[], xlim=(-3.5, 3.5), ylim=(-3.5, 3.5))
    axes[0].legend(loc="upper left", fontsize=8, markerscale=3)
    figure.colorbar(image, ax=axes, label="D's output", shrink=0.9)
    _save(figure, path)


def draw_game(path: Path) -> None:
    """Draws the paths of the game for three values of beta1, each with its mean."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
    for ax, beta1 in zip(axes, (0.0, 0.5, 0.9), strict=True):
        steps = play(beta1)
        ax.plot(*steps.T, color=BLUE, lw=1)
        ax.plot(*steps[0].tolist(), "s", color=INK, label="start")
        ax.plot(*steps.mean(0).tolist(), "o", color=RED, label="mean of the path")
        ax.plot(0, 0, "+", color=INK, ms=12, label="solution")
        ax.set(title=f"β1 = {beta1:g}", xlim=(-7, 7), ylim=(-7, 7), aspect="equal")
    axes[0].legend(fontsize=8, loc="upper left")
    _save(figure, path)


def draw_average(path: Path, run: Run) -> None:
    """Draws where the same latents land during the last steps, for G and for its average."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 4.1), layout="constrained")
    for ax, points, name in zip(axes, run.paths, ("G", "the average of G"), strict=True):
        for one in points[-WINDOW:, :NUM_PATHS].unbind(1):
            ax.plot(*one.T, color=BLUE, lw=0.7)
            ax.plot(*one[-1].tolist(), ".", color=ORANGE, ms=7)
        _frame(ax, f"{name}: {NUM_PATHS} latents, last {WINDOW} steps")
    _save(figure, path)


def draw_collapse(path: Path, healthy: Run, collapsed: Run) -> None:
    """Draws the points of a healthy and a collapsed run, and the values that were logged."""
    figure = plt.figure(figsize=(10, 5.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    torch.manual_seed(0)
    real = real_points(300)
    for ax, g, name in zip(
        above.subplots(1, 4),
        (healthy.g, healthy.g_ema, collapsed.g, collapsed.g_ema),
        ("healthy, G", "healthy, average", "collapsed, G", "collapsed, average"),
        strict=True,
    ):
        ax.scatter(*real.T, s=2, color=BLUE)
        ax.scatter(*sample(g, 300).T, s=4, color=RED if "collapsed" in name else GREEN)
        _frame(ax, name)
    _draw_values(below, healthy, collapsed)
    _save(figure, path)


def _draw_values(figure: Figure, healthy: Run, collapsed: Run) -> None:
    titles = {"loss/d": "D's loss", "margin": "D(x) − D(G(z))", "diversity": "diversity"}
    for ax, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        for run, label, colour, dash in (
            (healthy, "healthy", GREEN, "-"),
            (collapsed, "collapsed", RED, "--"),
        ):
            smooth = torch.tensor(run.values[name]).unfold(0, 10, 10).mean(1)
            ax.plot(range(10, 10 * len(smooth) + 1, 10), smooth, dash, color=colour, label=label)
        ax.set(title=title, xlabel="step")
    ax.axhline(_MIN_DIVERSITY, color=INK, lw=1, ls=":")
    ax.text(5, _MIN_DIVERSITY, "warning below", va="bottom", size=8)
    ax.set(yscale="log")
    ax.legend(fontsize=8)


def _frame(ax: Axes, title: str) -> None:
    ax.set(title=title, xticks=[], yticks=[], xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal")


def _save(figure: Figure, path: Path) -> None:
    """Writes a PNG of 128 colours, a third as large as one of all colours."""
    save_page(figure, path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(128).save(path, optimize=True)


@click.command()
@click.option("--figures-dir", default=FIGURES, type=click.Path(path_type=Path))
def main(figures_dir: Path) -> None:
    """Redraws every figure of the lesson on GANs."""
    figures_dir.mkdir(parents=True, exist_ok=True)
    healthy, collapsed = record(NUM_STEPS), record(NUM_COLLAPSED_STEPS, g_rate=0.03)
    draw_losses(figures_dir / "gan_losses.png")
    draw_training(figures_dir / "gan_training.png", healthy)
    draw_game(figures_dir / "gan_game.png")
    draw_average(figures_dir / "gan_average.png", healthy)
    draw_collapse(figures_dir / "gan_collapse.png", healthy, collapsed)
    click.echo(f"wrote 5 figures to {figures_dir}")


if __name__ == "__main__":
    main()
