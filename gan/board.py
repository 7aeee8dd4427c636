"""TensorBoard: curves, charts of several curves, grids, histograms, texts, and the HParams tab.

The x axis is images seen. If TensorBoard cannot be written, the run says so once and continues
without it.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

_X_AXIS = "TensorBoard's step is the number of images seen; `progress/step` has the training step."
_DISTANCES = ("frechet_distance", "sliced_wasserstein_mean")
# TensorBoard sorts groups by name: these come first, in this order
_FIRST_GROUPS = ("images", "distance", "loss", "d", "samples", "metric")
_CHARTS = {  # title: pattern of the tags
    "losses": "3_loss/",
    "D(x) and D(G(z))": "4_d/(real|fake)$",
    "Fréchet distance and its floor": "2_distance/frechet",
    "sliced Wasserstein distance and its floor": "2_distance/sliced",
}
# without the class of its data, TensorBoard drops the description of a tag
_DATA_CLASSES = {"scalar": 1, "histogram": 2, "image": 3}


class Board:
    """Writes the event files of one run; must be closed."""

    def __init__(self, run_dir: Path, *, purge_step: int, say: Callable[[str], None]) -> None:
        """TensorBoard will ignore the points of earlier processes from `purge_step` on."""
        logging.getLogger("tensorboard").setLevel(logging.ERROR)
        from torch.utils.tensorboard import SummaryWriter  # 1 s

        self._say = say
        self._writer: Any = None  # a SummaryWriter
        self._excepthook, threading.excepthook = threading.excepthook, self._on_thread_error
        try:
            self._writer = SummaryWriter(str(run_dir), purge_step=purge_step)
        except (OSError, UnicodeEncodeError) as error:  # a name that is not UTF-8
            self._leave(error)
        layout = {title: ["Multiline", [tags]] for title, tags in _CHARTS.items()}
        self._try(lambda writer: writer.add_custom_scalars({"x axis: images seen": layout}))

    def scalar(self, key: str, value: float, images_seen: int) -> None:
        """Writes one point of a curve."""
        self._add("scalar", key, value, images_seen)

    def histogram(self, key: str, values: Tensor, images_seen: int) -> None:
        """Writes a histogram of all elements of a tensor."""
        self._add("histogram", key, values.detach().float().cpu().numpy(), images_seen, bins=64)

    def image(self, key: str, grid: np.ndarray, images_seen: int) -> None:
        """Writes a uint8 grid (H, W, C)."""
        self._add("image", key, grid, images_seen, dataformats="HWC")

    def text(self, key: str, text: str, images_seen: int = 0) -> None:
        """Writes a text, which TensorBoard reads as Markdown."""
        self._try(lambda writer: writer.add_text(key, text, images_seen))

    def begin_session(self, settings: Mapping[str, Any]) -> None:
        """Adds the run to the HParams tab, which shows the settings and the end of each curve.

        TensorBoard puts those settings first that differ between runs. `add_hparams` would write
        a list of the settings and metrics to show, and TensorBoard uses one list for all runs.
        """
        from torch.utils.tensorboard.summary import hparams

        plain = {
            key: value if type(value) in (int, float, str) else json.dumps(value)
            for key, value in settings.items()
        }
        self._try(lambda writer: writer.file_writer.add_summary(hparams(plain, {})[1]))

    def close(self) -> None:
        """Flushes and closes the event file."""
        self._try(lambda writer: writer.close())
        threading.excepthook = self._excepthook

    def _add(self, kind: str, key: str, value: Any, images_seen: int, **options: Any) -> None:
        from tensorboard.compat.proto.summary_pb2 import SummaryMetadata
        from torch.utils.tensorboard import summary

        about = SummaryMetadata(summary_description=_X_AXIS, data_class=_DATA_CLASSES[kind])
        about.plugin_data.plugin_name = f"{kind}s"

        def write(writer: Any) -> None:
            made = getattr(summary, kind)(tag_of(key), value, **options)
            made.value[0].metadata.CopyFrom(about)
            writer.file_writer.add_summary(made, images_seen)

        self._try(write)

    def _try(self, write: Callable[[Any], object]) -> None:
        """Calls `write`, whose failure must not stop the run."""
        if self._writer is None:
            return
        try:
            write(self._writer)
        except Exception as error:  # a full disk or a removed folder raise many kinds
            self._leave(error)

    def _leave(self, error: Exception) -> None:
        self._writer = None
        self._say(f"TensorBoard cannot be written ({error}); the run continues without it")

    def _on_thread_error(self, args: threading.ExceptHookArgs) -> None:
        # TensorBoard's writer thread also passes its error to the next call, which reports it
        if not type(args.thread).__module__.startswith("tensorboard."):
            self._excepthook(args)


def tag_of(key: str) -> str:
    """Returns the TensorBoard tag of a key in metrics.jsonl or evaluations.jsonl."""
    group, _, name = key.partition("/")
    if name.removesuffix("_floor") in _DISTANCES:
        group = "distance"
    if group in _FIRST_GROUPS:
        group = f"{_FIRST_GROUPS.index(group) + 1}_{group}"
    return f"{group}/{name}"
