"""Work on many files with all processors; results come in order, and few are in memory at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from unfold.errors import UnfoldError
from unfold.util.processors import for_workers, processors
from unfold.util.progress import progress

T = TypeVar("T")
R = TypeVar("R")


class ProcessEndedError(UnfoldError):
    """A process that worked was killed."""


def in_parallel(
    function: Callable[[T], R],
    items: Collection[T],
    what: str,
    unit: str,
    enough: int = 2,
    workers: int | None = None,
    begin: Callable[[], None] | None = None,
) -> Iterator[R]:
    """Yield ``function`` of every item, in order, under a progress bar; with one process per processor.

    function: at module level, as processes are started afresh; a calling script keeps its work behind
    ``if __name__ == "__main__"``; enough: fewer items are done without further processes; workers: number of processes,
    instead of one per processor; begin: called first in each process, or in this one where it works alone. At most two
    results more than processes wait. The first error ends the work. UnfoldError if a process dies.
    """
    workers = min(workers or processors(), len(items))
    if workers < 2 or len(items) < enough:
        if begin is not None:
            begin()
        yield from map(function, progress(items, what, unit))
        return
    # Not forked: the parent may have threads (torch's) or a file of HDF5 open, and neither survives that.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(begin,))
    try:
        waiting: deque[Future[R]] = deque()
        rest = iter(items)
        for _ in progress(items, what, unit):
            with for_workers():
                waiting.extend(pool.submit(function, item) for item in islice(rest, workers + 2 - len(waiting)))
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise ProcessEndedError(
            f"{what}: a process was ended from outside, perhaps for lack of memory; try again"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(more: Callable[[], None] | None) -> None:
    """Set this process up as one of several, with one processor each."""
    _follow_parent()
    import cv2

    cv2.setNumThreads(1)
    if more is not None:
        more()


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when the parent has ended in any way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
