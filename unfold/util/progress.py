"""Progress bars for the waits: shown after two seconds, on a terminal only, and gone when done."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
_disabled: bool | None = None  # as tqdm takes it: None is for where there is no terminal


def hide() -> None:
    """Show no bars from now on: in a process that another one speaks for."""
    global _disabled
    _disabled = True


def progress(items: Collection[T], what: str, unit: str) -> Iterator[T]:
    """Iterate over ``items`` under a bar with an ETA."""
    return iter(tqdm(items, desc=what, unit=unit, delay=2, leave=False, disable=_disabled))


def bar(total: int, what: str, unit: str) -> tqdm[Any]:
    """A bar with an ETA, to be told by ``update`` how much more is done, and to be closed. Large numbers are cut."""
    return tqdm(total=total, desc=what, unit=unit, unit_scale=total > 9999, delay=2, leave=False, disable=_disabled)
