"""Times and memory peaks of several functions that take turns, so that other load affects all of them equally."""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from unfold.util.device import wait_for

LEAST, MOST = 3, 50  # rounds


class Times(NamedTuple):
    """Seconds: the median over the rounds, the fastest and the slowest."""

    median: float
    fastest: float
    slowest: float
    rounds: int


def take_turns(
    runs: Mapping[str, Callable[[], object]], device: torch.device, seconds: float
) -> tuple[dict[str, Times], dict[str, Exception]]:
    """Run each once per round, in turn, for as many rounds as fit, at least three, after a warm-up round.

    A function that fails is left out of further rounds. Returns the times of the others, and the errors.
    """
    spent: dict[str, list[float]] = {name: [] for name in runs}
    failed: dict[str, Exception] = {}
    begin = time.perf_counter()
    for number in range(MOST + 1):
        for name in [name for name in runs if name not in failed]:
            try:
                took = timed(runs[name], device)
            except Exception as error:  # such as out of memory
                failed[name] = error
                continue
            if number:
                spent[name].append(took)
        if number >= LEAST and time.perf_counter() - begin > seconds:
            break
    whole = {name: all_ for name, all_ in spent.items() if name not in failed}
    found = {name: Times(statistics.median(all_), min(all_), max(all_), len(all_)) for name, all_ in whole.items()}
    return found, failed


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of one run, with the device idle before and after."""
    wait_for(device)
    begin = time.perf_counter()
    run()
    wait_for(device)
    return time.perf_counter() - begin


def peak(run: Callable[[], object], device: torch.device) -> int | None:
    """Peak bytes of a run, above what is allocated before it. None if the system does not report it.

    On CUDA torch's allocations; on the CPU the process's resident memory, including workspaces (Linux).
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    try:
        # Freed memory is returned to the system, so that it counts when it is allocated again.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        before = _resident("VmRSS")
        run()
        return max(_resident("VmHWM") - before, 0)
    except (OSError, AttributeError, StopIteration):
        return None


def _resident(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024
