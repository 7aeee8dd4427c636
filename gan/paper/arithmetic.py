"""The paper's arithmetic with latents, and its turn: T trials, E exemplars, P places."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan.errors import ConfigError
from gan.paper.concepts import CLEARLY, Pool, Scores, shows
from gan.paper.result import Result, Rows
from gan.pretrained.trained import Trained
from gan.sampling import grid

_EXEMPLARS = 3  # latents of a concept whose mean is used
_NOISE, _NOISES = 0.25, 4  # uniform, on each side; images with noise of each sum
_TURNING = 4  # latents on each side whose means differ by the vector that turns
_PLACES = torch.linspace(-1, 1, 7)  # along that vector
_EXTREMES = 0.05  # share of the samples on each side that turning latents are drawn from
_FRESH, _TURNED = 500, 200  # samples that sums are compared with; the first of them are turned
_TRIALS, _SHOWN = 200, 4  # sums, each of other samples; rows of the figure
_SUM, _NOISY, _PIXELS = "three latents", "three latents, noise", "three images, in pixels"
_DIGITS = ("thick", "1", "7")
_DEFAULTS = {"celeba": ("Smiling", "not Male", "Male"), "mnist": _DIGITS, "mnist5k": _DIGITS}


def run(trained: Trained, *, seed: int, num: int, concepts: tuple[str, ...] | None) -> Result:
    """Computes a - b + c many times, with latents chosen from `num` samples: a has the trait, b
    and c have not; a and b are of group `start`, c of `end`."""
    if not (concepts := concepts or _DEFAULTS.get(trained.cfg.data.source)):
        raise ConfigError("these data need --concepts TRAIT START END; for digits, thick 1 7")
    trait, start, end = concepts
    without = trait.removeprefix("not ") if trait.startswith("not ") else f"not {trait}"
    parts = (trait, start), (without, start), (without, end), (without, start)
    z, stream = trained.latents(num + _FRESH, seed), np.random.default_rng(seed)
    pool, fresh = Pool(trained, z[:num]), z[num:]
    picked = pick(pool.scores, parts, stream)
    sums = latent_sums(pool.z, picked)
    noise = stream.uniform(-_NOISE, _NOISE, (_TRIALS, _NOISES, z.shape[1]))
    sums[_NOISY] = (sums[_SUM][:, None] + torch.from_numpy(noise).float()).flatten(0, 1)
    drawn = {"random samples": trained.images(fresh)}
    drawn |= {name: trained.images(made) for name, made in sums.items()}
    in_pixels = total(torch.from_numpy(pool.images), picked)
    drawn[_PIXELS] = in_pixels.round().clamp(0, 255).byte().numpy()
    rates = {name: judge(pool, images, trait, end) for name, images in drawn.items()}
    turned, film = turn(pool, fresh[:_TURNED], stream)
    title = "({}, {}) - ({}, {}) + ({}, {})".format(*sum(parts[:3], ()))
    curves = {key: ([rate[key] for rate in rates.values()], [*rates])
              for key in ("trait", "end", "both")}  # fmt: skip
    figure: Rows = [
        {f"{title}: three of each; the images of their means; the sum; with noise; in pixels":
         _sheet(pool, picked, drawn)},
        {f"other samples, along vectors to more {pool.pose}":
         grid(film[: _SHOWN * len(_PLACES)], len(_PLACES)),
         "share of sums": (curves, {"xlim": (0, 1.02)})}]  # fmt: skip
    return figure, {"sum": title, "num_samples": num, "trials": _TRIALS, "rates": rates,
                    "pose": pool.pose, "turned": turned}  # fmt: skip


def _sheet(pool: Pool, picked: Tensor, drawn: dict[str, np.ndarray]) -> np.ndarray:
    """Draws a row for each of the first trials of `picked` (T, 4, E)."""
    means = pool.trained.images(pool.z[picked[:_SHOWN, :3]].mean(2).flatten(0, 1))
    parts = [pool.images[picked[:_SHOWN, :3]], means]
    parts += [drawn[_SUM][:_SHOWN], drawn[_NOISY][: _SHOWN * _NOISES], drawn[_PIXELS][:_SHOWN]]
    images = np.concatenate([part.reshape(_SHOWN, -1, *means.shape[1:]) for part in parts], 1)
    return grid(images.reshape(-1, *means.shape[1:]), images.shape[1])


def pick(scores: Scores, parts: Sequence[tuple[str, str]], stream: np.random.Generator) -> Tensor:
    """Returns indices (T, parts, E) of samples that clearly show both concepts of each part."""
    drawn = []
    for trait, group in parts:
        rows = np.flatnonzero(shows(scores, trait, CLEARLY) & shows(scores, group, CLEARLY))
        if len(rows) < 2 * _EXEMPLARS:
            raise ValueError(f"only {len(rows)} samples clearly show {trait} and {group}; raise "
                             "--num, or choose other concepts")  # fmt: skip
        drawn.append([stream.choice(rows, _EXEMPLARS, replace=False) for _ in range(_TRIALS)])
    return torch.tensor(np.array(drawn)).transpose(0, 1)


def total(values: Tensor, picked: Tensor) -> Tensor:
    """Returns sums a - b + c (T, ...) of the means of values (N, ...), picked by (T, 3 or 4, E)."""
    a, b, c = values[picked[:, :3]].float().mean(2).unbind(1)
    return a - b + c


def latent_sums(z: Tensor, picked: Tensor) -> dict[str, Tensor]:
    """Returns sums (T, Z) of latents (N, Z): of single ones, which are longer than a latent by the
    root of three; of means of three; and with other samples of b in the place of a."""
    one = total(z, picked[:, :, :1])
    usual = one * (z.norm(dim=1).mean() / one.norm(dim=1, keepdim=True))
    return {"one latent": one, "one latent, shortened": usual, _SUM: total(z, picked),
            "three latents, b for a": total(z, picked[:, [3, 1, 2]])}  # fmt: skip


def judge(pool: Pool, images: np.ndarray, trait: str, end: str) -> dict[str, float]:
    """Returns the shares of images (N, C, H, W) that show the trait, the group `end`, and both, and
    the median distance to the nearest sample of the pool, in features."""
    seen, scores = pool(images)
    has, is_end = shows(scores, trait), shows(scores, end)
    nearest = float(torch.cdist(seen.features, pool.seen.features).min(1).values.median())
    return {"trait": float(has.mean()), "end": float(is_end.mean()),
            "both": float((has & is_end).mean()), "distance": nearest}  # fmt: skip


def turn(pool: Pool, z: Tensor, stream: np.random.Generator) -> tuple[dict[str, Any], np.ndarray]:
    """Moves latents (N, Z) along vectors, the mean of four latents less that of four others: any,
    or those with the most and the least of the pose, whose images (N P, C, H, W) are returned
    too. `rising` is the share with more of the pose at the last place than at the first."""
    order = pool.scores[pool.pose].argsort()
    few = max(round(_EXTREMES * len(order)), _TURNING)
    numbers = {}
    for name, ends in {"random": (order, order), "pose": (order[-few:], order[:few])}.items():
        more, less = (pool.z[np.array([stream.choice(end, _TURNING, False) for _ in z])].mean(1)
                      for end in ends)  # fmt: skip
        lines = z[:, None] + _PLACES[:, None] * (more - less)[:, None]  # (N, P, Z)
        images = pool.trained.images(lines.flatten(0, 1))
        scores = pool(images)[1][pool.pose].reshape(lines.shape[:2])
        numbers[name] = {"score": scores.mean(0).tolist(),
                         "rising": float((scores[:, -1] > scores[:, 0]).mean())}  # fmt: skip
    return numbers, images
