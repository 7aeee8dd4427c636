"""Signs that a run has collapsed although all its losses are finite.

The thresholds lie between runs that collapsed (D's loss 0.0004, margin 0.9996, diversity 0.01 to
0.11) and runs that did not (0.096, 0.91, 0.44; docs/experiments.md).
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import numpy as np
import torch

_LASTING_IMAGES = 50_000  # a sign is reported once it has lasted for so many images
_MIN_D_LOSS = 0.02
_MAX_MARGIN = 0.97
_MIN_DIVERSITY = 0.25


class Watch:
    """Remembers since when each sign has been present."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}  # images seen when the sign appeared
        self._reported: set[str] = set()

    def recall(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Learns from the rows of metrics.jsonl what the signs were in earlier calls."""
        for row in rows:
            # before the first grids, or damaged
            with suppress(KeyError, TypeError, ValueError, OverflowError):
                self.update(row, int(row["images_seen"]))
        self._reported = set()  # in this call

    def update(self, values: Mapping[str, float], images_seen: int) -> list[str]:
        """Returns the signs that have now lasted; each is repeated only after it was gone."""
        found = signs(values)
        self._since = {sign: self._since.get(sign, images_seen) for sign in found}
        lasting = {s for s, since in self._since.items() if images_seen - since >= _LASTING_IMAGES}
        new, self._reported = lasting - self._reported, lasting
        return [found[sign] for sign in sorted(new)]


def signs(values: Mapping[str, float]) -> dict[str, str]:
    """Returns the signs of collapse among the values of a run, each with its value and remedy."""
    found = {}
    if values["loss/d"] < _MIN_D_LOSS:
        found["loss"] = f"D's loss is {values['loss/d']:.2g}, too small for G to learn from"
    margin = values["d/real"] - values["d/fake"]
    if margin > _MAX_MARGIN:
        found["margin"] = (
            f"D(x) - D(G(z)) is {margin:.3f}: D has won; a lower train.d_learning_rate, or "
            "train.augment translate if it is null, can prevent this"
        )
    share = values["samples/diversity"]
    if share < _MIN_DIVERSITY:
        found["diversity"] = (
            f"samples have {share:.0%} of the real images' diversity: mode collapse; train.augment "
            "null for digits with classes, translate for photographs, can prevent this"
        )
    return found


def diversity(images: np.ndarray, real: np.ndarray) -> float:
    """Returns how far apart images are, relative to as many real ones; both uint8 (N, C, H, W)."""
    num = min(len(images), len(real))
    among_real = _nearest_distance(real[:num])
    # a single real image, or copies of one, give nothing to compare with
    return _nearest_distance(images[:num]) / among_real if 0 < among_real < np.inf else 1.0


def _nearest_distance(images: np.ndarray) -> float:
    """Returns the median over the images of the distance to the nearest other one."""
    flat = torch.from_numpy(images).flatten(1).float()  # (N, C*H*W)
    distances = torch.cdist(flat, flat).fill_diagonal_(float("inf"))
    return float(distances.amin(dim=1).median())
