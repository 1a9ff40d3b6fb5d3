"""The exception for user errors, and one-line formatting of the others."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


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


def nearest(name: str, known: Iterable[str], most: int = 1) -> str:
    """ "did you mean X?", with the known names most like ``name``, in whatever case; "" where none is."""
    by_case = {text.lower(): text for text in known}
    near = difflib.get_close_matches(str(name).lower(), by_case, n=most)
    return f"did you mean {' or '.join(by_case[text] for text in near)}?" if near else ""


def nearest_or_all(name: str, known: Iterable[str]) -> str:
    """As :func:`nearest`, or "there are A, B" where no name is like it."""
    names = list(known)
    return nearest(name, names) or (f"there are {', '.join(names)}" if names else "there are none")


def check_choice(what: str, name: str, known: Sequence[str]) -> None:
    """UnfoldError with the nearest name where ``name`` is not among the known ones."""
    if name not in known:
        hint = nearest(name, known)
        raise UnfoldError(f"{what} is one of {', '.join(known)}, not {name!r}{hint and '; '}{hint}")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says so: CUDA has a type for it (not imported here, it is torch's), the CPU a sentence."""
    sentence = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or sentence
