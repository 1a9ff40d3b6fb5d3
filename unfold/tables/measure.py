"""Run methods on single cases, in this process or in several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from unfold.data.parallel import in_parallel
from unfold.errors import UnfoldError, out_of_memory
from unfold.evaluation.methods import baseline
from unfold.evaluation.run_protocol import evaluate_case, stage_results
from unfold.models.run_on_arrays import Image, Method, network
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.protocol import Case, Protocol, Sample, sample_of
from unfold.tables.open_weights import Net
from unfold.tables.results import ImageScore
from unfold.util.arrays import Named
from unfold.util.device import pick_device, place
from unfold.util.precision import Precision, autocast_for
from unfold.util.processors import processors


class Task(NamedTuple):
    """A case, and the methods to run on it: by score key, the network or a baseline's name."""

    protocol: Protocol
    case: Case
    methods: dict[str, Net | str]


class Measured(NamedTuple):
    """A score with its key, or why there is none."""

    key: str
    score: ImageScore | None
    error: str = ""


class Runner:
    """Runs tasks on one device. Networks are loaded on first use."""

    def __init__(self, device: str, precision: Precision) -> None:
        self.device = pick_device(device)
        self.precision: Precision = precision
        self._loaded: dict[Net, UnfoldingNetwork] = {}

    def _network(self, net: Net) -> UnfoldingNetwork:
        if net not in self._loaded:
            self._loaded[net] = place(net.load(), self.device)
        return self._loaded[net]

    def _method(self, what: Net | str, protocol: Protocol) -> Method:
        if isinstance(what, str):
            return baseline(what, protocol)
        plain = network(self._network(what), self.device)

        def run(inputs: Named) -> Image:
            with autocast_for(self.device, self.precision):
                return plain(inputs)

        return run

    def run(self, task: Task) -> list[Measured]:
        """Degrade the case once and run all methods on it; an UnfoldError becomes text."""
        try:
            sample = sample_of(task.protocol, task.case)
        except UnfoldError as error:
            return [Measured(key, None, str(error)) for key in task.methods]
        return [self._measure(task, sample, key, what) for key, what in task.methods.items()]

    def _measure(self, task: Task, sample: Sample, key: str, what: Net | str) -> Measured:
        try:
            result = evaluate_case(task.protocol, self._method(what, task.protocol), task.case, sample)
        except UnfoldError as error:
            return Measured(key, None, str(error))
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return Measured(key, None, f"{task.case.name}: out of memory")
        return Measured(key, ImageScore(task.case.name, result.scores, result.seconds, []))

    def stages(self, net: Net, protocol: Protocol, sample: Sample) -> list[Image]:
        """The finished result after every stage."""
        with autocast_for(self.device, self.precision):
            return stage_results(self._network(net), protocol, sample, self.device)

    def result(self, what: Net | str, protocol: Protocol, sample: Sample) -> Image:
        """The finished result."""
        return protocol.restore(self._method(what, protocol), sample)


def measure(tasks: Sequence[Task], devices: Sequence[str], precision: Precision) -> Iterator[Measured]:
    """The scores of all tasks, under a progress bar; with one process per device where there are several."""
    workers = min(len(devices), len(tasks))
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    for device in devices:
        queue.put(device)
    begin = partial(_begin, queue, precision, workers)
    for found in in_parallel(_run, tasks, "measuring", "image", workers=max(workers, 1), begin=begin):
        yield from found


_runner: Runner | None = None  # of this process


def _begin(queue: Any, precision: Precision, workers: int) -> None:
    global _runner
    if workers > 1:
        torch.set_num_threads(max(1, processors() // workers))
    _runner = Runner(queue.get(), precision)


def _run(task: Task) -> list[Measured]:
    assert _runner is not None
    return _runner.run(task)
