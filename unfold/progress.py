"""Progress bars for the small waits: shown after two seconds, on a terminal only, and gone when done."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Collection[T], what: str, unit: str) -> Iterator[T]:
    """Iterate over ``items`` under a bar with an ETA."""
    return iter(tqdm(items, desc=what, unit=unit, delay=2, leave=False, disable=None))
