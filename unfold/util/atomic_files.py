"""Write files atomically."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from unfold.errors import UnfoldError

LONGEST_NAME = 255  # bytes, on the file systems in use


def make_folder(folder: Path) -> None:
    """Create the folder and its parents; UnfoldError if that fails, or the folder is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnfoldError(f"the folder {folder} cannot be made: {error.strerror or error}") from None
    if not os.access(folder, os.W_OK):
        raise UnfoldError(f"the folder {folder} cannot be written")


def nearest(path: Path) -> Path:
    """The path, or its nearest existing parent."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


@contextmanager
def whole_file(path: Path, *, shared: bool = False) -> Iterator[BinaryIO]:
    """A temporary file that is renamed to ``path`` when the block ends, and removed where the block fails.

    A reader sees the complete old file or the complete new one. The temporary name is always the same, so killed runs
    leave at most one. shared: other processes may write this file at the same time; the temporary name is then unique,
    each killed process leaves its own, and the last file that is finished counts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = f".{secrets.token_hex(8)}" if shared else ""
    temporary = path.with_name(f".{path.name}{own}.part")
    if len(os.fsencode(temporary.name)) > LONGEST_NAME:
        temporary = path.with_name(f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}{own}.part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a failing write does not name its file
        raise
    finally:
        temporary.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes, see :func:`whole_file`; nothing is done where both are the same file."""
    if target.exists() and target.samefile(source):
        return
    with source.open("rb") as old, whole_file(target) as new:
        shutil.copyfileobj(old, new)
