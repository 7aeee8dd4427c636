"""The paper's test of D: its features and a linear SVM. Signs (N, K) are -1 or 1."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from torch import Tensor, nn
from torch.nn import functional as F

from gan.config.settings import DataConfig
from gan.data.datasets import open_source
from gan.data.pack import pack
from gan.errors import ConfigError
from gan.machine.precision import autocast
from gan.paper.features import batches, layers_of_d, pooled
from gan.paper.nearest import as_rows
from gan.paper.result import Result
from gan.pretrained.load import load_generator
from gan.pretrained.trained import Trained

_CHOICES = (0.01, 0.1, 1.0)  # of C, for rows of length about 1
_MAX_TO_CHOOSE = 5000  # rows that C is chosen on
_SKETCH = 1000  # rows whose principal axes scale the search
_BATCH, _MIN_STEPS, _EPOCHS = 64, 500, 4  # of the supervised network


def run(trained: Trained, *, labels: str, draws: int, also: Sequence[Path], seed: int) -> Result:
    """Measures accuracies on test images after training on some numbers of labels, for D, for
    those of `also`, such as earlier checkpoints, and for what they are compared with."""
    data, on = trained.cfg.data, next(trained.generator.parameters()).device
    (images, signs), (asked, truth) = (answered(data, split) for split in ("train", "test"))
    picks = [draw(signs, count, draws, seed) for count in labels.split(",")]

    def by_svm(features: Callable[[np.ndarray], Tensor]) -> Callable[[np.ndarray], Tensor]:
        wanted = features(asked)
        return lambda rows: fit_and_score(features(images[rows]), signs[rows], wanted)

    def by_d(one: Trained, initial_seed: int | None) -> Callable[[np.ndarray], Tensor]:
        return by_svm(partial(pooled, one, layers_of_d(one, images, initial_seed)))

    every = [*(load_generator(path, on, data_root=data.root) for path in also), trained]
    for one in every:
        if one.cfg.data.image_shape != data.image_shape:
            raise ConfigError(f"--also {one.checkpoint.path}: its images have another shape")
    lengths = [one.checkpoint.images_seen for one in every]
    names = [
        f"D, {seen:,} images" + (f", {one.checkpoint.path}" if lengths.count(seen) > 1 else "")
        for one, seen in zip(every, lengths, strict=True)
    ]
    ways = {name: by_d(one, None) for name, one in zip(names, every, strict=True)}
    ways |= {"random D": by_d(trained, seed), "pixels": by_svm(as_rows), "supervised":
             lambda rows: supervised(trained, images[rows], signs[rows], asked)}  # fmt: skip
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for name, predict in ways.items():
        for sets in picks:
            values = [accuracy(truth, predict(rows)) for rows in sets]
            deviation = float(np.std(values, ddof=len(sets) > 1))
            found.setdefault(name, {})[len(sets[0])] = float(np.mean(values)), deviation
    curves = {name: ([*row], *zip(*row.values(), strict=True)) for name, row in found.items()}
    guess = accuracy(truth, signs.mean(0).expand(len(truth), -1))
    figure = [{"accuracy on test images": (curves, {"xlabel": "labels", "xscale": "log"})}]
    return figure, {"num_test": len(truth), "guessing": guess, "mean_and_deviation": found}


def answered(cfg: DataConfig, split: Any) -> tuple[np.ndarray, Tensor]:
    """Returns the images of a split, with the signs of their classes or of CelebA's attributes."""
    source = open_source(cfg, split)
    packed = pack(source, cfg)
    if cfg.source == "celeba":
        file = Path(source.place).with_name("list_attr_celeba.txt")
        if len(packed) != len(source):
            raise ConfigError(f"{source.place}: `gan data` names bad images; delete them")
        return packed.images, read_attributes(file, source.names)
    if packed.labels is None:
        raise ConfigError(f"data.source {cfg.source}: {source.place} has no classes to predict")
    one_hot = F.one_hot(torch.from_numpy(packed.labels), len(packed.classes))
    return packed.images, one_hot.float() * 2 - 1


def read_attributes(file: Path, names: Sequence[str]) -> Tensor:
    """Reads the signs (N, 40) of CelebA's attributes, of the images with these names."""
    lines = file.read_bytes().decode(errors="replace").splitlines()[2:]
    rows = dict(line.split(maxsplit=1) for line in lines if " " in line)
    try:
        table = [rows[Path(name).name].split() for name in names]
        return torch.from_numpy(np.array(table).astype(np.float32))
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{file}: damaged, or of other images ({error})") from None


def are_classes(signs: Tensor) -> bool:
    """Tells classes, of which each row has one, from attributes."""
    return bool(((signs > 0).sum(1) == 1).all())


def accuracy(signs: Tensor, scores: Tensor) -> float:
    """Returns the share of right answers of scores (N, K); of attributes, over all K."""
    if are_classes(signs):
        return (scores.argmax(1) == signs.argmax(1)).float().mean().item()
    return ((scores > 0) == (signs > 0)).float().mean().item()


