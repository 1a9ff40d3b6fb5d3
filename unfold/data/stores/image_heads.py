"""Sizes of many images from their file headers."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from unfold.data.stores.image_stores import read_head
from unfold.errors import UnfoldError
from unfold.util.atomic_files import whole_file
from unfold.util.paths import cache_folder
from unfold.util.progress import progress

Size = tuple[int, int]
THREADS = 8  # a header takes a few reads: the time is spent waiting for the disk or the network
LONG = 2.0  # seconds of reading after which sizes are cached


def sizes_of(paths: Sequence[Path], key: str, dry: bool = False) -> list[Size | None]:
    """Height and width of each image as read, from its header alone; None where the header does not say it.

    key: a fingerprint of the files. Sizes that took LONG to read are cached under it; dry: they are
    not.
    """
    kept = cache_folder() / "stores" / f"{key}.sizes.json"
    if (known := _kept(kept, len(paths))) is not None:
        return known
    begin = time.perf_counter()
    Image.init()
    # Readers change the process's warning filters for a moment; leftovers are undone here.
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        found = list(_shown(pool.map(_size, paths), paths))
    if time.perf_counter() - begin > LONG and all(found) and not dry:
        with contextlib.suppress(OSError), whole_file(kept, shared=True) as file:
            file.write(json.dumps(found).encode())
    return found


def _shown(results: Iterator[Size | None], paths: Sequence[Path]) -> Iterator[Size | None]:
    for _ in progress(paths, "reading sizes", "image"):
        yield next(results)


def _kept(path: Path, count: int) -> list[Size | None] | None:
    try:
        sizes = [(int(height), int(width)) for height, width in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):
        return None
    return [*sizes] if len(sizes) == count and all(min(size) > 0 for size in sizes) else None


def _size(path: Path) -> Size | None:
    try:
        if path.suffix.lower() == ".npy":
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            return (shape[0], shape[1]) if len(shape) in (2, 3) else None
        height, width = read_head(path).size
    except (UnfoldError, OSError, ValueError, EOFError):
        return None
    # Too many pixels for Pillow; another thread may have suppressed its warning.
    return None if height * width > (Image.MAX_IMAGE_PIXELS or height * width) else (height, width)
