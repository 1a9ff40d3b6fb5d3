"""Patch cache: the decoded images of a set in one HDF5 file, in chunks, so that a random crop reads only its part.

Layout, version 2:
  target/0, target/1, ...  (H,W,3) uint8 RGB in chunks of 128x128, not compressed (lzf: a quarter smaller, and six times
                           slower to read); of pairs also input/0, ...
  sha256                   (N, kinds, 32) uint8, of each source file; zeros until its pixels are there
  crc32                    (N, kinds) uint32, of each image's pixels
  manifest                 JSON as uint8: version, date, kinds, and in lists names, sizes, whether the target's file is
                           grey (it has three channels here), names of the source files and their lengths in bytes
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unfold.data.parallel import in_parallel
from unfold.data.stores.image_stores import Files, Item, Pixels, Window, files_of, inside
from unfold.errors import UnfoldError
from unfold.util.download import sha256_of

logger = logging.getLogger("unfold")
VERSION = 2
CHUNK = 128  # pixels


class PatchCache:
    """A store (:class:`unfold.data.stores.image_stores.Store`) on a file that patch_cache_writing.py made.

    Every process opens the file at its first crop: HDF5 handles survive neither fork nor pickle.
    UnfoldError if the file is missing, damaged or of another version.
    """

    scale = 1  # pairs in a cache are of one size

    def __init__(self, path: Path) -> None:
        self.path = path
        with opened(path) as file:
            self.manifest = _manifest(file, path)
        self.names: list[str] = self.manifest["names"]
        self._file: Any = None
        self._bytes = self._process = 0

    def __len__(self) -> int:
        return len(self.names)

    def size(self, index: int) -> tuple[int, int]:
        height, width = self.manifest["sizes"][index]
        return height, width

    def crop(self, index: int, window: Window) -> dict[str, Pixels]:
        rows, columns = inside(window, self.size(index))
        if self._process != os.getpid():
            self._file, self._process = _open(self.path), os.getpid()
            self._bytes = self._length()
        with damage(self.path):
            pixels = {kind: self._file[f"{kind}/{index}"][rows, columns] for kind in self.manifest["kinds"]}
            if self._length() < self._bytes:  # HDF5 returns zeros beyond the end
                raise OSError("its end is gone")
            return pixels

    def _length(self) -> int:
        """Bytes of the open file, even if its name was given to another one."""
        return os.fstat(self._file.id.get_vfd_handle()).st_size

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_process": 0}


def other_files(cache: PatchCache, items: Sequence[Item]) -> str | None:
    """How the cache differs from these files by name; None if it does not."""
    if len(items) != len(cache):
        return f"it was made of {len(cache)} images, and there are {len(items)}"
    if cache.manifest["kinds"] != list(files_of(items[0])):
        return f"it holds {' and '.join(cache.manifest['kinds'])}, and {' and '.join(files_of(items[0]))} are wanted"
    for before, after in zip(cache.manifest["files"], sources(items)["files"], strict=True):
        if before != after:
            return f"it was made of {' and '.join(before)} where {' and '.join(after)} would be now"
    return None


def difference(cache: PatchCache, items: Sequence[Item]) -> str | None:
    """The first of the cache's files (see other_files) that changed since it was made; None if none did."""
    now = sources(items)
    for item, *lengths in zip(items, cache.manifest["bytes"], now["bytes"], strict=True):
        if changed := _changed(item, *lengths):
            return changed
    with opened(cache.path) as file:
        stored = file["sha256"][()]
    found = in_parallel(digests_of, [files_of(item) for item in items], "comparing with the sources", "image")
    for item, before, digests in zip(items, stored, found, strict=True):
        if changed := _changed(item, as_bytes(before), digests):
            return changed
    return None


def _changed(item: Item, before: list[Any], after: list[Any]) -> str | None:
    for path, one, other in zip(files_of(item).values(), before, after, strict=True):
        if one != other:
            return f"{path} has changed since it was made"
    return None


def sources(items: Sequence[Item]) -> dict[str, Any]:
    """Facts that identify files without reading them."""
    files = [list(files_of(item).values()) for item in items]
    return {
        "names": [paths[-1].stem for paths in files],
        "files": [[path.name for path in paths] for paths in files],
        "bytes": [[path.stat().st_size for path in paths] for paths in files],
    }


def digests_of(files: Files) -> list[bytes]:
    """SHA-256 of every file of an item."""
    return [bytes.fromhex(sha256_of(path)) for path in files.values()]


def as_bytes(digests: Any) -> list[bytes]:
    """Rows of the array ``sha256`` in the form of :func:`digests_of`."""
    return [digest.tobytes() for digest in digests]


def _open(path: Path) -> Any:
    import h5py

    if not path.is_file():
        raise UnfoldError(f"there is no cache {path}; `unfold data prepare cache` makes one")
    with damage(path):
        return h5py.File(path, "r", locking=False)  # a finished cache is never written to


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The HDF5 file, for reading. UnfoldError where it is missing or damaged."""
    with _open(path) as file:
        yield file


def _manifest(file: Any, path: Path) -> dict[str, Any]:
    with damage(path):
        manifest: dict[str, Any] = json.loads(file["manifest"][()].tobytes())
        version = manifest["version"]
    if version != VERSION:
        raise UnfoldError(f"{path} is a cache of version {version}, and {VERSION} is read; delete it and make it again")
    return manifest


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn errors of reading a damaged file into one UnfoldError."""
    try:
        yield
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        if isinstance(error, UnfoldError):
            raise
        reason = " ".join(str(error).split())[:160]
        raise UnfoldError(f"{path} is damaged or no cache ({reason}); delete it and make it again") from None
