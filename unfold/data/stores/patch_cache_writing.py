"""Write a patch cache atomically, and continue an interrupted one."""

from __future__ import annotations

import datetime
import errno
import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unfold.data.pairs import Pair
from unfold.data.parallel import in_parallel
from unfold.data.stores.image_stores import Files, Item, Pixels, files_of, find_items, read_files, read_head
from unfold.data.stores.patch_cache import (
    CHUNK,
    VERSION,
    PatchCache,
    as_bytes,
    damage,
    difference,
    digests_of,
    opened,
    other_files,
    sources,
)
from unfold.errors import UnfoldError
from unfold.util.download import alone
from unfold.util.progress import progress

logger = logging.getLogger("unfold")


def write_cache(items: Sequence[Item], path: Path) -> int:
    """Decode pairs or images of 8 bits into the cache ``path``; returns the number decoded now.

    The cache gets its name when it is complete. Until then it is .NAME.part, which a later call continues, even after a
    kill. An existing cache of these files (by name) is kept if they have not changed and its pixels are intact;
    otherwise it is made again. One of several processes that make one cache works, and the others wait. Files are
    decoded in processes (see in_parallel). UnfoldError if an image is unreadable or has 16 bits, or something else
    has the name.
    """
    if not items:
        raise UnfoldError(f"{path}: no images to put into a cache")
    if path.is_dir():
        raise UnfoldError(f"{path} is a folder, and a cache is a file: name another with --output")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with alone(path):
        if path.exists():
            cache = PatchCache(path)  # raises for other files, so that they are not overwritten
            if other := other_files(cache, items):
                raise UnfoldError(
                    f"{path} is a cache of other files: {other}; name another with --output, or delete it"
                )
            reason = difference(cache, items) or _unsound(cache)
            if reason is None:
                return 0
            logger.info("%s is made again: %s", path, reason)
        plan = _plan(items)
        done = _begun(part, plan, items)
        if done is None:
            _allocate(part, plan)
            done = set()
        missing = [index for index in range(len(items)) if index not in done]
        with _disk_full(part):
            _fill(part, items, missing)
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        part.replace(path)
        return len(missing)


def prepare_cache(source: str, output: Path) -> str:
    """Put the training pairs or images of a folder (see find_items) into a cache; returns a one-line report."""
    if output.suffix != ".h5":
        raise UnfoldError(f"{output}: a cache is a file that ends in .h5")
    items = find_items(source)
    written = write_cache(items, output)
    what = "pairs" if isinstance(items[0], Pair) else "images"
    return f"{output}: {written} of {len(items)} {what} decoded now, {output.stat().st_size / 1e6:,.1f} MB"


def _plan(items: Sequence[Item]) -> dict[str, object]:
    """The manifest of a cache of these items."""
    targets = [files_of(item)["target"] for item in items]
    heads = [read_head(path) for path in progress(targets, "reading sizes", "image")]
    return {
        "version": VERSION,
        "date": datetime.date.today().isoformat(),
        "kinds": list(files_of(items[0])),
        "sizes": [list(head.size) for head in heads],
        "grey": [head.grey for head in heads],
        **sources(items),
    }


def _allocate(part: Path, plan: dict[str, Any]) -> None:
    """Allocate the whole file, so that later writes only fill pixels and checksums in place.

    HDF5 survives a kill while it writes those, but not while it writes its own structure. And a disk that fills up
    under an open file makes it crash.
    """
    import h5py

    shape = (len(plan["names"]), len(plan["kinds"]))
    needed = 3 * len(plan["kinds"]) * sum(_stored(height) * _stored(width) for height, width in plan["sizes"])
    if shutil.disk_usage(part.parent).free < needed:
        raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed", str(part))
    begun = part.with_suffix(".begun")
    with h5py.File(begun, "w", libver=("earliest", "v108")) as file:  # newer formats refuse a file that was not closed
        file["sha256"] = np.zeros((*shape, 32), np.uint8)
        file["crc32"] = np.zeros(shape, np.uint32)
        file["manifest"] = np.frombuffer(json.dumps(plan).encode(), np.uint8)
        for kind in plan["kinds"]:
            for index, (height, width) in enumerate(plan["sizes"]):
                chunks = (min(CHUNK, height), min(CHUNK, width), 3)
                layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
                layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
                file.create_dataset(f"{kind}/{index}", (height, width, 3), np.uint8, chunks=chunks, dcpl=layout)
    with begun.open("rb+") as whole:
        try:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(whole.fileno(), 0, begun.stat().st_size)
        except OSError as error:
            begun.unlink()
            raise OSError(error.errno, error.strerror, str(part)) from None
        os.fsync(whole.fileno())
    begun.replace(part)


