"""The progress of a run in one line: updated in place on a terminal, a new line now and then elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

logger = logging.getLogger("unfold")
ON_TERMINAL, ELSEWHERE = 0.5, 20.0  # seconds between two lines


class Line:
    """Counts the images of a run and shows its progress, within a ``with`` block.

    total, done: images of the whole run, and those done before this start; shown: whether this process writes.
    """

    def __init__(self, total: int, done: int, shown: bool) -> None:
        self.total, self.done, self.before, self.shown = total, done, done, shown
        self.begin = self._last = time.perf_counter()
        self._text = self._written = ""
        terminal = _width_of_terminal() > 0
        self._every = ON_TERMINAL if terminal else ELSEWHERE
        self._bar = tqdm(
            total=total,
            initial=done,
            bar_format="{percentage:3.0f}% {desc} {bar}",  # a narrow terminal cuts off the end
            dynamic_ncols=True,
            disable=not (shown and terminal),
        )

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *error: object) -> None:
        self._write()
        self._bar.close()

    def update(self, images: int) -> None:
        """Count so many more images as done."""
        self.done += images

    def due(self) -> bool:
        """Whether a line shown now is written now."""
        return self.shown and time.perf_counter() - self._last >= self._every

    def show(self, words: Sequence[str]) -> None:
        """Show the progress, most important words first. Written now where a line is due; the last one at the end."""
        self._text = ", ".join([f"ETA {self.left()}", *words])
        if self.due():
            self._write()

    def left(self) -> str:
        """h:mm:ss to the end, at the mean speed since this start, including validation and other pauses."""
        spent, done = time.perf_counter() - self.begin, self.done - self.before
        return tqdm.format_interval(spent * (self.total - self.done) / done) if done else "?"

    def _write(self) -> None:
        self._last = time.perf_counter()
        if not self.shown or self._text == self._written:
            return
        self._written = self._text
        if self._bar.disable:
            logger.info("%3.0f%% %s", 100 * self.done / self.total, self._text)
        else:
            self._bar.n = self.done
            self._bar.set_description_str(self._text)


def _width_of_terminal() -> int:
    """Columns of the terminal that stderr is; 0 where it is not a terminal, or its width is unknown."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 0
