"""How a process that loads data begins."""

from __future__ import annotations

from unfold.training.signals import ignore_in_worker


def begin_worker(worker: int) -> None:
    """One thread, for there are as many workers as there are to be, and no heed of signals: who runs them ends them.

    torch sees to its own threads.
    """
    import cv2

    ignore_in_worker(worker)
    cv2.setNumThreads(0)
