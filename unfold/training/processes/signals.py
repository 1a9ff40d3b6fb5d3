"""Requests to stop: by a scheduler that takes the machine back, or by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_STOPPED = 75  # "temporary failure" in sysexits.h: nothing is wrong, --resume auto continues
GRACE = 30  # seconds
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Stopped(BaseException):  # not an Exception, as readers of damaged files catch those
    """A run ended early with all its state saved; the message says why and where, on one line."""


class Request:
    """Which signal asked the run to stop, if any did; the run acts on it between two steps, or at once where that is
    safe.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._now = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C: now
        self.signal = signal.Signals(number)
        self._act()

    def _act(self) -> None:
        if self._now and self.signal:
            self._now = False
            raise Stopped(f"stopped by {self.signal.name}")

    @contextmanager
    def raising_at_once(self, now: bool = True) -> Iterator[None]:
        """Inside, if ``now``, a signal raises Stopped at once: for work that does not change the run's state."""
        self._now = now
        try:
            self._act()
            yield
        finally:
            self._now = False


@contextmanager
def requests_to_stop() -> Iterator[Request]:
    """Inside, STOPPING signals are noted instead of ending the process."""
    request = Request()
    before: dict[signal.Signals, Any] = {}
    death = signal.getsignal(signal.SIGCHLD)
    if threading.current_thread() is threading.main_thread():  # Python allows it only there
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
    """Inside, while no run has started yet, SIGTERM and SIGUSR1 raise Stopped. (SIGINT is Python's KeyboardInterrupt.)

    A process that was stopped ignores further signals on its way out, as they would change its exit code; so it does
    after a call of the yielded function.
    """
    watched = (signal.SIGTERM, signal.SIGUSR1)

    def ignore(number: int, frame: FrameType | None) -> None: ...

    def stop(number: int, frame: FrameType | None) -> None:
        for other in watched:
            signal.signal(other, ignore)
        name = signal.Signals(number).name
        raise Stopped(f"stopped by {name} outside the steps of the run; --resume auto starts or continues it")

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, stop) for number in watched}

    def ignore_further() -> None:
        before.update(dict.fromkeys(before, ignore))

    try:
        yield ignore_further
    except Stopped:
        ignore_further()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def kept_waiting() -> Iterator[None]:
    """Inside, signals wait: they would end processes that are started here before those set their handlers."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def ignore_in_worker(worker: int) -> None:
    """For worker processes: the run stops them, and signals that a terminal sends to all do not.

    SIGTERM is ignored for GRACE seconds, in which the run ends its step, as a scheduler sends it to all. After that it
    is obeyed, as the run itself may send it to a worker that does not end. Signals held back since :func:`kept_waiting`
    arrive now.
    """
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _obey_the_next)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _obey_the_next(number: int, frame: FrameType | None) -> None:
    signal.alarm(GRACE)
    signal.signal(number, signal.SIG_DFL)
