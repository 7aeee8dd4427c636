"""Removes a concept from G: the feature maps (M of a layer) that draw it are found and dropped."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from gan.errors import ConfigError
from gan.paper.concepts import Pool, shows
from gan.paper.result import Result
from gan.pretrained.trained import Trained
from gan.sampling import generate, grid

_PARTS = (16, 8, 4)  # an n-th of a layer's maps is dropped
_DRAWS = 5  # of random maps
_NUM_TESTED = 1000
_SHOWN = 12  # samples with the concept, and without it
_FEWEST = 20  # samples with the concept
_DEFAULTS = {"celeba": "Smiling", "mnist": "0", "mnist5k": "0"}


def run(trained: Trained, *, seed: int, num: int, concept: str | None) -> Result:
    """Finds the maps of the first hidden layer on `num` samples; drops them in others."""
    if not (concept := concept or _DEFAULTS.get(trained.cfg.data.source)):
        raise ConfigError("these data need --concept; for faces Smiling, for digits 0")
    layer = next(module for module in trained.generator.layers if isinstance(module, nn.ReLU))
    pool = Pool(trained, trained.latents(num + _NUM_TESTED, seed))
    has = shows(pool.scores, concept)
    if has[:num].sum() < _FEWEST or not 0 < has[num:].mean() < 1:
        raise ValueError(f"{has.sum()} of {len(has):,} samples show {concept}, which is too few "
                         "or too many; raise --num, or choose another concept")  # fmt: skip
    means: list[Tensor] = []
    draw(trained, layer, pool.z[:num], lambda y: means.append(y.float().mean((2, 3)).cpu()))
    gains = gains_of(torch.cat(means).numpy(), has[:num])
    order, stream = gains.argsort()[::-1].copy(), np.random.default_rng(seed)

    def without(z: Tensor, maps: np.ndarray) -> np.ndarray:
        return draw(
            trained, layer, z, lambda y: y.index_fill(1, torch.tensor(maps, device=y.device), 0)
        )

    def rates(maps: np.ndarray) -> dict[str, float]:
        return judge(pool, without(pool.z[num:], maps), has[num:], concept)

    table: dict[int, dict[str, dict[str, float]]] = {}
    for count in sorted({max(len(order) // n, 1) for n in _PARTS} | {int((gains > 0).sum())}):
        draws = [rates(stream.permutation(order)[:count]) for _ in range(_DRAWS)]
        by_chance = {key: float(np.mean([row[key] for row in draws])) for key in draws[0]}
        table[count] = {"found": rates(order[:count]), "random": by_chance}
    curves = {f"{key}, {kind} maps": ([0, *table], [1, *(row[kind][key] for row in table.values())])
              for kind in ("found", "random") for key in ("left", "kept")}  # fmt: skip
    columns, quarter = min(_SHOWN, *np.bincount(has[num:])), order[: max(len(order) // 4, 1)]
    shown = [num + np.flatnonzero(part)[:columns] for part in (has[num:], ~has[num:])]
    images = [part for rows in shown
              for part in (pool.images[rows], without(pool.z[rows], quarter))]  # fmt: skip
    figure = [{f"{concept}; without a quarter of the maps; others; without the same":
               grid(np.concatenate(images), columns),
               "share of samples": (curves, {"xlabel": "maps dropped"})}]  # fmt: skip
    return figure, {"concept": concept, "maps": len(order), "num_samples": num,
                    "share_with_concept": float(has.mean()), "dropped": table}  # fmt: skip


def draw(trained: Trained, layer: nn.Module, z: Tensor, change: Callable[..., Any]) -> np.ndarray:
    """Draws the images of latents (N, Z) with a change of a layer's outputs (N, M, H', W')."""
    handle = layer.register_forward_hook(lambda _module, _inputs, output: change(output))
    try:
        return generate(trained.generator, z, None, trained.precision)
    finally:
        handle.remove()


def gains_of(activations: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Returns what each map (M,) adds, on the mean, to the logit of samples with the concept: its
    activation (N, M) times its weight in a logistic regression that tells them (N,) from others."""
    std = activations.std(0).clip(1e-6)
    found = LogisticRegression(C=0.1, max_iter=1000).fit(activations / std, has)
    return found.coef_[0] / std * activations[has].mean(0)


def judge(pool: Pool, images: np.ndarray, has: np.ndarray, concept: str) -> dict[str, float]:
    """Returns how many of the pool's last samples that `has` (N,) the concept still show it (left),
    and how many others keep their class, or how many other attributes stay (kept)."""
    (seen, scores), before = pool(images), pool.seen.logits[-len(has) :]
    others = [concept.removeprefix("not ") != name for name in pool.network.classes]
    same = (((seen.logits > 0) == (before > 0))[:, others] if pool.has_attributes
            else (seen.logits.argmax(1) == before.argmax(1))[~has])  # fmt: skip
    return {"left": float(shows(scores, concept)[has].mean()), "kept": float(same.float().mean())}
