"""The start of a worker process, which loads data."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from unfold.training.processes.signals import ignore_in_worker

PR_SET_PDEATHSIG = 1  # of prctl(2)


def begin_worker(worker: int, parent: int) -> None:
    """Use one thread, as there are many workers, and ignore signals: the parent ends its workers.

    parent: the process that runs the workers; they end with it. torch sets its own threads.
    """
    import cv2

    ignore_in_worker(worker)
    end_with(parent)
    cv2.setNumThreads(0)


def end_with(parent: int) -> None:
    """Have this process killed when ``parent`` is gone, at once where it is gone already.

    torch's workers watch for a new parent only after they have started. Where the parent was killed earlier, they would
    wait without end.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
