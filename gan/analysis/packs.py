"""What a person does with packs: look at a few images, compare all with their files, delete them.

This module starts without torch.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from gan.config.settings import DataConfig
from gan.data.pack import PackedImages, decode_usable, pack_folders, resolved_place
from gan.data.source import Source
from gan.files import read_json


def peek(source: Source, cfg: DataConfig, count: int) -> np.ndarray:
    """Decodes the first images without writing anything; returns uint8 (n, C, H, W)."""
    if cfg.on_bad_image == "error":
        source = replace(source, names=source.names[:count])
    with closing(decode_usable(source, cfg, {}, "decoding")) as usable:
        return np.stack([image for _, image in islice(usable, count)])


def compare(source: Source, cfg: DataConfig, packed: PackedImages) -> None:
    """Decodes every image again. Raises ValueError if one differs from what was packed."""
    decoded = decode_usable(source, cfg, {}, "comparing")
    pairs = zip_longest(decoded, packed.images, fillvalue=("no image", ()))
    differ = [name for (name, new), old in pairs if not np.array_equal(new, old)]
    if differ:
        raise ValueError(
            f"{packed.folder} differs from {source.place} in {len(differ):,} images "
            f"({', '.join(map(str, differ[:3]))}); delete that folder to pack the images again"
        )


def clear(sources: Sequence[Source], cfg: DataConfig) -> Iterator[str]:
    """Deletes the packs of sources and yields what was freed.

    Also deletes those that the same places had with other contents, and what killed processes left
    half written.
    """
    places = [pack_folders(source, cfg) for source in sources]
    own = {folder for folders in places for folder in folders}
    made_of = {resolved_place(source) for source in sources}
    found = False
    for name, parent in sorted({(f.name.rpartition("-")[0], f.parent) for f in own}):
        for folder in sorted(parent.glob(f"{name}-*/")):
            if folder.suffix == ".part":
                is_ours = not _is_being_written(folder)
            else:
                is_ours = folder in own or _place(folder) in made_of
            if is_ours:
                found = True
                yield f"deleted {folder}: {_delete(folder) / 1e6:,.1f} MB freed"
    if not found:
        yield "no pack to delete"


def _place(folder: Path) -> str | None:
    """Returns the place that the images of a pack were read from."""
    facts = read_json(folder / "pack.json")
    return facts.get("place") if isinstance(facts, dict) else None


def _is_being_written(part: Path) -> bool:
    try:
        with FileLock(part.with_suffix(".lock"), timeout=0):
            return False
    except Timeout:
        return True


def _delete(folder: Path) -> int:
    num_bytes = sum(path.stat().st_size for path in folder.iterdir())
    shutil.rmtree(folder)
    return num_bytes
