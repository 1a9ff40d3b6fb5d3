"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path


def as_path(text: str) -> Path:
    """``text`` with ~ and ~user replaced where there is such a user; as it stands where there is none."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  (Path.expanduser raises for an unknown user)
