"""The paper's test of the discriminator: its features and a linear classifier.

Shapes: N images, F features, K classes or attributes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan.config.settings import DataConfig
from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.errors import ConfigError
from gan.machine.precision import autocast
from gan.paper.features import layers_of_d, pooled, to_input
from gan.paper.linear import Targets, fit_and_score
from gan.paper.result import Chart, Result
from gan.pretrained import load_generator
from gan.sampling import Trained

_MAX_TEST = 10_000
_BATCH, _MIN_STEPS, _EPOCHS = 64, 500, 4  # of the supervised network

Answered = tuple[np.ndarray, Targets]  # uint8 (N, C, H, W), (N, K)
Predict = Callable[[np.ndarray], Tensor]  # rows to train on -> scores of the test images (N, K)


def run(
    trained: Trained, *, labels: Sequence[int | None], draws: int, also: Sequence[Path], seed: int
) -> Result:
    """Measures accuracies on test images after training on some numbers of labels.

    None is all labels. Of every other number `draws` sets are drawn, with equally many of each
    class. The discriminators of `also`, such as earlier checkpoints, are measured too.
    """
    data, on = trained.cfg.data, next(trained.generator.parameters()).device
    every = [*(load_generator(path, on, data_root=data.root) for path in also), trained]
    train, test = (answered(data, split) for split in ("train", "test"))
    stream = np.random.default_rng(seed)
    picks = [pick for count in labels for pick in _draw(train[1], count, draws, stream)]
    pool = np.unique(np.concatenate(picks))  # the training images that are used
    rows = np.sort(stream.permutation(len(test[0]))[:_MAX_TEST])
    known, hidden = ((a[0][r], a[1].rows(r)) for a, r in ((train, pool), (test, rows)))

    def by_svm(features: Callable[[np.ndarray], Tensor]) -> Predict:
        rows, asked = features(known[0]), features(hidden[0])
        return lambda pick: fit_and_score(rows[pick], known[1].rows(pick), asked)

    def by_d(one: Trained, initial_seed: int | None = None) -> Predict:
        layers = layers_of_d(one, known[0], initial_seed)
        return by_svm(lambda images: pooled(layers, images, one))

    ways: dict[str, Callable[[], Predict]] = {
        **{_name(one): partial(by_d, one) for one in every},
        "random D": partial(by_d, trained, seed),
        "pixels": lambda: by_svm(lambda images: torch.tensor(images).flatten(1).float()),
        "supervised": lambda: partial(_supervised, trained, known, hidden[0], seed),
    }
    accuracy: dict[str, dict[int, list[float]]] = {}  # by number of labels, one of each draw
    for name, prepare in ways.items():
        predict, found = prepare(), accuracy.setdefault(name, {})
        for pick in picks:
            scores = predict(np.searchsorted(pool, pick))
            found.setdefault(len(pick), []).append(hidden[1].accuracy(scores))
        del predict  # and its features, before the next are computed
    guess = known[1].signs.mean(0).expand(len(hidden[0]), -1)
    numbers = {"num_test": len(hidden[0]), "guessing": hidden[1].accuracy(guess)}
    curves = {name: percent(found) for name, found in accuracy.items()}
    lines = [f"{name}, {count:,} labels: {mean:.2f} ± {deviation:.2f} %" for name, curve
             in curves.items() for count, mean, deviation in zip(*curve, strict=True)]  # fmt: skip
    chart = Chart("accuracy on test images, %", curves, {"xlabel": "labels", "xscale": "log"})
    return Result([[chart]], {**numbers, "accuracy": accuracy}, lines)


def percent(found: dict[int, list[float]]) -> tuple[list[int], list[float], list[float]]:
    """Returns numbers of labels, and of each the mean and the deviation, 0 for a single draw."""
    means = [100 * float(np.mean(values)) for values in found.values()]
    deviations = [100 * float(np.std(values, ddof=min(len(values) - 1, 1)))
                  for values in found.values()]  # fmt: skip
    return [*found], means, deviations


def _name(one: Trained) -> str:
    given = ", given the classes" if one.cfg.model.conditional else ""
    return f"D, {one.checkpoint.images_seen:,} images{given}"


def answered(cfg: DataConfig, split: Any) -> Answered:
    """Returns the images of a split with their classes or, of CelebA, their 40 attributes."""
    source = open_source(cfg, split)
    packed = pack(source, cfg)
    if cfg.source == "celeba":
        file = Path(source.place).with_name("list_attr_celeba.txt")
        if len(packed) != len(source):
            raise ConfigError(f"{source.place}: has bad images, which `gan data` names; "
                              "delete them")  # fmt: skip
        return packed.images, Targets(read_attributes(file, source.names), exclusive=False)
    if packed.labels is None:
        raise ConfigError(f"data.source {cfg.source}: {source.place} has no classes to predict")
    one_hot = F.one_hot(torch.from_numpy(packed.labels), len(packed.classes))
    return packed.images, Targets(one_hot.float() * 2 - 1, exclusive=True)


def read_attributes(file: Path, names: Sequence[str]) -> Tensor:
    """Reads CelebA's attributes (N, 40), each -1 or 1, of the images with these names."""
    lines = file.read_bytes().decode(errors="replace").splitlines()[2:]
    rows = dict(line.split(maxsplit=1) for line in lines if " " in line)
    try:
        table = [rows[Path(name).name].split() for name in names]
        return torch.from_numpy(np.array(table).astype(np.float32))
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{file}: damaged, or of other images ({error})") from None


def _draw(
    targets: Targets, count: int | None, draws: int, stream: np.random.Generator
) -> list[np.ndarray]:
    """Draws sets of indices; with classes, each in turn, so that any part has all of them."""
    num, num_classes = targets.signs.shape
    if count is None or count >= num:
        return [stream.permutation(num)]
    if not targets.exclusive:
        return [stream.permutation(num)[:count] for _ in range(draws)]
    if count < 5 * num_classes:
        raise ConfigError(f"--labels {count}: must be at least 5 for each of {num_classes} classes")
    places = [np.flatnonzero(column > 0) for column in targets.signs.T.numpy()]
    each = min(count // num_classes, *map(len, places))
    return [np.stack([stream.permutation(place)[:each] for place in places], 1).flatten()
            for _ in range(draws)]  # fmt: skip


def _supervised(
    trained: Trained, known: Answered, asked: np.ndarray, seed: int, pick: np.ndarray
) -> Tensor:
    """Trains the layers of D and a linear output on labels; returns scores of `asked`."""
    targets = (known[1].signs[pick] + 1) / 2
    loss = F.cross_entropy if known[1].exclusive else F.binary_cross_entropy_with_logits
    layers = layers_of_d(trained, known[0][pick], seed).requires_grad_(True).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size = layers(to_input(layers, known[0][:2])).flatten(1).shape[1]
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, targets.shape[1]))
        steps = max(_MIN_STEPS, _EPOCHS * len(pick) // _BATCH)
        search = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
        rate = torch.optim.lr_scheduler.OneCycleLR(search, 2e-3, total_steps=steps)
        for _ in range(steps):
            batch = torch.randint(len(pick), (_BATCH,))
            x = to_input(layers, known[0][pick[batch]])
            if trained.cfg.data.flip:
                x = torch.where(torch.rand(_BATCH, 1, 1, 1) < 0.5, x.flip(-1), x)
            with autocast(trained.precision, x.device):
                value = loss(network(x).float(), targets[batch])
            search.zero_grad()
            value.backward()
            search.step()
            rate.step()
    network.eval().requires_grad_(False)
    return torch.cat([network(to_input(layers, part)) for part in np.array_split(asked, 40)])
