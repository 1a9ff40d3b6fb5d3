"""Batches from worker processes, with their errors as one line."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

from torch.utils.data import DataLoader

from unfold.errors import UnfoldError
from unfold.training.processes.signals import kept_waiting
from unfold.util.arrays import Named


class WorkerDied(Exception):  # noqa: N818  (the run can be resumed)
    """A worker process died; the message is torch's, on one line."""


def batches(loader: DataLoader[Named]) -> Iterator[tuple[Named, float]]:
    """The loader's batches, and the seconds spent waiting for each.

    Raises WorkerDied where a worker was killed: only here, so that no step is cut in two. UnfoldError and OSError of a
    worker keep their messages, on one line.
    """
    begin = time.perf_counter()
    source: Iterator[Named] | None = None
    while True:
        try:
            if source is None:
                with kept_waiting():
                    source = iter(loader)
                _hear_of_deaths_by_asking()
            batch = next(source, None)
        except UnfoldError as error:
            raise UnfoldError(_own_words(error)) from None
        except (OSError, EOFError) as error:
            if str(error).startswith("Caught"):
                raise OSError(_own_words(error)) from None
            if not loader.num_workers:
                raise
            # A batch was announced, but its worker is gone.
            raise WorkerDied(f"{type(error).__name__} {' '.join(str(error).split())}") from None
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):  # an error that a worker raised starts with "Caught"
                raise
            raise WorkerDied(" ".join(str(error).split())) from None
        if batch is None:
            return
        yield batch, time.perf_counter() - begin
        begin = time.perf_counter()


def end_workers(loader: DataLoader[Named]) -> None:
    """End the worker processes, which live across epochs.

    Left to Python, this may come after it starts to wait for them, as errors keep references to the loader alive.
    """
    if (source := getattr(loader, "_iterator", None)) is not None:
        source._shutdown_workers()


def _hear_of_deaths_by_asking() -> None:
    """Remove torch's handler, which raises anywhere in the run when a worker dies, perhaps within a step.

    Without it, the wait for a batch checks for dead workers every 5 seconds.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _own_words(error: Exception) -> str:
    """The message of an error that a worker raised: torch puts it at the end of a traceback's last line."""
    text = str(error).strip()
    return text.splitlines()[-1].partition(": ")[2] if text.startswith("Caught") else text
