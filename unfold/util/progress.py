"""Progress of long work: a bar on a terminal, after two seconds until done; elsewhere a line now and then."""

from __future__ import annotations

import logging
import os
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
    """Show no progress from now on: for processes whose parent shows it."""
    global _hidden
    _hidden = True


def progress(items: Collection[T], what: str, unit: str) -> Iterator[T]:
    """Iterate over ``items`` under a bar with an ETA."""
    with bar(len(items), what, unit) as shown:
        for item in items:
            yield item
            shown.update()


def bar(total: int | None, what: str, unit: str, done: int = 0) -> tqdm[Any]:
    """A bar with an ETA; call ``update`` with each increment, and close it. Large numbers are abbreviated.

    total: None if unknown; done: finished before.
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
    """A tqdm bar. Without a terminal it draws nothing, but counts for the lines of :class:`_Reporter`."""

    def __init__(self, **options: Any) -> None:
        self.drawn = _terminal()
        self.begun = self.before = 0.0
        super().__init__(**options)
        self.before, self.begun = self.n, time.monotonic()
        if not (self.drawn or self.disable):
            _reporter.add(self)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.drawn:
            super().display(msg, pos)

    def clear(self, nolock: bool = False) -> None:
        if self.drawn:
            super().clear(nolock)

    def reset(self, total: float | None = None) -> None:
        super().reset(total)
        self.before, self.begun = self.n, time.monotonic()

    def close(self) -> None:
        _reporter.remove(self)
        if self.drawn or self.disable:
            super().close()
        else:
            self.disable = True
            self._decr_instances(self)  # type: ignore[attr-defined]

    def __str__(self) -> str:
        """The text of a line: the share done, and the time left at the mean speed so far."""
        spent, new = time.monotonic() - self.begun, self.n - self.before
        if not self.total:
            return f"{self.desc}: {tqdm.format_sizeof(self.n)}{self.unit}"
        left = tqdm.format_interval(spent * (self.total - self.n) / new) if new else "?"
        if self.unit_scale:
            return f"{self.desc}: {self.n / self.total:.0%}, ETA {left}"
        return f"{self.desc}: {self.n} of {self.total} {self.unit}s, ETA {left}"


class _Reporter:
    """Logs one line for each open bar every EVERY seconds, from a thread, as an item may take long."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.bars: list[_Bar] = []
        # Reentrant: Python may collect an abandoned bar, which closes it, at any time, even inside these methods.
        self.lock = threading.RLock()
        self.done: threading.Event | None = None

    def add(self, one: _Bar) -> None:
        with self.lock:
            self.bars.append(one)
            if self.done is None:
                self.done = threading.Event()
                threading.Thread(target=self._report, args=(self.done,), daemon=True).start()

    def remove(self, one: _Bar) -> None:
        with self.lock:
            if one in self.bars:
                self.bars = [other for other in self.bars if other is not one]
            if not self.bars and self.done is not None:
                self.done.set()
                self.done = None

    def _report(self, done: threading.Event) -> None:
        while not done.wait(EVERY):
            with self.lock:
                text = "; ".join(map(str, self.bars))
            if text and not done.is_set():
                logger.info("%s", text)


_reporter = _Reporter()
if hasattr(os, "register_at_fork"):  # a child process has neither the thread nor its bars, and the lock may be taken
    os.register_at_fork(after_in_child=_reporter.begin)


def _terminal() -> bool:
    """Whether stderr, where bars are drawn, is a terminal."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False
