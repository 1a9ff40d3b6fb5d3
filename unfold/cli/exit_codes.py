"""From an error to what the command line shows: an exit code and one line."""

from __future__ import annotations

import errno

from unfold.errors import UnfoldError, one_line, out_of_memory
from unfold.training.processes.signals import EXIT_STOPPED, Stopped
from unfold.user_files import in_words, place_of

BAD_INPUT, MISTAKE_OF_OURS, INTERRUPTED = 2, 1, 130


def explained(command: str, error: BaseException) -> tuple[int, str | None]:
    """The exit code of `unfold COMMAND` after an error, and the line to print; "" if there is nothing to print.

    The line is None for a bug of ours, whose traceback is shown.
    """
    if isinstance(error, Stopped):
        return EXIT_STOPPED, str(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, ""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None), ""
    if isinstance(error, UnfoldError):
        return BAD_INPUT, one_line(str(error))
    if isinstance(error, BrokenPipeError):  # a run of `train` must not look done
        return (EXIT_STOPPED if command == "train" else 0), ""
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        resume = " and use --resume" if command == "train" else ""
        what = f"the disk is full; make room{resume}" if full else error.strerror or str(error)
        return BAD_INPUT, (f"{one_line(str(error.filename))}: " if error.filename else "") + what
    if isinstance(error, MemoryError | RuntimeError) and out_of_memory(error):
        return BAD_INPUT, "out of memory; use smaller images, or the device cpu"
    if (place := place_of(error)) is not None:
        return BAD_INPUT, f"{place}: {in_words(error)}"
    return MISTAKE_OF_OURS, None
