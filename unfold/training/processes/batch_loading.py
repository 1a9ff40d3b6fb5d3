"""Batches from the processes that load data, and in one line what goes wrong in those."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

from torch.utils.data import DataLoader

from unfold.errors import UnfoldError
from unfold.training.processes.signals import kept_waiting
from unfold.util.arrays import Named


class WorkerDied(Exception):  # noqa: N818  (the run can go on)
    """A process that loads data is gone; the message is torch's, on one line."""


def batches(loader: DataLoader[Named]) -> Iterator[tuple[Named, float]]:
    """The loader's batches, and the seconds each was waited for.

    Raises WorkerDied where a worker was killed: here and nowhere else, so that no step is cut in two. UnfoldError and
    OSError of a worker come with their own words, on one line.
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
            # A batch has been announced, and who has it is gone.
            raise WorkerDied(f"{type(error).__name__} {' '.join(str(error).split())}") from None
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):  # what a worker raised begins with "Caught"
                raise
            raise WorkerDied(" ".join(str(error).split())) from None
        if batch is None:
            return
        yield batch, time.perf_counter() - begin
        begin = time.perf_counter()


def end_workers(loader: DataLoader[Named]) -> None:
    """End the processes that load data, which stay from epoch to epoch.

    Left to Python, that may come after it has begun to wait for them: errors keep alive what they came through.
    """
    if (source := getattr(loader, "_iterator", None)) is not None:
        source._shutdown_workers()


def _hear_of_deaths_by_asking() -> None:
    """Take away torch's handler, which raises wherever the run is when a worker dies: it may be amid a step.

    Without it, whoever waits for a batch looks for dead workers every 5 seconds.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _own_words(error: Exception) -> str:
    """The message of an error that a worker raised: torch puts a traceback before it, whose last line it ends."""
    text = str(error).strip()
    return text.splitlines()[-1].partition(": ")[2] if text.startswith("Caught") else text
