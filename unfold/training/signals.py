"""Being asked to stop: by a scheduler that takes the machine back, or by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_STOPPED = 75  # "temporary failure" in sysexits.h: nothing is wrong, --resume auto goes on
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Stopped(Exception):  # noqa: N818  (it is no error)
    """A run ended early with all its state kept; the message says why and where, on one line."""


class Request:
    """Which signal asked the run to stop, if any did; it is heeded between two steps."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt  # the second Ctrl-C: now
        self.signal = signal.Signals(number)


@contextmanager
def requests_to_stop() -> Iterator[Request]:
    """Within, STOPPING signals are noted instead of ending the process."""
    request = Request()
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # Python allows it there alone
        before = {number: signal.signal(number, request.receive) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_in_worker(worker: int) -> None:
    """For processes that load data: who stops the run stops them, and what a terminal sends to all does not."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
