"""Owns the signs that a run has gone wrong though all its numbers are finite.

The thresholds lie between runs that collapsed (D's loss 0.0004, margin 0.9996, diversity 0.01 to
0.11) and runs that did not (0.096, 0.91, 0.44; docs/results.md).
"""

from collections.abc import Mapping

import numpy as np
import torch

_LASTING_IMAGES = 50_000  # seen in training while a sign stays, before it is told
_MIN_D_LOSS = 0.02
_MAX_MARGIN = 0.97
_MIN_DIVERSITY = 0.25


class Watch:
    """Looks at the values of every log and tells of a sign once it has lasted."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}  # images seen when a sign came
        self._told: set[str] = set()

    def look(self, values: Mapping[str, float], images_seen: int) -> list[str]:
        """Returns what has just become certain; says it again only after it was gone."""
        found = signs(values)
        self._since = {sign: self._since.get(sign, images_seen) for sign in found}
        lasting = {s for s, since in self._since.items() if images_seen - since >= _LASTING_IMAGES}
        new, self._told = lasting - self._told, lasting
        return [found[sign] for sign in sorted(new)]


def signs(values: Mapping[str, float]) -> dict[str, str]:
    """Returns the signs of collapse among the values of a log, each with its figure and remedy."""
    found = {}
    if values["loss/d"] < _MIN_D_LOSS:
        found["loss"] = f"D's loss is {values['loss/d']:.2g}, which leaves G nothing to learn from"
    margin = values["d/real"] - values["d/fake"]
    if margin > _MAX_MARGIN:
        found["margin"] = (
            f"D(x) - D(G(z)) is {margin:.3f}: D has won; a lower train.d_learning_rate, "
            "model.d_norm spectral or train.augment diffaugment holds it back"
        )
    share = values["samples/diversity"]
    if share < _MIN_DIVERSITY:
        found["diversity"] = (
            f"the samples have {share:.0%} of the real images' diversity: G makes the same images "
            "again and again; model.pac 2 or train.loss relativistic works against it"
        )
    return found


def diversity(images: np.ndarray, real: np.ndarray) -> float:
    """Returns how far apart images lie, with as many real ones as 1; both uint8 (N, C, H, W)."""
    num = min(len(images), len(real))
    among_real = _nearest_distance(real[:num])
    # one real image, or copies of one, have no distance to compare with
    return _nearest_distance(images[:num]) / among_real if 0 < among_real < np.inf else 1.0


def _nearest_distance(images: np.ndarray) -> float:
    """Returns the median over images of the distance to the nearest other one."""
    flat = torch.from_numpy(images).flatten(1).float()  # (N, C*H*W)
    distances = torch.cdist(flat, flat).fill_diagonal_(float("inf"))
    return float(distances.amin(dim=1).median())
