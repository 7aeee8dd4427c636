"""The paper's arithmetic with latents: concepts that are added and subtracted, and a turn.

Shapes: N samples, T trials, E exemplars, P places, Z latent, C channels, H x W pixels.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gan.errors import ConfigError
from gan.paper.concepts import CLEARLY, Concepts, Scores, make_concepts, opposite, shows
from gan.paper.result import Result
from gan.sampling import Trained, grid

_EXEMPLARS = 3  # latents of a concept whose mean is used
_NOISE = 0.25  # uniform, on each side
_TURNING = 4  # latents on each side whose means differ by the vector that turns
_PLACES = np.linspace(-1, 1, 7)  # along that vector
_EXTREMES = 0.05  # share of the samples on each side that turning latents are drawn from
_REPEATS = 10  # vectors that turn
_FRESH = 500  # samples that are compared with sums; some of them are turned
_TURNED = 64
_SHOWN = 4
_DEFAULTS = {"celeba": ("Smiling", "not Male", "Male"), "mnist": ("thick", "1", "7")}


class Pool(NamedTuple):
    """Samples that latents are chosen from."""

    z: Tensor  # (N, Z)
    images: np.ndarray  # uint8 (N, C, H, W)
    features: Tensor  # (N, F)
    scores: Scores
    concepts: Concepts


class Sum(NamedTuple):
    """a - b + c: a has the trait, b and c have not; a and b are of group `start`, c of `end`."""

    trait: str
    start: str
    end: str

    def __str__(self) -> str:
        without = opposite(self.trait)
        return (f"({self.trait}, {self.start}) - ({without}, {self.start}) "
                f"+ ({without}, {self.end})")  # fmt: skip


def run(
    trained: Trained, *, seed: int, num: int, trials: int,
    trait: str | None, start: str | None, end: str | None,
) -> Result:  # fmt: skip
    """Adds and subtracts concepts `trials` times, with latents chosen from `num` samples."""
    names = [
        given or default
        for given, default in zip(
            (trait, start, end), _DEFAULTS.get(trained.cfg.data.source, ("", "", "")), strict=True
        )
    ]
    if not all(names):
        raise ConfigError("needs --trait, --start and --end for these data; an example of digits: "
                          "--trait thick --start 1 --end 7")  # fmt: skip
    total, stream = Sum(*names), np.random.default_rng(seed)
    z = trained.latents(num + _FRESH, seed)
    pool = make_pool(trained, z[:num])
    picked = pick(pool.scores, total, trials, stream)
    sums = latent_sums(pool.z, picked)
    noise = torch.from_numpy(stream.uniform(-_NOISE, _NOISE, (trials, z.shape[1]))).float()
    drawn = {"random samples": trained.images(z[num:])}
    drawn |= {name: trained.images(made) for name, made in sums.items()}
    drawn["three latents, noise"] = trained.images(sums["three latents"] + noise)
    drawn["three images, in pixels"] = pixel_sums(pool.images, picked)
    rates = {name: judge(pool, images, total) for name, images in drawn.items()}
    turns = turn(trained, pool, z[num : num + _TURNED], stream)
    numbers = {"sum": str(total), "num_samples": num, "trials": trials, "rates": rates,
               "turn": pool.concepts.pose, "places": _PLACES.tolist(), "turned": turns}  # fmt: skip
    lines = [str(total)] + [
        f"{name}: {rate['both']:.0%} {total.trait} and {total.end} ({rate['trait']:.0%}, "
        f"{rate['end']:.0%}); {rate['distance']:.2f} from the nearest sample in features"
        for name, rate in rates.items()
    ] + [f"{name}: {made['rising']:.0%} are more {pool.concepts.pose} at its end"
         for name, made in turns.items()]  # fmt: skip
    return Result(_draw(trained, pool, picked, drawn, z[num:], numbers, stream), numbers, lines)


def make_pool(trained: Trained, z: Tensor) -> Pool:
    """Draws the images of latents (N, Z), and scores them."""
    images = trained.images(z)
    concepts = make_concepts(trained, images)
    seen = concepts.network(images)
    return Pool(z, images, seen.features, concepts.scores(seen, images), concepts)


def pick(scores: Scores, total: Sum, trials: int, stream: np.random.Generator) -> np.ndarray:
    """Returns indices of samples (T, 4, E) that clearly show the concepts a, b, c, and b again.

    The second b are other samples than the first. Raises ValueError if there are too few.
    """
    without = opposite(total.trait)
    columns = []
    wanted = ((total.trait, total.start, 1), (without, total.start, 2), (without, total.end, 1))
    for trait, group, times in wanted:
        is_clear = shows(scores, trait, CLEARLY) & shows(scores, group, CLEARLY)
        rows = np.flatnonzero(is_clear)
        if len(rows) < 2 * times * _EXEMPLARS:
            raise ValueError(f"only {len(rows)} of {len(is_clear):,} samples clearly show {trait} "
                             f"and {group}; raise --num, or choose other concepts")  # fmt: skip
        columns.append([stream.choice(rows, times * _EXEMPLARS, replace=False)
                        for _ in range(trials)])  # fmt: skip
    a, b, c = (np.stack(column) for column in columns)
    return np.stack([a, b[:, :_EXEMPLARS], c, b[:, _EXEMPLARS:]], 1)


def latent_sums(z: Tensor, picked: np.ndarray) -> dict[str, Tensor]:
    """Returns sums (T, Z) of latents (N, Z), from one and from three of each concept.

    A sum of three single latents is longer than a latent, by the root of three; one of means of
    three has the usual length. One sum of single latents is shortened to it. In the sum without
    the trait, a is replaced by samples of b.
    """
    chosen = z[torch.from_numpy(picked)]  # (T, 4, E, Z)
    a, b, c, other_b = chosen.mean(2).unbind(1)
    one = chosen[:, 0, 0] - chosen[:, 1, 0] + chosen[:, 2, 0]
    usual = one * (z.norm(dim=1).mean() / one.norm(dim=1, keepdim=True))
    return {"one latent": one, "one latent, shortened": usual, "three latents": a - b + c,
            "three latents, b for a": other_b - b + c}  # fmt: skip


def pixel_sums(images: np.ndarray, picked: np.ndarray) -> np.ndarray:
    """Returns the same sums in pixels, clipped to 0..255: uint8 (T, C, H, W)."""
    made = []
    for rows in picked:
        a, b, c, _ = images[rows].astype(np.float32).mean(1)
        made.append((a - b + c).clip(0, 255))
    return np.stack(made).round().astype(np.uint8)


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


def turn(
    trained: Trained, pool: Pool, z: Tensor, stream: np.random.Generator
) -> dict[str, dict[str, Any]]:
    """Moves other latents (N, Z) along vectors from one pose to the other, and random vectors.

    Gives the mean score of the pose at each place, and the share of the latents that have more at
    the last place than at the first.
    """
    order = np.argsort(pool.scores[pool.concepts.pose])
    num = max(round(_EXTREMES * len(order)), _TURNING)
    found = {}
    for name, low, high in (("pose", order[:num], order[-num:]), ("random", order, order)):
        lines = along(z, turning_vectors(pool.z, low, high, len(z), stream))
        images = trained.images(lines.flatten(0, 1))
        scores = pool.concepts.measures[pool.concepts.pose](images).reshape(lines.shape[:2])
        rising = float((scores[:, -1] > scores[:, 0]).mean())
        found[name] = {"score": scores.mean(0).tolist(), "rising": rising}
    return found


def turning_vectors(
    z: Tensor, low: np.ndarray, high: np.ndarray, num: int, stream: np.random.Generator
) -> Tensor:
    """Returns vectors (num, Z): the mean of four latents of `high` less that of four of `low`."""
    vectors = []
    for _ in range(num):
        to, start = (z[stream.choice(rows, _TURNING, replace=False)] for rows in (high, low))
        vectors.append(to.mean(0) - start.mean(0))
    return torch.stack(vectors)


def along(z: Tensor, vectors: Tensor) -> Tensor:
    """Returns latents (N, P, Z) on lines through `z` (N, Z) along `vectors` (N, Z)."""
    return z[:, None] + torch.from_numpy(_PLACES).float()[:, None] * vectors[:, None]


def _draw(
    trained: Trained, pool: Pool, picked: np.ndarray, drawn: dict[str, np.ndarray], z: Tensor,
    numbers: dict[str, Any], stream: np.random.Generator,
) -> Figure:  # fmt: skip
    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplot_mosaic([["sums", "sums"], ["turn", "rates"]])
    three = latent_sums(pool.z, picked)["three latents"]
    rows = []
    for i, chosen in enumerate(picked[:_SHOWN]):
        noise = torch.from_numpy(stream.uniform(-_NOISE, _NOISE, (4, pool.z.shape[1]))).float()
        for concept in chosen[:3]:
            mean = trained.images(pool.z[torch.from_numpy(concept)].mean(0, keepdim=True))
            rows += [pool.images[concept], mean]
        rows += [drawn["three latents"][i : i + 1], trained.images(three[i] + noise),
                 drawn["three images, in pixels"][i : i + 1]]  # fmt: skip
    _show(panels["sums"], np.concatenate(rows), len(rows[0]) * 3 + 9)
    panels["sums"].set_title(f"{numbers['sum']}: three samples and the sample of their mean, thrice"
                             "; the result; with noise, 4 times; in pixels", fontsize=9)  # fmt: skip
    turned = along(pool.z, z[:_SHOWN], pose_ends(pool), stream).flatten(0, 1)
    _show(panels["turn"], trained.images(turned), len(_PLACES))
    panels["turn"].set_title(f"along a vector: {numbers['turn']}", fontsize=9)
    rates = numbers["rates"]
    places = np.arange(len(rates))
    for shift, key in ((-0.27, "trait"), (0, "end"), (0.27, "both")):
        panels["rates"].barh(places + shift, [r[key] for r in rates.values()], 0.25, label=key)
    panels["rates"].set(yticks=places, yticklabels=list(rates), xlim=(0, 1), xlabel="share")
    panels["rates"].invert_yaxis()
    panels["rates"].legend()
    return figure


def _show(axes: Any, images: np.ndarray, columns: int) -> None:
    axes.imshow(grid(images, columns).squeeze(), cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
