"""Notice at once that another process of a run is gone, whatever this one is doing.

The processes form a ring. Each waits, in a thread, for a message of the next one, which sends it when it leaves. A
connection that closes without a message means that the next one died.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from unfold.errors import UnfoldError
from unfold.training.processes.signals import EXIT_STOPPED, STOPPING

FOR_EVER = timedelta(days=365)
PATIENCE = 5  # seconds to learn whether an error comes from a dead process
BETWEEN = 0.02  # seconds between two looks at the store
FINE = 0


class Watch:
    """The watchdog of process ``rank`` of ``world``. store: of the process group; lost: called on one of them with the
    dead rank.
    """

    def __init__(self, rank: int, world: int, store: Any, lost: Callable[[str], None]) -> None:
        self.rank, self.world, self.store, self.lost = rank, world, store, lost
        self.next, self.previous = (rank + 1) % world, (rank - 1) % world
        self.thread = threading.Thread(target=self._wait, daemon=True)
        self.group: Any = None
        self.code: int | None = None  # exit code of an own error with which the main thread is about to leave
        # Registered before all handlers of the run, and so called after them.
        atexit.register(self._leave_with_error)

    def meet(self, patience: timedelta) -> None:
        """Wait until all processes arrive here. SystemExit with the code of one that fails before that."""
        end = time.monotonic() + patience.total_seconds()
        there = self.store.add("ready", 1)
        while there < self.world:
            if self.store.check(["failed"]):
                raise SystemExit(self._failed(FINE)[1])
            if time.monotonic() > end:
                raise UnfoldError(f"process {self.rank} of {self.world} has waited too long for the others")
            time.sleep(BETWEEN)
            there = self.store.add("ready", 0)

    def begin(self) -> None:
        """Start watching. All processes must call this."""
        self.group = dist.new_group(backend="gloo", timeout=FOR_EVER)
        self.thread.start()

    def end(self) -> None:
        """Leave normally, together with all others."""
        self._say(FINE)
        self.thread.join()

    def fail(self, error: BaseException, code: int) -> tuple[bool, int]:
        """Leave because of an error, and let the others end. Returns whether this process reports its error, and the
        exit code: that of the reporting process.
        """
        if self.group is not None and isinstance(error, RuntimeError):
            # A process that talks to a dead process gets an error, too. The one that watches the dead process knows
            # better: here, its thread ends this process, or will when the others have ended.
            self.thread.join(PATIENCE)
        self.code = code
        first, self.code = self._failed(code)
        return first, self.code

    def _wait(self) -> None:
        word = torch.zeros(1, dtype=torch.int32)
        try:
            dist.recv(word, self.next, group=self.group)
        except RuntimeError:
            first, code = self._failed(EXIT_STOPPED)
            word.fill_(code)
            self._gone()  # in place of the dead one
            if first:
                self.lost(f"process {self.next} of {self.world} died")
        code = int(word)
        if code != FINE and self.code is None:
            self._leave(code)

    def _leave_with_error(self) -> None:
        """At the end of a process in which :meth:`fail` was called, after the error is reported."""
        if self.code is None:
            return
        for number in STOPPING:  # torchrun and srun send them to the remaining processes
            signal.signal(number, signal.SIG_IGN)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._leave(self.code)

    def _leave(self, code: int) -> NoReturn:
        """End this process at once: the threads of process groups, which wait for others, would make a normal exit
        abort.

        The first process, which may hold the others' store, exits last.
        """
        if self.group is not None:
            self._say(code)
        if self.rank == 0:
            end = time.monotonic() + PATIENCE
            with contextlib.suppress(RuntimeError):
                while self.store.add("gone", 0) < self.world - 1 and time.monotonic() < end:
                    time.sleep(BETWEEN)
        else:
            self._gone()
        os._exit(code)

    def _gone(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.store.add("gone", 1)

    def _say(self, code: int) -> None:
        with contextlib.suppress(RuntimeError):  # it may be gone, too
            dist.send(torch.tensor([code], dtype=torch.int32), self.previous, group=self.group)

    def _failed(self, code: int) -> tuple[bool, int]:
        """Whether this process is the first to fail, and the exit code of the first one."""
        mine = f"{self.rank} {code}"
        try:
            first = self.store.compare_set("failed", "", mine).decode()
        except RuntimeError:  # the store's process is gone
            first = mine
        return first == mine, int(first.split()[1])
