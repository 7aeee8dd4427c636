"""The generators that come with this package, one folder each; needs no torch."""

from pathlib import Path
from typing import Any

from gan.files import read_json

SHIPPED = Path(__file__).parent
CONFIG, MODEL, DISCRIMINATOR = "config.json", "model.safetensors", "discriminator.safetensors"


def is_folder(path: Path) -> bool:
    """Says whether a path is a generator's folder and not a run's."""
    return not is_run(path) and ((path / CONFIG).is_file() or (path / MODEL).is_file())


def is_run(path: Path) -> bool:
    """Says whether a path is a run's folder, in which another tool may have a config.json."""
    return (path / "checkpoints").is_dir()


def shipped_names() -> list[str]:
    """Returns the names of the shipped generators."""
    return sorted(path.name for path in SHIPPED.iterdir() if is_folder(path))


def table() -> list[tuple[str, ...]]:
    """Returns a head and a row for each shipped generator: what it draws, size, distance, floor."""
    head = ("name", "data", "image", "classes", "size", "distance", "floor")
    return [head, *(_row(SHIPPED / name) for name in shipped_names())]


def _row(folder: Path) -> tuple[str, ...]:
    values: dict[str, Any] = read_json(folder / CONFIG)
    settings, record = values["config"], values["evaluation"]
    side, channels = settings["data"]["image_size"], settings["data"]["channels"]
    classes = str(len(values["classes"])) if settings["model"]["conditional"] else "none"
    size = (folder / MODEL).stat().st_size / 1e6
    scores = (record[kind]["frechet_distance"] for kind in ("values", "floor"))
    distance, floor = (f"{score:.3g}" for score in scores)
    image = f"{side} x {side} x {channels}"
    return folder.name, record["data"]["source"], image, classes, f"{size:.1f} MB", distance, floor
