"""Let one training at a time write into a run folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from unfold.errors import UnfoldError

LOCK = ".training.lock"  # it stays, empty: to remove it could admit two trainings


@contextmanager
def only_training(folder: Path) -> Iterator[None]:
    """UnfoldError while another training, also of another program, is inside for the same folder.

    A process that dies releases the folder. Where the file system has no locks, nothing is prevented.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UnfoldError(
            f"another training is writing into {folder}: wait until it ends, or OUTPUT names another folder"
        ) from None
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        lock.release()


def check_unused(folder: Path) -> None:
    """UnfoldError if another training is writing into the folder."""
    if (folder / LOCK).exists():
        with only_training(folder):
            pass
