"""What a run saved while it trained: grids of the same latents, and the curves of D."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gan.analysis.runs import Curve, read_run
from gan.data.decode import on_white

_NUM_GRIDS = 24
_SIDE = 274  # pixels of the larger side of a grid
_QUALITY = 55  # of WebP
_NUM_POINTS = 200  # of a curve
_CURVES = {"real": "d/real", "fake": "d/fake"}
_NAME = re.compile(r"ema_(\d{8,12})\.png")


def history_of(run: Path) -> dict[str, Any] | None:
    """Returns grids and curves of a run directory as plain values, None if it has no grids.

    {"grids": [{"step", "image": data URL}], "images_per_step", "curves": {name: [x, y]}}; x is
    images seen.
    """
    found = _grids(run / "samples") if run.is_dir() else []
    if not found or not (run / "config.yaml").is_file():
        return None
    try:
        files = read_run(run)
    except ValueError:  # nothing logged yet
        return None
    grids = [{"step": step, "image": image} for step, path in found if (image := _encoded(path))]
    if not grids:  # none can be read
        return None
    curves = {name: thinned(files.curve(tag)) for name, tag in _CURVES.items()}
    return {"grids": grids, "curves": curves, "images_per_step": files.cfg.train.batch_size}


def _grids(folder: Path) -> list[tuple[int, Path]]:
    """Returns at most _NUM_GRIDS grids with their steps, denser where training is young."""
    names = ((_NAME.fullmatch(path.name), path) for path in folder.glob("ema_*.png"))
    grids = sorted((int(name[1]), path) for name, path in names if name and path.is_file())
    if len(grids) <= _NUM_GRIDS:
        return grids
    chosen = np.linspace(0, 1, _NUM_GRIDS) ** 2 * (len(grids) - 1)
    # rounded up and at least one apart, so that no grid is chosen twice
    indices = np.maximum(np.ceil(chosen), np.arange(_NUM_GRIDS)).astype(int)
    return [grids[i] for i in indices]


def _encoded(path: Path) -> str | None:
    """Returns an image as a data URL, None if it cannot be read."""
    buffer = io.BytesIO()
    try:
        with Image.open(path, formats=["PNG"]) as image:
            small = on_white(image)
            small.thumbnail((_SIDE, _SIDE))
            small.save(buffer, "webp", quality=_QUALITY, method=6)
    except Exception:  # damaged bytes can make Pillow raise anything
        return None
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def thinned(curve: Curve) -> list[list[float]]:
    """Returns a curve as [x, y] with at most _NUM_POINTS points, each the mean of neighbours."""
    x, y = curve
    parts = min(_NUM_POINTS, len(x))
    if not parts:
        return [[], []]
    means = [[part.mean() for part in np.array_split(values, parts)] for values in (x, y)]
    return [[round(float(value), 4) for value in values] for values in means]