def _stored(side: int) -> int:
    """Pixels of a side in the file, rounded up to whole chunks."""
    chunk = min(CHUNK, side)
    return -(-side // chunk) * chunk


def _begun(part: Path, plan: dict[str, object], items: Sequence[Item]) -> set[int] | None:
    """The images that an earlier call has stored intact; None if there is nothing to continue."""
    if not part.exists():
        return None
    try:
        begun = PatchCache(part)
        if {**begun.manifest, "date": plan["date"]} != plan:
            return None
        with opened(part) as file:
            stored = file["sha256"][()]
        there = [index for index in range(len(items)) if stored[index].any()]
        digests = in_parallel(
            digests_of, [files_of(items[index]) for index in there], "checking what is there", "image"
        )
        same = [index for index, found in zip(there, digests, strict=True) if as_bytes(stored[index]) == found]
        return set(same) - set(_damaged(begun, same))
    except UnfoldError:
        return None


class Decoded(NamedTuple):
    images: dict[str, Pixels]
    digests: list[bytes]


def _decode(files: Files) -> Decoded:
    digests = digests_of(files)
    images = read_files(files)
    for kind, image in images.items():
        if image.dtype != np.uint8:
            kinds = {"uint16": "16 bits"}.get(str(image.dtype), str(image.dtype))
            raise UnfoldError(f"{files[kind]} has {kinds} per channel, and a cache holds images of 8")
    return Decoded(images, digests)


def _fill(part: Path, items: Sequence[Item], missing: Sequence[int]) -> None:
    import h5py

    decoded = in_parallel(_decode, [files_of(items[index]) for index in missing], "writing the cache", "image")
    with h5py.File(part, "r+") as file:
        for index, (images, digests) in zip(missing, decoded, strict=True):
            for kind, image in images.items():
                place = file[f"{kind}/{index}"]
                if place.shape != image.shape:
                    raise UnfoldError(f"{files_of(items[index])[kind]} changed while the cache was made; try again")
                place[...] = image
            file["crc32"][index] = [zlib.crc32(image.tobytes()) for image in images.values()]
            file["sha256"][index] = [np.frombuffer(digest, np.uint8) for digest in digests]
            file.flush()


def _unsound(cache: PatchCache) -> str | None:
    index = next(iter(_damaged(cache, range(len(cache)))), None)
    return None if index is None else f"its pixels of {cache.names[index]} are damaged"


def _damaged(cache: PatchCache, indices: Sequence[int]) -> Iterator[int]:
    """The images whose pixels differ from those written."""
    with opened(cache.path) as file, damage(cache.path):
        for index in indices:
            sums = [zlib.crc32(file[f"{kind}/{index}"][()]) for kind in cache.manifest["kinds"]]
            if sums != file["crc32"][index].tolist():
                yield index


@contextmanager
def _disk_full(part: Path) -> Iterator[None]:
    """Raise a full disk as OSError ENOSPC: HDF5 only mentions it in an error's text."""
    try:
        yield
    except OSError as error:
        for code in (errno.ENOSPC, errno.EDQUOT):
            if f"errno = {code}," in str(error):
                raise OSError(code, os.strerror(code), str(part)) from None
        raise
