"""Being asked to stop: by a scheduler that takes the machine back, or by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_STOPPED = 75  # "temporary failure" in sysexits.h: nothing is wrong, --resume auto goes on
GRACE = 30  # seconds
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Stopped(BaseException):  # no Exception, which those who read damaged files catch
    """A run ended early with all its state kept; the message says why and where, on one line."""


class Request:
    """Which signal asked the run to stop, if any did; it is heeded between two steps, or at once where that is safe."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._now = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C: now
        self.signal = signal.Signals(number)
        self._heed()

    def _heed(self) -> None:
        if self._now and self.signal:
            self._now = False
            raise Stopped(f"stopped by {self.signal.name}")

    @contextmanager
    def heeded_at_once(self, now: bool = True) -> Iterator[None]:
        """Within, if ``now``, a signal raises Stopped at once: for work that changes nothing of the run's state."""
        self._now = now
        try:
            self._heed()
            yield
        finally:
            self._now = False


@contextmanager
def requests_to_stop() -> Iterator[Request]:
    """Within, STOPPING signals are noted instead of ending the process."""
    request = Request()
    before: dict[signal.Signals, Any] = {}
    death = signal.getsignal(signal.SIGCHLD)
    if threading.current_thread() is threading.main_thread():  # Python allows it there alone
        before = {number: signal.signal(number, request.receive) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if before:
            signal.signal(signal.SIGCHLD, death)


@contextmanager
def stopped_at_once() -> Iterator[Callable[[], None]]:
    """Within, where no run is under way yet, SIGTERM and SIGUSR1 raise Stopped. (SIGINT is Python's KeyboardInterrupt.)

    A process that was stopped heeds no other signal on its way out, which would change its exit code; nor after a call
    of what this yields.
    """
    heeded = (signal.SIGTERM, signal.SIGUSR1)

    def ignore(number: int, frame: FrameType | None) -> None: ...

    def stop(number: int, frame: FrameType | None) -> None:
        for other in heeded:
            signal.signal(other, ignore)
        name = signal.Signals(number).name
        raise Stopped(f"stopped by {name} outside the steps of the run; --resume auto begins it or goes on")

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, stop) for number in heeded}

    def heed_no_more() -> None:
        before.update(dict.fromkeys(before, ignore))

    try:
        yield heed_no_more
    except Stopped:
        heed_no_more()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def kept_waiting() -> Iterator[None]:
    """Within, signals wait: processes that are begun here would be ended by one before they know better."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def ignore_in_worker(worker: int) -> None:
    """For processes that load data: who stops the run stops them, and what a terminal sends to all does not.

    SIGTERM is ignored for the GRACE in which the run ends its step, for a scheduler sends it to all; no longer, for the
    run may send it, too, to one that does not end, and would wait for ever. What came since :func:`kept_waiting` comes
    now.
    """
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _obey_the_next)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _obey_the_next(number: int, frame: FrameType | None) -> None:
    signal.alarm(GRACE)
    signal.signal(number, signal.SIG_DFL)
