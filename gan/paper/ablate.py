"""Removes a concept from a generator: the feature maps that draw it are found and set to zero.

Shapes: N samples, M feature maps of a layer, Z latent, C channels, H x W pixels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from gan.errors import ConfigError
from gan.paper.concepts import Concepts, make_pool, shows
from gan.paper.result import Result
from gan.sampling import Trained, generate, grid

_PARTS = (16, 8, 4)  # an n-th of a layer's maps is dropped
_DRAWS = 5  # of random maps
_NUM_TESTED = 1000
_SHOWN = 12  # samples with the concept, and without it
_FEWEST = 20  # samples with the concept
_PENALTY = 10.0  # of the squared weights, for standardised activations


def run(trained: Trained, *, seed: int, num: int, concept: str | None, layer: int) -> Result:
    """Finds the maps of hidden layer `layer` on `num` samples; drops them in others."""
    concept = concept or ("Smiling" if trained.cfg.data.source == "celeba" else "0")
    chosen = _hidden_layer(trained, layer)
    pool = make_pool(trained, trained.latents(num + _NUM_TESTED, seed))
    has = torch.from_numpy(shows(pool.scores, concept))
    if has[:num].sum() < _FEWEST or not has[num:].any() or has[num:].all():
        raise ValueError(f"{has.sum()} of {len(has):,} samples show {concept}, which is too few "
                         "or too many; raise --num, or choose another concept")  # fmt: skip
    activations = mean_activations(trained, chosen, pool.z)
    weights = logistic_regression(activations[:num], has[:num])
    # what each adds to the logit of samples with the concept, which is lost if it is dropped
    gains = weights * activations[:num][has[:num]].mean(0)
    order, stream = gains.argsort(descending=True), np.random.default_rng(seed)
    counts = sorted({max(len(order) // n, 1) for n in _PARTS} | {int((gains > 0).sum())})
    before = pool.concepts.network(pool.images[num:]).logits

    def rates(maps: Tensor) -> dict[str, float]:
        made = images_without(trained, chosen, pool.z[num:], maps)
        return judge(pool.concepts, made, before, has[num:], concept)

    table = {}
    for count in counts:
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
    kinds = [part.nonzero()[:_SHOWN, 0] + num for part in (has[num:], ~has[num:])]
    shown = torch.stack([kind[: min(map(len, kinds))] for kind in kinds])
    made = images_without(trained, chosen, pool.z[shown.flatten()], order[: len(order) // 4 or 1])
    rows = np.stack([pool.images[shown], made.reshape(pool.images[shown].shape)], 1)
    return Result(_draw(rows, numbers), numbers, lines)


def _hidden_layer(trained: Trained, number: int) -> nn.Module:
    layers = [module for module in trained.generator.layers if isinstance(module, nn.ReLU)]
    if number > len(layers):
        raise ConfigError(f"--layer {number}: this generator has {len(layers)} hidden layers")
    return layers[number - 1]


def mean_activations(trained: Trained, layer: nn.Module, z: Tensor) -> Tensor:
    """Returns the mean of each map of a layer over its positions, (N, M), for latents (N, Z)."""
    parts: list[Tensor] = []
    with _hook(layer, lambda output: parts.append(output.float().mean((2, 3)).cpu())):
        generate(trained.generator, z, None, trained.precision)
    return torch.cat(parts)


def images_without(trained: Trained, layer: nn.Module, z: Tensor, maps: Tensor) -> np.ndarray:
    """Returns the images (N, C, H, W) of latents (N, Z) with some maps of a layer set to zero."""
    with _hook(layer, lambda output: output.index_fill_(1, maps.to(output.device), 0)):
        return generate(trained.generator, z, None, trained.precision)


@contextmanager
def _hook(layer: nn.Module, function: Callable[[Tensor], object]) -> Iterator[None]:
    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        function(output)

    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def logistic_regression(x: Tensor, has: Tensor) -> Tensor:
    """Returns the weights (M,) that tell from `x` (N, M) whether a sample has a concept (N,).

    They are for x as it is, but the penalty is on those for standardised x.
    """
    mean, std = x.mean(0), x.std(0).clamp(min=1e-6)
    rows = nn.functional.pad((x - mean) / std, (0, 1), value=1.0)  # (N, M + 1), for the bias
    weights = torch.zeros(rows.shape[1], requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        search.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(rows @ weights, has.float())
        loss = loss + _PENALTY / 2 * weights[:-1].square().sum() / len(rows)
        loss.backward()
        return loss

    search.step(objective)  # type: ignore[no-untyped-call]
    return weights.detach()[:-1] / std


def judge(
    concepts: Concepts, images: np.ndarray, before: Tensor, has: Tensor, concept: str
) -> dict[str, float]:
    """Returns the share of the samples with a concept that still show it (left), and how far the
    rest is as before (kept): the class of samples without it, or the other attributes of all."""
    seen = concepts.network(images)
    left = torch.from_numpy(shows(concepts.scores(seen, images), concept))
    if concepts.has_attributes:
        same = (seen.logits > 0) == (before > 0)  # (N, K)
        others = [concept.removeprefix("not ") != name for name in concepts.network.classes]
        kept = same[:, others].float().mean()
    else:
        kept = (seen.logits.argmax(1) == before.argmax(1))[~has].float().mean()
    return {"left": float(left[has].float().mean()), "kept": float(kept)}


def _draw(images: np.ndarray, numbers: dict[str, Any]) -> Figure:
    """Draws images (with the concept or not, before or after, columns, C, H, W), and the shares."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    sheet = grid(images.reshape(-1, *images.shape[3:]), images.shape[2])
    left.imshow(sheet.squeeze(), cmap="gray")
    left.set(title=f"{numbers['concept']}; without a quarter of layer {numbers['layer']}'s maps; "
             "others; without the same maps", xticks=[], yticks=[])  # fmt: skip
    left.title.set_fontsize(9)
    counts = [*numbers["dropped"]]
    for kind, style in (("found", "-"), ("random", ":")):
        for key, color in (("left", "tab:red"), ("kept", "tab:blue")):
            values = [row[kind][key] for row in numbers["dropped"].values()]
            right.plot([0, *counts], [1, *values], style, marker=".", color=color,
                       label=f"{key}, {kind} maps")  # fmt: skip
    right.set(xlabel=f"maps dropped, of {numbers['maps']}", ylabel="share", ylim=(0, 1.02))
    right.legend()
    return figure
