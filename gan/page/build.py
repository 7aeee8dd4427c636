"""One HTML file that shows a generator at work in a browser, offline.

Text of users (names of classes and runs) is only ever in the file's JSON, with `<` escaped.
"""

import base64
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import torch

from gan.export import folded
from gan.files import replacing
from gan.page.bundle import bundle
from gan.page.history import history_of
from gan.page.weights import discriminator_of, pack
from gan.pretrained.load import load_generator

_FOLDER = Path(__file__).parent
_STYLES = ("shell", "play", "layers", "operation", "training", "digit", "drop")
_ROOT = _FOLDER.parent.parent
_LESSON = _ROOT / "docs" / "transposed_convolution.md"


def write_page(source: str | Path, out: Path) -> int:
    """Writes the page of a run, checkpoint, folder or shipped generator; returns its bytes.

    The page has the saved grids and curves of a run, and the discriminator of a model of grey
    images. Raises ConfigError if the generator has layers that are no transposed convolutions.
    """
    html = page_of(content_of(source, out))
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        part.write_text(html, encoding="utf-8")
    return len(html.encode())


def content_of(source: str | Path, out: Path) -> dict[str, Any]:
    """Returns what a page at `out` shows of a source."""
    trained = load_generator(source, torch.device("cpu"))
    tensors, description = folded(trained)
    return {
        "name": Path(source).resolve().name if Path(source).exists() else str(source),
        "source": trained.cfg.data.source,
        "generator": pack(tensors, {"kind": "generator", **description}),
        "discriminator": discriminator_of(trained),
        "history": history_of(Path(source)),
        "lesson": _lesson_beside(out),
    }


def page_of(content: dict[str, Any]) -> str:
    """Returns the page as text, with `content` as its data."""
    style = "\n".join(_read(f"{name}.css") for name in _STYLES)
    script = bundle("shell")
    policy = "; ".join([
        "default-src 'none'",
        f"script-src {_hash(script)}",
        f"style-src {_hash(style)}",
        "img-src data: blob:",
        "worker-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
    ])  # fmt: skip
    parts = {
        "policy": policy,
        "style": style,
        "script": script,
        "worker": bundle("worker"),
        "content": escaped_json(content),
    }
    # in one pass: the contents are not searched for the names of other parts
    return re.sub(r"@@(\w+)@@", lambda found: parts[found[1]], _read("shell.html"))


def escaped_json(value: Any) -> str:
    """Returns JSON that cannot end the element it is in."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _hash(text: str) -> str:
    """Returns the source expression that allows exactly this inline text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _lesson_beside(out: Path) -> str | None:
    """Returns the relative link to the lesson, if the page is written into its repository."""
    folder = out.resolve().parent
    if not _LESSON.exists() or not folder.is_relative_to(_ROOT):
        return None
    return os.path.relpath(_LESSON, folder)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
