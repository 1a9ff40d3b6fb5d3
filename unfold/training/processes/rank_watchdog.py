"""Noticing at once that another process of a run is gone, whatever this one is doing.

The processes stand in a ring. Each waits, in a thread, for a word from the next one, which says it when it leaves. A
connection that closes without a word means that the next one died.
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
PATIENCE = 5  # seconds in which it shows whether an error comes from a dead process
BETWEEN = 0.02  # seconds between two looks at the store
FINE = 0


class Watch:
    """Of process ``rank`` of ``world``. store: where they met; lost: told, on one of them, which process died."""

    def __init__(self, rank: int, world: int, store: Any, lost: Callable[[str], None]) -> None:
        self.rank, self.world, self.store, self.lost = rank, world, store, lost
        self.next, self.previous = (rank + 1) % world, (rank - 1) % world
        self.thread = threading.Thread(target=self._wait, daemon=True)
        self.group: Any = None
        self.code: int | None = None  # of an error of its own, with which the main thread is about to leave
        # Registered before all that the run registers, and so called after it.
        atexit.register(self._leave_with_error)

    def meet(self, patience: timedelta) -> None:
        """Wait until all processes have come so far. SystemExit with the code of one that fails before that."""
        end = time.monotonic() + patience.total_seconds()
        there = self.store.add("ready", 1)
        while there < self.world:
            if self.store.check(["failed"]):
                raise SystemExit(self._failed(FINE)[1])
            if time.monotonic() > end:
                raise UnfoldError(f"process {self.rank} of {self.world} has waited for the others in vain")
            time.sleep(BETWEEN)
            there = self.store.add("ready", 0)

    def begin(self) -> None:
        """Watch from now on. All processes must do so."""
        self.group = dist.new_group(backend="gloo", timeout=FOR_EVER)
        self.thread.start()

    def end(self) -> None:
        """Leave in peace, with all the others."""
        self._say(FINE)
        self.thread.join()

    def fail(self, error: BaseException, code: int) -> tuple[bool, int]:
        """Leave because of an error, and let the others end; whether it is for this process to tell it, and the code
        to exit with: of the process that tells.
        """
        if self.group is not None and isinstance(error, RuntimeError):
            # Whoever talks to a dead process has an error. The one that watches it knows better: here, the thread ends
            # this process, or will when the others have ended.
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
            self._gone()  # in the place of the dead one
            if first:
                self.lost(f"process {self.next} of {self.world} died")
        code = int(word)
        if code != FINE and self.code is None:
            self._leave(code)

    def _leave_with_error(self) -> None:
        """At the end of a process that :meth:`fail` was called in, when the error is told."""
        if self.code is None:
            return
        for number in STOPPING:  # torchrun and srun send them to those that are left
            signal.signal(number, signal.SIG_IGN)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        self._leave(self.code)

    def _leave(self, code: int) -> NoReturn:
        """End this process at once: the groups' threads, which wait for others, would abort an ordinary end.

        The first process, in which the others' store may be, goes last.
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
        """Whether this process is the first to fail, and the code of the one that was."""
        mine = f"{self.rank} {code}"
        try:
            told = self.store.compare_set("failed", "", mine).decode()
        except RuntimeError:  # the store's process is gone
            told = mine
        return told == mine, int(told.split()[1])
