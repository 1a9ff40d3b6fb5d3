"""Noticing at once that another process of a run is gone, whatever this one is doing.

The processes stand in a ring. Each waits, in a thread, for a word from the next one, which says it when it leaves. A
connection that closes without a word means that the next one died.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from unfold.training.processes.signals import EXIT_STOPPED, Stopped

FOR_EVER = timedelta(days=365)
PATIENCE = 5  # seconds in which it shows whether an error comes from a dead process
FINE = 0


def code_of(error: BaseException) -> int:
    """What processes exit with that leave another one to tell of the error."""
    return EXIT_STOPPED if isinstance(error, Stopped) else 1


class Watch:
    """Of process ``rank`` of ``world``. store: where they met; lost: told, on one of them, which process died."""

    def __init__(self, rank: int, world: int, store: Any, lost: Callable[[str], None]) -> None:
        self.rank, self.world, self.store, self.lost = rank, world, store, lost
        self.next, self.previous = (rank + 1) % world, (rank - 1) % world
        self.thread = threading.Thread(target=self._wait, daemon=True)
        self.group: Any = None
        self.leaving = False  # by an error of its own, which the main thread is about to tell

    def begin(self) -> None:
        """Watch from now on. All processes must do so."""
        self.group = dist.new_group(backend="gloo", timeout=FOR_EVER)
        self.thread.start()

    def end(self) -> None:
        """Leave in peace, with all the others."""
        self._say(FINE)
        self.thread.join()

    def fail(self, error: BaseException) -> bool:
        """Leave because of an error, and let the others end; whether it is for this process to tell it."""
        if self.group is None:
            return self._first_to_tell()
        if isinstance(error, RuntimeError):
            # Whoever talks to a dead process has an error. The one that watches it knows better: here, the thread ends
            # this process, or will when the others have ended.
            self.thread.join(PATIENCE)
        self.leaving = True
        # When the error is told: torchrun then ends those that have not ended.
        atexit.register(self._say, code_of(error))
        return self._first_to_tell()

    def _wait(self) -> None:
        word = torch.zeros(1, dtype=torch.int32)
        try:
            dist.recv(word, self.next, group=self.group)
        except RuntimeError:
            word.fill_(EXIT_STOPPED)
            if self._first_to_tell():
                self.lost(f"process {self.next} of {self.world} died")
        code = int(word)
        if code != FINE and not self.leaving:
            self._say(code)
            os._exit(code)

    def _say(self, code: int) -> None:
        with contextlib.suppress(RuntimeError):  # it may be gone, too
            dist.send(torch.tensor([code], dtype=torch.int32), self.previous, group=self.group)

    def _first_to_tell(self) -> bool:
        """Whether no other process has told why the run ends."""
        try:
            return bool(self.store.add("told", 1) == 1)
        except RuntimeError:  # the store's process is gone
            return True
