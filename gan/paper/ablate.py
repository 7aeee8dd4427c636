"""Removes a concept from a generator: the feature maps that draw it are found and set to zero.

Shapes: N samples, M feature maps of a layer, Z latent, C channels, H x W pixels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan.errors import ConfigError
from gan.paper.concepts import Concepts, Seen, make_pool, shows
from gan.paper.linear import logistic_regression
from gan.paper.result import Chart, Result, Sheet
from gan.sampling import Trained, generate

_PARTS = (16, 8, 4)  # an n-th of a layer's maps is dropped
_DRAWS = 5  # of random maps
_NUM_TESTED = 1000
_SHOWN = 12  # samples with the concept, and without it
_FEWEST = 20  # samples with the concept


def run(trained: Trained, *, seed: int, num: int, concept: str | None, layer: int) -> Result:
    """Finds the maps of hidden layer `layer` on `num` samples; drops them in others."""
    concept = concept or ("Smiling" if trained.cfg.data.source == "celeba" else "0")
    hidden = [module for module in trained.generator.layers if isinstance(module, nn.ReLU)]
    if layer > len(hidden):
        raise ConfigError(f"--layer {layer}: this generator has {len(hidden)} hidden layers")
    chosen = hidden[layer - 1]
    pool = make_pool(trained, trained.latents(num + _NUM_TESTED, seed))
    has = torch.from_numpy(shows(pool.seen.scores, concept))
    if has[:num].sum() < _FEWEST or not has[num:].any() or has[num:].all():
        raise ValueError(f"{has.sum()} of {len(has):,} samples show {concept}, which is too few "
                         "or too many; raise --num, or choose another concept")  # fmt: skip
    activations = mean_activations(trained, chosen, pool.z[:num])
    # what each adds to the logit of samples with the concept, which is lost if it is dropped
    gains = logistic_regression(activations, has[:num]) * activations[has[:num]].mean(0)
    order, stream = gains.argsort(descending=True), np.random.default_rng(seed)

    def rates(maps: Tensor) -> dict[str, float]:
        seen = pool.concepts(images_without(trained, chosen, pool.z[num:], maps))
        return judge(pool.concepts, seen, pool.seen.logits[num:], has[num:], concept)

    table = {}
    for count in sorted({max(len(order) // n, 1) for n in _PARTS} | {int((gains > 0).sum())}):
        draws = [rates(torch.from_numpy(stream.permutation(len(order))[:count]))
                 for _ in range(_DRAWS)]  # fmt: skip
        by_chance = {key: float(np.mean([draw[key] for draw in draws])) for key in draws[0]}
        table[count] = {"found": rates(order[:count]), "random": by_chance}
    numbers = {"concept": concept, "layer": layer, "maps": len(order), "num_samples": num,
               "share_with_concept": float(has.float().mean()), "dropped": table}  # fmt: skip
    lines = [
        f"{concept}, {count} of {len(order)} maps dropped: {row['found']['left']:.0%} still show "
        f"it, {row['random']['left']:.0%} with as many random ones dropped; of the rest, "
        f"{row['found']['kept']:.0%} and {row['random']['kept']:.0%} are kept"
        for count, row in table.items()
    ]
    shown = [part.nonzero()[:_SHOWN, 0] + num for part in (has[num:], ~has[num:])]
    rows = torch.stack([part[: min(map(len, shown))] for part in shown])  # (2, columns)
    changed = images_without(trained, chosen, pool.z[rows.flatten()], order[: len(order) // 4 or 1])
    both = np.stack([pool.images[rows], changed.reshape(pool.images[rows].shape)], 1)
    return Result([_panels(both, numbers)], numbers, lines)


def _panels(images: np.ndarray, numbers: dict[str, Any]) -> list[Sheet | Chart]:
    """Shows images (with the concept or not, before or after, columns, C, H, W), and the shares."""
    table = numbers["dropped"]
    curves = {f"{key}, {kind} maps": ([0, *table], [1, *(row[kind][key] for row in table.values())])
              for kind in ("found", "random") for key in ("left", "kept")}  # fmt: skip
    title = f"{numbers['concept']}; without a quarter of layer {numbers['layer']}'s maps; others; "
    return [Sheet(f"{title}without the same", images.reshape(-1, *images.shape[3:]),
                  images.shape[2]),
            Chart("share of samples", curves,
                  {"xlabel": f"maps dropped, of {numbers['maps']}",
                   "ylim": (0, 1.02)})]  # fmt: skip


def mean_activations(trained: Trained, layer: nn.Module, z: Tensor) -> Tensor:
    """Returns the mean of each map of a layer over its positions, (N, M), for latents (N, Z)."""
    parts: list[Tensor] = []
    _generate(trained, layer, z, lambda output: parts.append(output.float().mean((2, 3)).cpu()))
    return torch.cat(parts)


def images_without(trained: Trained, layer: nn.Module, z: Tensor, maps: Tensor) -> np.ndarray:
    """Returns the images (N, C, H, W) of latents (N, Z) with some maps of a layer set to zero."""
    return _generate(trained, layer, z, lambda y: y.index_fill_(1, maps.to(y.device), 0))


def _generate(
    trained: Trained, layer: nn.Module, z: Tensor, function: Callable[[Tensor], object]
) -> np.ndarray:
    """Draws images; `function` sees the outputs of a layer, and returns None or others."""
    handle = layer.register_forward_hook(lambda _module, _inputs, output: function(output))
    try:
        return generate(trained.generator, z, None, trained.precision)
    finally:
        handle.remove()


def judge(
    concepts: Concepts, seen: Seen, before: Tensor, has: Tensor, concept: str
) -> dict[str, float]:
    """Returns the share of the samples with a concept that still show it (left), and how far the
    rest is as `before` (kept): the class of samples without it, or the other attributes of all."""
    if concepts.has_attributes:
        others = [concept.removeprefix("not ") != name for name in concepts.classes]
        same = ((seen.logits > 0) == (before > 0))[:, others]  # (N, K - 1)
    else:
        same = (seen.logits.argmax(1) == before.argmax(1))[~has]
    left = float(shows(seen.scores, concept)[has.numpy()].mean())
    return {"left": left, "kept": float(same.float().mean())}
