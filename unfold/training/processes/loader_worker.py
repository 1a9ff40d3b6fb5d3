"""How a process that loads data begins."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from unfold.training.processes.signals import ignore_in_worker

PR_SET_PDEATHSIG = 1  # of prctl(2)


def begin_worker(worker: int, parent: int) -> None:
    """One thread, for there are as many workers as there are to be, and no heed of signals: who runs them ends them.

    parent: the process that runs them, with which they end. torch sees to its own threads.
    """
    import cv2

    ignore_in_worker(worker)
    end_with(parent)
    cv2.setNumThreads(0)


def end_with(parent: int) -> None:
    """Have this process killed when ``parent`` is gone, at once where it is gone already.

    torch's workers look whether their parent changes, from a moment on that is too late where it was killed while they
    began: then they waited for ever.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
