"""The exception for user errors, and one-line formatting of the others."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class UnfoldError(ValueError):
    """Bad input: a one-line message: what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


def one_line(text: str) -> str:
    """Text with line ends, control characters and invalid UTF-8 bytes (as in file names) escaped: it stays one line and
    does not affect a terminal.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason_of(error: BaseException) -> str:
    """The message of another library's error, in one line and without file names, which the caller adds."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
    return one_line(reason[:160]) or type(error).__name__


def nearest(name: str, known: Iterable[str], most: int = 1) -> str:
    """ "did you mean X?", with the known names closest to ``name``, ignoring case; "" if none is close."""
    by_case = {text.lower(): text for text in known}
    near = difflib.get_close_matches(str(name).lower(), by_case, n=most)
    return f"did you mean {' or '.join(by_case[text] for text in near)}?" if near else ""


def nearest_or_all(name: str, known: Iterable[str]) -> str:
    """As :func:`nearest`, or "there are A, B" where no name is close."""
    names = list(known)
    return nearest(name, names) or (f"there are {', '.join(names)}" if names else "there are none")


def check_choice(what: str, name: str, known: Sequence[str]) -> None:
    """UnfoldError with the nearest name where ``name`` is not among the known ones."""
    if name not in known:
        hint = nearest(name, known)
        raise UnfoldError(f"{what} is one of {', '.join(known)}, not {name!r}{hint and '; '}{hint}")


def check_share(name: str, value: float) -> None:
    """UnfoldError where ``value`` is not from 0 to 1."""
    if not 0 <= value <= 1:
        raise UnfoldError(f"{name} is a share, from 0 to 1, not {value:g}")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is out of memory: CUDA has a type for it (not imported here, as it needs torch), the CPU a
    sentence.
    """
    sentence = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or sentence