def draw(signs: Tensor, count: str, draws: int, seed: int) -> list[np.ndarray]:
    """Draws sets of `count` indices, a number or "all", with the same shares of the classes."""
    num, least = len(signs), 5 * signs.shape[1] if are_classes(signs) else 5
    if count == "all":
        return [np.random.default_rng(seed).permutation(num)]
    if num < 2 * least:
        raise ConfigError(f"--labels {count}: {num} images are too few to draw from; use all")
    if not (count.isdecimal() and least <= int(count) <= num - least):
        raise ConfigError(f"--labels {count}: must be numbers from {least} to {num - least}, or "
                          "all, such as 100,1000,all")  # fmt: skip
    kind = StratifiedShuffleSplit if are_classes(signs) else ShuffleSplit
    splits = kind(draws, train_size=int(count), random_state=seed).split(signs, signs.argmax(1))
    return [rows for rows, _ in splits]


def fit_and_score(rows: Tensor, signs: Tensor, asked: Tensor) -> Tensor:
    """Trains an SVM on features `rows` (N, F), centred and of a length of about 1; returns scores
    (M, K) of `asked` (M, F). C is validated on each fifth of few rows, on one of many."""
    mean = rows.mean(0)
    rows = rows - mean
    scale = rows.square().sum(1).mean().sqrt().clamp(min=1e-12)
    rows = F.pad(rows.div_(scale), (0, 1), value=1.0)  # (N, F + 1), for the bias
    every = torch.arange(min(len(rows), _MAX_TO_CHOOSE))
    right = dict.fromkeys(_CHOICES, 0.0)
    for part in every.chunk(5)[: 5 if len(every) < _MAX_TO_CHOOSE else 1]:
        used = every[~torch.isin(every, part)]
        for c in _CHOICES:
            weight = fit_svm(rows[used], signs[used], c)
            right[c] += accuracy(signs[part], rows[part] @ weight)
    weight = fit_svm(rows, signs, max(right, key=lambda c: right[c]))
    return (asked - mean) @ weight[:-1] / scale + weight[-1]


def fit_svm(x: Tensor, signs: Tensor, c: float) -> Tensor:
    """Returns the weight (F, K) that minimises |w|^2 / 2 + c sum max(0, 1 - sign w x)^2 for each
    column, as scikit-learn's LinearSVC, which needs 16 bytes for each number of x. L-BFGS for all
    columns at once is scaled by the curvature along principal axes."""
    some = x[:_SKETCH]
    values, vectors = torch.linalg.eigh(some @ some.T)
    values = values.clamp(min=1e-6 * float(values[-1]))
    axes = some.T @ vectors / values.sqrt()  # (F, R), orthonormal
    shrink = (1 + c * values * len(x) / len(some)).rsqrt() - 1
    u = torch.zeros(x.shape[1], signs.shape[1]).requires_grad_()
    search = torch.optim.LBFGS([u], max_iter=50, tolerance_grad=1e-6, tolerance_change=1e-6,
                               line_search_fn="strong_wolfe")  # fmt: skip

    def loss() -> float:
        search.zero_grad()
        weight = u + axes @ (shrink[:, None] * (axes.T @ u))
        short = (1 - signs * (x @ weight)).clamp(min=0)  # of the margin
        # divided by c N, so that the tolerance means the same for any of them
        value = (weight.square().sum() / (2 * c) + short.square().sum()) / len(x)
        value.backward()
        return value.item()

    search.step(loss)
    return (u + axes @ (shrink[:, None] * (axes.T @ u))).detach()


def supervised(trained: Trained, images: np.ndarray, signs: Tensor, asked: np.ndarray) -> Tensor:
    """Trains the layers of D and a linear output on labels; returns scores (M, K) of `asked`."""
    loss = F.cross_entropy if are_classes(signs) else F.binary_cross_entropy_with_logits
    layers = layers_of_d(trained, images, 0).requires_grad_(True).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(signs.shape[1]))
        network(next(batches(images[:2])))  # which gives the last layer its size
        steps = max(_MIN_STEPS, _EPOCHS * len(images) // _BATCH)
        search = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
        rate = torch.optim.lr_scheduler.OneCycleLR(search, 2e-3, total_steps=steps)
        for _ in range(steps):
            rows = torch.randint(len(images), (_BATCH,))
            x = next(batches(images[rows]))
            if trained.cfg.data.flip:
                x = torch.where(torch.rand(_BATCH, 1, 1, 1) < 0.5, x.flip(-1), x)
            with autocast(trained.precision, x.device):
                value = loss(network(x).float(), (signs[rows] + 1) / 2)
            search.zero_grad()
            value.backward()
            search.step()
            rate.step()
    network.eval().requires_grad_(False)
    return torch.cat([network(x) for x in batches(asked)])
