"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def as_path(text: str) -> Path:
    """``text`` with ~ and ~user replaced where there is such a user; as it stands where there is none."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  (Path.expanduser raises for an unknown user)


def cache_folder() -> Path:
    """Where downloads are kept: $UNFOLD_CACHE, else $XDG_CACHE_HOME/unfold, else ~/.cache/unfold. It need not exist."""
    if own := os.environ.get("UNFOLD_CACHE"):
        return as_path(own)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has a relative one ignored.
    return (Path(shared) if Path(shared).is_absolute() else as_path("~/.cache")) / "unfold"
