"""Writing files that are whole or absent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from unfold.errors import UnfoldError

LONGEST_NAME = 255  # bytes, on the file systems in use


def make_folder(folder: Path) -> None:
    """Make the folder and those above it; UnfoldError where that cannot be, or nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnfoldError(f"the folder {folder} cannot be made: {error.strerror or error}") from None
    if not os.access(folder, os.W_OK):
        raise UnfoldError(f"the folder {folder} cannot be written")


def nearest(path: Path) -> Path:
    """The path, or what is there of it: the nearest folder above."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write into that takes the name ``path`` when the block ends, and vanishes where the block fails.

    A reader sees the old file or the new one, whole. The temporary name is the same each time, so that killed runs
    leave one of them at most.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    if len(os.fsencode(temporary.name)) > LONGEST_NAME:
        temporary = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}.part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # what fails to write does not say where
        raise
    finally:
        temporary.unlink(missing_ok=True)
