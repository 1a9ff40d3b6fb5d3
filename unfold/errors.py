"""The one kind of error that a user can cause and mend, and how to tell another."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class UnfoldError(ValueError):
    """Bad input: a message of one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


def one_line(text: str) -> str:
    """Text in which line ends, control characters and bytes that are no UTF-8, as names of files may hold, are spelt
    out: it stays one line, and does nothing to a terminal.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason_of(error: BaseException) -> str:
    """What an error of another library says, in one line and without names of files, which stand elsewhere."""
    told = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
    return one_line(told[:160]) or type(error).__name__


def check_choice(what: str, name: str, known: Sequence[str]) -> None:
    """UnfoldError with the nearest name where ``name`` is not among the known ones."""
    if name not in known:
        near = difflib.get_close_matches(str(name).lower(), known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UnfoldError(f"{what} is one of {', '.join(known)}, not {name!r}{hint}")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says so: CUDA has a type for it (not imported here, it is torch's), the CPU a sentence."""
    sentence = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or sentence
