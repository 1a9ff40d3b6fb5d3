"""Paths as users write them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unfold.errors import UnfoldError

_VARIABLE = re.compile(r"\$(?:(?P<bare>[A-Za-z_][A-Za-z0-9_]*)|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\})")


def as_path(text: str) -> Path:
    """``text`` as a path, see :func:`expanded`."""
    return Path(expanded(text))


def is_file(path: Path) -> bool:
    """Whether there is a file of that name; False for names that are too long or contain a null."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def expanded(text: str) -> str:
    """``text`` with $VAR, ${VAR}, ~ and ~user replaced; ~user is unchanged where there is no such user.

    An existing file or folder of exactly that name is used as it is, as a name may contain a $. UnfoldError for a
    variable that is unset or empty, as the path would start elsewhere without it.
    """
    if "$" in text and not os.path.lexists(text):
        text = _VARIABLE.sub(lambda found: _value(found["bare"] or found["braced"], text), text)
    return os.path.expanduser(text)  # noqa: PTH111  (Path.expanduser raises for an unknown user)


def _value(name: str, text: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        how = "empty" if name in os.environ else "not set"
        raise UnfoldError(
            f"the path {text} names the environment variable {name}, which is {how}: set it, as by export"
        )
    return value


def cache_folder() -> Path:
    """The folder for downloads: $UNFOLD_CACHE, else $XDG_CACHE_HOME/unfold, else ~/.cache/unfold. It need not exist."""
    if own := os.environ.get("UNFOLD_CACHE"):
        return as_path(own)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore a relative path.
    return (Path(shared) if Path(shared).is_absolute() else as_path("~/.cache")) / "unfold"


def facts_of(paths: Iterable[Path]) -> list[Any]:
    """Facts that identify unchanged files without reading them: place, length, times of change."""
    found = []
    for path in paths:
        try:
            facts = path.stat()
        except OSError as error:
            found.append([str(path), error.errno])
            continue
        found.append([os.path.abspath(path), facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns])  # noqa: PTH100
    return found
