"""The paper's arithmetic with latents: concepts that are added and subtracted, and a turn.

Shapes: N samples, T trials, E exemplars, P places, Z latent, C channels, H x W pixels.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan.errors import ConfigError
from gan.paper.concepts import CLEARLY, Pool, Scores, make_pool, shows
from gan.paper.result import Chart, Result, Sheet
from gan.sampling import Trained

_EXEMPLARS = 3  # latents of a concept whose mean is used
_NOISE, _NOISES = 0.25, 4  # uniform, on each side; images with noise of each sum
_TURNING = 4  # latents on each side whose means differ by the vector that turns
_PLACES = torch.linspace(-1, 1, 7)  # along that vector
_EXTREMES = 0.05  # share of the samples on each side that turning latents are drawn from
_FRESH, _TURNED = 500, 200  # samples that sums are compared with; the first of them are turned
_SHOWN = 4
_SUM, _NOISY, _PIXELS = "three latents", "three latents, noise", "three images, in pixels"
_DEFAULTS = {"celeba": ("Smiling", "not Male", "Male"), "mnist": ("thick", "1", "7")}

Parts = tuple[tuple[str, str], ...]  # the two concepts of each of a, b, c


def run(
    trained: Trained, *, seed: int, num: int, trials: int,
    trait: str | None, start: str | None, end: str | None,
) -> Result:  # fmt: skip
    """Adds and subtracts concepts `trials` times, with latents chosen from `num` samples.

    In a - b + c, a has the trait, b and c have not; a and b are of group `start`, c of `end`.
    """
    given = zip((trait, start, end), _DEFAULTS.get(trained.cfg.data.source, [""] * 3), strict=True)
    trait, start, end = (value or default for value, default in given)
    if not (trait and start and end):
        raise ConfigError("these data need --trait, --start and --end; for digits these are "
                          "thick, 1 and 7")  # fmt: skip
    parts = (trait, start), (opposite(trait), start), (opposite(trait), end)
    z, stream = trained.latents(num + _FRESH, seed), np.random.default_rng(seed)
    pool, fresh = make_pool(trained, z[:num]), z[num:]
    picked = pick(pool.seen.scores, parts, trials, stream)
    sums = latent_sums(pool.z, picked)
    noise = stream.uniform(-_NOISE, _NOISE, (_NOISES, *sums[_SUM].shape))
    sums[_NOISY] = (sums[_SUM] + torch.from_numpy(noise).float()).flatten(0, 1)
    drawn = {name: trained.images(made)
             for name, made in {"random samples": fresh, **sums}.items()}  # fmt: skip
    drawn[_PIXELS] = pixel_sums(pool.images, picked)
    rates = {name: judge(pool, images, trait, end) for name, images in drawn.items()}
    turns = {name: turn(trained, pool, fresh[:_TURNED], vectors)
             for name, vectors in turning_vectors(pool, stream).items()}  # fmt: skip
    turned, pose = {name: made for name, (made, _) in turns.items()}, pool.concepts.pose
    title = "({}, {}) - ({}, {}) + ({}, {})".format(*sum(parts, ()))
    numbers = {"sum": title, "num_samples": num, "trials": trials, "rates": rates,
               "pose": pose, "places": _PLACES.tolist(), "turned": turned}  # fmt: skip
    lines = [title]
    lines += [f"{name}: {rate['both']:.0%} are both, {rate['trait']:.0%} {trait}, {rate['end']:.0%}"
              f" {end}; {rate['distance']:.2f} to the nearest sample in features"
              for name, rate in rates.items()]  # fmt: skip
    lines += [f"along {name} vectors: {made['rising']:.0%} are more {pose} at the end"
              for name, made in turned.items()]  # fmt: skip
    sheet = Sheet(f"{title}: three samples and the image of their mean, thrice; the sum; with "
                  "noise; in pixels", *_rows(trained, pool, picked, drawn))  # fmt: skip
    return Result([[sheet], _panels(turns["pose"][1], numbers)], numbers, lines)


def _panels(turned: np.ndarray, numbers: dict[str, Any]) -> list[Sheet | Chart]:
    rates = numbers["rates"]
    curves = {key: ([rate[key] for rate in rates.values()], [*rates])
              for key in ("trait", "end", "both")}  # fmt: skip
    return [Sheet(f"other samples, along vectors to more {numbers['pose']}",
                  turned[: _SHOWN * len(_PLACES)], len(_PLACES)),
            Chart("share of sums", curves, {"xlim": (0, 1.02)})]  # fmt: skip


def opposite(concept: str) -> str:
    """Returns "not NAME" for "NAME", and the reverse."""
    name = concept.removeprefix("not ")
    return f"not {name}" if name == concept else name


def pick(scores: Scores, parts: Parts, trials: int, stream: np.random.Generator) -> np.ndarray:
    """Returns indices of samples (T, 4, E) that clearly show the concepts a, b, c, and b again.

    The second b are other samples than the first. Raises ValueError if there are too few.
    """
    drawn = []
    for (trait, group), times in zip(parts, (1, 2, 1), strict=True):
        rows = np.flatnonzero(shows(scores, trait, CLEARLY) & shows(scores, group, CLEARLY))
        if len(rows) < 2 * times * _EXEMPLARS:
            raise ValueError(f"only {len(rows)} samples clearly show {trait} and {group}; raise "
                             "--num, or choose other concepts")  # fmt: skip
        trial = (stream.choice(rows, (times, _EXEMPLARS), replace=False) for _ in range(trials))
        drawn.append(np.stack([*trial]))  # (T, times, E)
    return np.concatenate(drawn, 1)[:, [0, 1, 3, 2]]


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


def judge(pool: Pool, images: np.ndarray, trait: str, end: str) -> dict[str, float]:
    """Returns the shares of images (N, C, H, W) that show the trait, the group `end`, and both.

    `distance` is the median distance to the nearest sample of the pool, in features.
    """
    seen = pool.concepts(images)
    has_trait, is_end = shows(seen.scores, trait), shows(seen.scores, end)
    nearest = torch.cdist(seen.features, pool.seen.features).min(1).values
    return {"trait": float(has_trait.mean()), "end": float(is_end.mean()),
            "both": float((has_trait & is_end).mean()),
            "distance": float(nearest.median())}  # fmt: skip


def turning_vectors(pool: Pool, stream: np.random.Generator) -> dict[str, Tensor]:
    """Returns vectors (200, Z): the mean of four latents less that of four others.

    For "pose" they are from the samples with the most and the least of it, for "random" any.
    """
    order = np.argsort(pool.seen.scores[pool.concepts.pose])
    num = max(round(_EXTREMES * len(order)), _TURNING)

    def means(rows: np.ndarray) -> Tensor:
        drawn = [stream.choice(rows, _TURNING, replace=False) for _ in range(_TURNED)]
        return pool.z[torch.from_numpy(np.stack(drawn))].mean(1)

    return {"pose": means(order[-num:]) - means(order[:num]), "random": means(order) - means(order)}


def turn(
    trained: Trained, pool: Pool, z: Tensor, vectors: Tensor
) -> tuple[dict[str, Any], np.ndarray]:
    """Adds vectors (N, Z) to latents (N, Z); returns the numbers and the images (N P, C, H, W).

    `score` is the mean of the pose at each place, `rising` the share with more of it at the last
    place than at the first.
    """
    lines = z[:, None] + _PLACES[:, None] * vectors[:, None]  # (N, P, Z)
    images = trained.images(lines.flatten(0, 1))
    scores = pool.concepts.measure(pool.concepts.pose, images).reshape(lines.shape[:2])
    rising = float((scores[:, -1] > scores[:, 0]).mean())
    return {"score": scores.mean(0).tolist(), "rising": rising}, images


def _rows(
    trained: Trained, pool: Pool, picked: np.ndarray, drawn: dict[str, np.ndarray]
) -> tuple[np.ndarray, int]:
    """Returns rows of exemplars, the images of their means, and results, and the row's length."""
    images: list[np.ndarray] = []
    for trial, chosen in enumerate(picked[:_SHOWN, :3]):
        means = trained.images(pool.z[torch.from_numpy(chosen)].mean(1))
        for samples, mean in zip(chosen, means, strict=True):
            images += [*pool.images[samples], mean]
        images += [drawn[_SUM][trial], *drawn[_NOISY][trial :: len(picked)], drawn[_PIXELS][trial]]
    return np.stack(images), len(images) // _SHOWN
