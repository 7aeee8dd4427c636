"""The paper's arithmetic with latents: concepts that are added and subtracted, and a turn.

Shapes: N samples, T trials, E exemplars, P places, Z latent, C channels, H x W pixels.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gan.errors import ConfigError
from gan.paper.concepts import CLEARLY, Pool, Scores, make_pool, opposite, shows
from gan.paper.result import Result
from gan.sampling import Trained, grid

_EXEMPLARS = 3  # latents of a concept whose mean is used
_NOISE, _NOISES = 0.25, 4  # uniform, on each side; images with noise of each sum
_TURNING = 4  # latents on each side whose means differ by the vector that turns
_PLACES = torch.linspace(-1, 1, 7)  # along that vector
_EXTREMES = 0.05  # share of the samples on each side that turning latents are drawn from
_FRESH = 500  # samples that sums are compared with; the first of them are turned
_TURNED = 200
_SHOWN = 4
_SUM, _NOISY, _PIXELS = "three latents", "three latents, noise", "three images, in pixels"
_DEFAULTS = {"celeba": ("Smiling", "not Male", "Male"), "mnist": ("thick", "1", "7")}


class Sum(NamedTuple):
    """a - b + c: a has the trait, b and c have not; a and b are of group `start`, c of `end`."""

    trait: str
    start: str
    end: str

    def __str__(self) -> str:
        without = opposite(self.trait)
        parts = (self.trait, self.start), (without, self.start), (without, self.end)
        return "({}, {}) - ({}, {}) + ({}, {})".format(*sum(parts, ()))


def run(
    trained: Trained, *, seed: int, num: int, trials: int,
    trait: str | None, start: str | None, end: str | None,
) -> Result:  # fmt: skip
    """Adds and subtracts concepts `trials` times, with latents chosen from `num` samples."""
    defaults = _DEFAULTS.get(trained.cfg.data.source, ("", "", ""))
    total = Sum(trait or defaults[0], start or defaults[1], end or defaults[2])
    if not all(total):
        raise ConfigError("these data need --trait, --start and --end; for digits these are "
                          "thick, 1 and 7")  # fmt: skip
    z, stream = trained.latents(num + _FRESH, seed), np.random.default_rng(seed)
    pool, fresh = make_pool(trained, z[:num]), z[num:]
    picked = pick(pool.scores, total, trials, stream)
    sums = latent_sums(pool.z, picked)
    noise = stream.uniform(-_NOISE, _NOISE, (_NOISES, *sums[_SUM].shape))
    sums[_NOISY] = (sums[_SUM] + torch.from_numpy(noise).float()).flatten(0, 1)
    drawn = {"random samples": trained.images(fresh)}
    drawn |= {name: trained.images(made) for name, made in sums.items()}
    drawn[_PIXELS] = pixel_sums(pool.images, picked)
    rates = {name: judge(pool, images, total) for name, images in drawn.items()}
    pose = pool.concepts.pose
    turned = {name: turn(trained, pool, along(fresh[:_TURNED], vectors))
              for name, vectors in turning_vectors(pool, stream).items()}  # fmt: skip
    numbers = {"sum": str(total), "num_samples": num, "trials": trials, "rates": rates,
               "pose": pose, "places": _PLACES.tolist(), "turned": turned}  # fmt: skip
    lines = [str(total)]
    lines += [f"{name}: {rate['both']:.0%} are both, {rate['trait']:.0%} {total.trait}, "
              f"{rate['end']:.0%} {total.end}; {rate['distance']:.2f} to the nearest sample in "
              "features" for name, rate in rates.items()]  # fmt: skip
    lines += [f"along {name} vectors: {made['rising']:.0%} are more {pose} at the end"
              for name, made in turned.items()]  # fmt: skip
    shown = along(fresh[:_SHOWN], turning_vectors(pool, stream)["pose"])
    return Result(_draw(trained, pool, picked, drawn, shown, numbers), numbers, lines)


def pick(scores: Scores, total: Sum, trials: int, stream: np.random.Generator) -> np.ndarray:
    """Returns indices of samples (T, 4, E) that clearly show the concepts a, b, c, and b again.

    The second b are other samples than the first. Raises ValueError if there are too few.
    """
    without = opposite(total.trait)
    drawn = []
    wanted = (total.trait, total.start, 1), (without, total.start, 2), (without, total.end, 1)
    for trait, group, times in wanted:
        rows = np.flatnonzero(shows(scores, trait, CLEARLY) & shows(scores, group, CLEARLY))
        if len(rows) < 2 * times * _EXEMPLARS:
            raise ValueError(f"only {len(rows)} samples clearly show {trait} and {group}; raise "
                             "--num, or choose other concepts")  # fmt: skip
        trial = (stream.choice(rows, (times, _EXEMPLARS), replace=False) for _ in range(trials))
        drawn.append(np.stack([*trial]))  # (T, times, E)
    a, b, c = drawn
    return np.concatenate([a, b[:, :1], c, b[:, 1:]], 1)


def latent_sums(z: Tensor, picked: np.ndarray) -> dict[str, Tensor]:
    """Returns sums (T, Z) of latents (N, Z), from one and from three of each concept.

    A sum of three single latents is longer than a latent, by the root of three; one of means of
    three has the usual length. One sum of single latents is shortened to it. In the last sum
    samples of b are in the place of a, so that nothing adds the trait.
    """
    chosen = z[torch.from_numpy(picked)]  # (T, 4, E, Z)
    a, b, c, other_b = chosen.mean(2).unbind(1)
    one = chosen[:, 0, 0] - chosen[:, 1, 0] + chosen[:, 2, 0]
    usual = one * (z.norm(dim=1).mean() / one.norm(dim=1, keepdim=True))
    return {"one latent": one, "one latent, shortened": usual, _SUM: a - b + c,
            "three latents, b for a": other_b - b + c}  # fmt: skip


def pixel_sums(images: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """Returns the sums of three, of images (N, C, H, W) in pixels, clipped: (T, C, H, W)."""
    means = (images[rows].astype(np.float32).mean(1) for rows in picked)
    return np.stack([(a - b + c).clip(0, 255) for a, b, c, _ in means]).round().astype(np.uint8)


def judge(pool: Pool, images: np.ndarray, total: Sum) -> dict[str, float]:
    """Returns the shares of images (N, C, H, W) that show the trait, the group `end`, and both.

    `distance` is the median distance to the nearest sample of the pool, in features.
    """
    seen = pool.concepts.network(images)
    scores = pool.concepts.scores(seen, images)
    has_trait, is_end = shows(scores, total.trait), shows(scores, total.end)
    nearest = torch.cdist(seen.features, pool.features).min(1).values
    return {"trait": float(has_trait.mean()), "end": float(is_end.mean()),
            "both": float((has_trait & is_end).mean()),
            "distance": float(nearest.median())}  # fmt: skip


def turning_vectors(pool: Pool, stream: np.random.Generator) -> dict[str, Tensor]:
    """Returns vectors (200, Z): the mean of four latents less that of four others.

    For "pose" they are from the samples with the most and the least of it, for "random" any.
    """
    order = np.argsort(pool.scores[pool.concepts.pose])
    num = max(round(_EXTREMES * len(order)), _TURNING)
    found = {}
    for name, low, high in (("pose", order[:num], order[-num:]), ("random", order, order)):
        ends = [[stream.choice(rows, _TURNING, replace=False) for _ in range(_TURNED)]
                for rows in (high, low)]  # fmt: skip
        to, start = (pool.z[torch.from_numpy(np.stack(rows))].mean(1) for rows in ends)
        found[name] = to - start
    return found


def along(z: Tensor, vectors: Tensor) -> Tensor:
    """Returns latents (N, P, Z) on lines through `z` (N, Z), along the first N of `vectors`."""
    return z[:, None] + _PLACES[:, None] * vectors[: len(z), None]


def turn(trained: Trained, pool: Pool, lines: Tensor) -> dict[str, Any]:
    """Returns the mean score of the pose at each place of lines (N, P, Z), and the share of lines
    that have more of it at the last place than at the first."""
    measure = pool.concepts.measures[pool.concepts.pose]
    scores = measure(trained.images(lines.flatten(0, 1))).reshape(lines.shape[:2])
    return {
        "score": scores.mean(0).tolist(),
        "rising": float((scores[:, -1] > scores[:, 0]).mean()),
    }


def _draw(
    trained: Trained, pool: Pool, picked: np.ndarray, drawn: dict[str, np.ndarray], lines: Tensor,
    numbers: dict[str, Any],
) -> Figure:  # fmt: skip
    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplot_mosaic([["sums", "sums"], ["turn", "rates"]])
    columns: list[np.ndarray] = []
    for rows in picked[:_SHOWN, :3].swapaxes(0, 1):  # (4, E)
        mean = trained.images(pool.z[torch.from_numpy(rows)].mean(1))
        columns += [*pool.images[rows].swapaxes(0, 1), mean]
    noisy = drawn[_NOISY].reshape(_NOISES, -1, *mean.shape[1:])
    columns += [made[:_SHOWN] for made in (drawn[_SUM], *noisy, drawn[_PIXELS])]
    turned = trained.images(lines.flatten(0, 1))
    sheets = {"sums": (np.stack(columns, 1), f"{numbers['sum']}: three samples and the image of "
                       "their mean, thrice; the sum; with noise; in pixels"),
              "turn": (turned.reshape(*lines.shape[:2], *mean.shape[1:]),
                       f"other samples, along vectors to more {numbers['pose']}")}  # fmt: skip
    for name, (images, title) in sheets.items():
        sheet = grid(images.reshape(-1, *mean.shape[1:]), images.shape[1]).squeeze()
        panels[name].imshow(sheet, cmap="gray")
        panels[name].set_axis_off()
        panels[name].set_title(title, fontsize=9)
    rates, places = numbers["rates"], np.arange(len(numbers["rates"]))
    for shift, key in ((-0.27, "trait"), (0, "end"), (0.27, "both")):
        panels["rates"].barh(places + shift, [r[key] for r in rates.values()], 0.25, label=key)
    panels["rates"].set(yticks=places, yticklabels=list(rates), xlim=(0, 1), xlabel="share")
    panels["rates"].invert_yaxis()
    panels["rates"].legend()
    return figure
