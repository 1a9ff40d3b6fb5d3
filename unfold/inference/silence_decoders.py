"""Silence libraries that write to standard error."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress


@contextmanager
def silence_decoders() -> Iterator[None]:
    """Drop what libtiff, libpng and OpenCV write to standard error, and what Pillow and tifffile log, about damaged
    pictures. The error is also raised, and reported with the picture's name.

    They write to the file descriptor, which the whole process shares: use it in a command, not in a library.
    """
    with ExitStack() as after:
        for library in map(logging.getLogger, ("PIL", "tifffile")):
            after.callback(library.setLevel, library.level)
            library.setLevel(logging.CRITICAL)
        with suppress(OSError):  # closed
            kept = os.dup(2)
            after.callback(os.close, kept)
            after.callback(os.dup2, kept, 2)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
        yield
