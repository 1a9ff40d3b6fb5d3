"""What goes wrong in a process that loads data is reported in one line, between two steps."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from unfold.errors import UnfoldError
from unfold.training.processes.batch_loading import WorkerDied, batches
from unfold.training.processes.loader_worker import end_with
from unfold.training.processes.signals import ignore_in_worker


class Bad(Dataset[dict[str, Any]]):
    """Sample 3 does something else."""

    def __init__(self, do: Callable[[], object]) -> None:
        self.do = do

    def __len__(self) -> int:
        return 8

    def __getitem__(self, number: int) -> dict[str, Any]:
        if number == 3:
            self.do()
        return {"target": torch.tensor(number)}


def raises(error: Exception) -> Callable[[], object]:
    def do() -> None:
        raise error

    return do


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before)


def load(do: Callable[[], object], workers: int) -> list[int]:
    loader = DataLoader(Bad(do), num_workers=workers, worker_init_fn=ignore_in_worker)
    return [int(batch["target"]) for batch, _ in batches(loader)]


@pytest.mark.parametrize("workers", [0, 1])
def test_its_errors_keep_their_own_words_and_no_traceback(workers: int) -> None:
    with pytest.raises(UnfoldError) as error:
        load(raises(UnfoldError("cache.h5 is damaged (offset: 3); make it anew")), workers)
    assert str(error.value) == "cache.h5 is damaged (offset: 3); make it anew"
    with pytest.raises(OSError, match=r"^(\[Errno 5\] )?Input/output error$") as failure:
        load(raises(OSError(5, "Input/output error")), workers)
    assert not isinstance(failure.value, UnfoldError)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_in_our_code_is_no_death_and_keeps_its_traceback(workers: int) -> None:
    with pytest.raises(RuntimeError, match="a mistake"):
        load(raises(RuntimeError("a mistake")), workers)


def test_a_killed_one_is_reported_where_a_batch_is_asked_for() -> None:
    with pytest.raises(WorkerDied) as death:
        load(lambda: os.kill(os.getpid(), signal.SIGKILL), 1)
    assert len(str(death.value).splitlines()) == 1
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL, "torch's raises in the midst of a step"


def test_one_ignores_what_a_scheduler_sends_to_all_and_obeys_what_follows() -> None:
    def signalled() -> None:
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
            os.kill(os.getpid(), number)

    assert load(signalled, 1) == list(range(8))
    with pytest.raises(WorkerDied):
        load(lambda: (signalled(), signalled()), 1)


def test_a_signal_that_comes_while_processes_are_begun_ends_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = DataLoader.__iter__
    got = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: got.append(number))

    def disturbed(self: DataLoader[Any]) -> Any:
        signal.raise_signal(signal.SIGTERM)
        assert not got, "it waits"
        return begin(self)

    monkeypatch.setattr(DataLoader, "__iter__", disturbed)
    try:
        assert load(lambda: None, 1) == list(range(8))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert got == [signal.SIGTERM]


def test_one_whose_parent_died_before_it_began_ends_itself() -> None:
    loader = DataLoader(Bad(lambda: None), num_workers=1, worker_init_fn=lambda worker: end_with(parent=1))
    with pytest.raises(WorkerDied):
        list(batches(loader))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch's workers look every 5 seconds")
def test_one_ends_at_once_with_the_process_that_runs_it() -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        def begin(worker: int, parent: int = os.getpid()) -> None:
            end_with(parent)
            sender.send(os.getpid())

        for _ in DataLoader(Bad(lambda: None), num_workers=1, worker_init_fn=begin, persistent_workers=True):
            time.sleep(60)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    worker = receiver.recv()
    assert running(worker)
    process.kill()
    process.join()
    end = time.monotonic() + 3
    while running(worker) and time.monotonic() < end:
        time.sleep(0.01)
    assert not running(worker)


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
