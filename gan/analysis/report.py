"""One run as one HTML file: settings, curves, samples, their nearest training images, scores.

The file needs no network: images are inside it. All text is escaped.
"""

import base64
import io
import shlex
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from gan.analysis.curves import draw_curves
from gan.analysis.nearest import nearest_training
from gan.analysis.runs import RECORD, RunFiles, read_run
from gan.analysis.table import HEADS, evaluation_rows, number, readings, setting_text
from gan.config.reader import describe, flat_identity
from gan.config.settings import Config
from gan.data.datasets import open_source
from gan.data.pack import PackedImages, pack
from gan.files import replacing
from gan.pretrained.load import load_generator
from gan.pretrained.trained import Trained
from gan.sampling import to_pil

_NUM_GRIDS = 5
_NUM_PAIRS = 16
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64em; margin: 2em auto; padding: 0 1em; }
h2 { margin-top: 2em; border-bottom: 1px solid #ccc; }
pre { background: #f4f4f4; padding: 0.7em; overflow-x: auto; }
table { border-collapse: collapse; }
th, td { text-align: left; padding: 0.15em 1.2em 0.15em 0; border-bottom: 1px solid #eee; }
figure { display: inline-block; margin: 0 1em 1em 0; vertical-align: top; }
figcaption { font-size: 13px; color: #555; max-width: 24em; overflow-wrap: anywhere; }
img { max-width: 100%; }
img.grid { width: 19em; image-rendering: pixelated; }
img.one { width: 6em; image-rendering: pixelated; }
"""


def write_report(run_dir: Path, out: Path) -> None:
    """Writes the report of a run; raises ValueError if it has no curves or no checkpoint."""
    run = read_run(run_dir)
    trained = load_generator(run_dir, torch.device("cpu"))
    title = escape(run_dir.resolve().name)
    parts = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
        f"<p>{escape(_summary(run, trained))}</p>",
        _section("Resume, sample, evaluate", _preformatted(_commands(run))),
        _section("Curves", _image(draw_curves({run_dir.resolve().name: [run]}))),
        _section("Samples during training", *_grids(run)),
        _section("Samples beside their nearest training images", *_pairs(run, trained)),
        _section("Evaluation", *_evaluation(run, trained)),
        _section("Settings", *_settings(run)),
        "</body></html>\n",
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        part.write_text("\n".join(parts), encoding="utf-8", errors="replace")


def _summary(run: RunFiles, trained: Trained) -> str:
    call = run.calls[-1] if run.calls else {}
    shape = " x ".join(map(str, run.cfg.data.image_shape))
    known = [f"{key} {call[key]}" for key in ("device", "started", "host", "commit") if key in call]
    classes = f", {len(trained.classes)} classes" if trained.classes else ""
    return "; ".join([
        f"{run.cfg.data.source}, {shape} (channels, height, width){classes}",
        f"step {trained.checkpoint.step:,}, {trained.checkpoint.images_seen:,} images seen",
        *known,
    ])  # fmt: skip


def _commands(run: RunFiles) -> str:
    path = shlex.quote(str(run.path))
    config, record = (shlex.quote(str(run.path / name)) for name in ("config.yaml", RECORD))
    train = f"gan train {config} --run-dir {path}"
    return "\n".join([
        f"{train}   # resume",
        f"{train} --set train.num_steps={2 * run.cfg.train.num_steps}   # a run twice as long",
        f"gan sample {path} --out samples.png",
        f"gan walk {path} --out walk.gif",
        f"gan evaluate {path} --out {record}",
    ])  # fmt: skip


def _grids(run: RunFiles) -> Iterable[str]:
    found = (path for path in (run.path / "samples").glob("ema_*.png") if path.is_file())
    paths = sorted(found, key=lambda path: (len(path.name), path.name))  # in the order of steps
    chosen = np.unique(np.linspace(0, len(paths) - 1, _NUM_GRIDS).round().astype(int))
    shown = [paths[i] for i in chosen] if paths else []
    for path in (run.path / "samples" / "real.png", *shown):
        step = path.stem.partition("_")[2]
        caption = f"step {int(step):,}" if step.isdecimal() else "training images"
        try:
            with Image.open(path, formats=["PNG"]) as image:
                yield _figure([(_png(image), "grid")], caption)
        except Exception:  # missing, or damaged, when Pillow may raise anything
            yield f"<p>{escape(str(path))} cannot be read.</p>"


class _Pair(NamedTuple):
    sample: np.ndarray  # (C, H, W)
    nearest: np.ndarray  # (C, H, W)
    caption: str


def _pairs(run: RunFiles, trained: Trained) -> Iterable[str]:
    data = run.cfg.data
    try:
        train = pack(open_source(data), data)
    except (ValueError, OSError) as error:
        return [f"<p>The training images cannot be read: {escape(str(error))}</p>"]
    notes = ["Each pair: a sample, the training image nearest to it, and their distance in grey "
             "levels. Smooth images are near many others; copies look the same."]  # fmt: skip
    if train.checksum != trained.checkpoint.data:
        notes.append("These are not the images of the training: their checksums differ.")
    figures = [
        _figure([(_png(to_pil(image.transpose(1, 2, 0))), "one") for image in pair[:2]], pair[2])
        for pair in nearest_pairs(trained, train, _NUM_PAIRS)
    ]
    return [*(f"<p>{note}</p>" for note in notes), *figures]


def nearest_pairs(trained: Trained, train: PackedImages, num: int) -> list[_Pair]:
    """Returns samples with the training images that are nearest to them."""
    labels = trained.labels(num, 0)
    samples = trained.images(trained.latents(num, 0), labels)
    distances, indices = nearest_training(samples, train, np.arange(len(train)))
    pairs = []
    for i, (distance, index) in enumerate(zip(distances.tolist(), indices.tolist(), strict=True)):
        caption = number(distance)
        if labels is not None and train.labels is not None:
            of = train.classes[train.labels[index]]
            caption = f"sample: {trained.classes[labels[i]]}; nearest: {of}; {caption}"
        pairs.append(_Pair(samples[i], train.images[index], caption))
    return pairs


def _evaluation(run: RunFiles, trained: Trained) -> Iterable[str]:
    if run.record is None:
        yield (
            f"<p>There is no {RECORD} in the run directory. The command above, gan evaluate, "
            "writes it, with the scores of real images (the floor). "
        )
        yield "The newest evaluation during the run:</p>" if run.last_scores else "</p>"
        floors = run.last_floors
        rows = [
            (name, number(value), number(floors[name]) if name in floors else "")
            for name, value in run.last_scores.items()
        ]
        yield _table([("score", "samples", "real (floor)"), *rows]) if rows else ""
        return
    origin = run.record["checkpoint"]
    yield f"<p>Of {escape(str(origin.get('file')))}, step {escape(str(origin.get('step')))}.</p>"
    yield _table([HEADS, *evaluation_rows(run.record)])
    for line in readings(run.record, len(trained.classes)):
        yield f"<p>{escape(line)}</p>"


def _settings(run: RunFiles) -> Iterable[str]:
    defaults = flat_identity(Config())
    rows = [
        (key, setting_text(value), setting_text(defaults[key]))
        for key, value in flat_identity(run.cfg).items()
        if value != defaults[key]
    ]
    yield "<p>Settings that decide the result and differ from the defaults:</p>"
    yield _table([("setting", "this run", "default"), *rows])
    yield "<details><summary>config.yaml: every setting</summary>"
    yield _preformatted(describe(run.cfg)) + "</details>"


def _section(title: str, *parts: str) -> str:
    return "\n".join([f"<h2>{escape(title)}</h2>", *parts])


def _preformatted(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    head, *rest = rows
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rest]
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return "<table>" + "\n".join(f"<tr>{line}</tr>" for line in [titles, *lines]) + "</table>"


def _figure(images: Iterable[tuple[bytes, str]], caption: str) -> str:
    shown = " ".join(_image(png, kind) for png, kind in images)
    return f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>"


def _image(png: bytes, kind: str = "") -> str:
    return f'<img class="{kind}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
