"""What long work shows: a bar on a terminal, after two seconds and gone when done; elsewhere a line now and then."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
EVERY = 20.0  # seconds between two lines where there is no terminal
logger = logging.getLogger("unfold")
_hidden = False


def hide() -> None:
    """Show nothing from now on: in a process that another one speaks for."""
    global _hidden
    _hidden = True


def progress(items: Collection[T], what: str, unit: str) -> Iterator[T]:
    """Iterate over ``items`` under a bar with an ETA."""
    with bar(len(items), what, unit) as shown:
        for item in items:
            yield item
            shown.update()


def bar(total: int | None, what: str, unit: str, done: int = 0) -> tqdm[Any]:
    """A bar with an ETA, to be told by ``update`` how much more is done, and to be closed. Large numbers are cut.

    total: None where nobody knows; done: what was there before.
    """
    return _Bar(
        total=total,
        initial=done,
        desc=what,
        unit=unit,
        unit_scale=total is None or total > 9999,
        delay=2,
        leave=False,
        disable=_hidden,
    )


class _Bar(tqdm):  # type: ignore[type-arg]
    """tqdm's, which without a terminal draws nothing, but counts, and has its line in what :class:`_Teller` logs."""

    def __init__(self, **options: Any) -> None:
        self.drawn = _terminal()
        self.begun = self.before = 0.0
        super().__init__(**options)
        self.before, self.begun = self.n, time.monotonic()
        if not (self.drawn or self.disable):
            _teller.add(self)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.drawn:
            super().display(msg, pos)

    def reset(self, total: float | None = None) -> None:
        super().reset(total)
        self.before, self.begun = self.n, time.monotonic()

    def close(self) -> None:
        _teller.remove(self)
        if self.drawn or self.disable:
            super().close()
        else:
            self.disable = True
            self._decr_instances(self)  # type: ignore[attr-defined]

    def __str__(self) -> str:
        """What a line says: how much is done, and how long the rest takes at the mean speed so far."""
        spent, new = time.monotonic() - self.begun, self.n - self.before
        if not self.total:
            return f"{self.desc}: {tqdm.format_sizeof(self.n)}{self.unit}"
        left = tqdm.format_interval(spent * (self.total - self.n) / new) if new else "?"
        if self.unit_scale:
            return f"{self.desc}: {self.n / self.total:.0%}, ETA {left}"
        return f"{self.desc}: {self.n} of {self.total} {self.unit}s, ETA {left}"


class _Teller:
    """Logs one line of all open bars, each EVERY seconds, by a thread: whatever they wait for may take long."""

    def __init__(self) -> None:
        self.bars: list[_Bar] = []
        self.lock = threading.Lock()
        self.done: threading.Event | None = None

    def add(self, one: _Bar) -> None:
        with self.lock:
            self.bars.append(one)
            if self.done is None:
                self.done = threading.Event()
                threading.Thread(target=self._tell, args=(self.done,), daemon=True).start()

    def remove(self, one: _Bar) -> None:
        with self.lock:
            if one in self.bars:
                self.bars = [other for other in self.bars if other is not one]
            if not self.bars and self.done is not None:
                self.done.set()
                self.done = None

    def _tell(self, done: threading.Event) -> None:
        while not done.wait(EVERY):
            with self.lock:
                text = "; ".join(map(str, self.bars))
            if text and not done.is_set():
                logger.info("%s", text)


_teller = _Teller()


def _terminal() -> bool:
    """Whether stderr, where bars are drawn, is a terminal."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False
