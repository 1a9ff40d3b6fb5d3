"""The environment of a run: environment.json in the run folder, one entry for each time it was started."""

from __future__ import annotations

import json
import logging
import platform
from pathlib import Path

import torch

from unfold.report.provenance import provenance
from unfold.training.processes.distributed import Processes
from unfold.util.atomic_files import whole_file
from unfold.util.processors import chosen_by_a_person, processors

FILE = "environment.json"
logger = logging.getLogger("unfold")


def record_start(
    folder: Path, step: int, images: dict[str, object], device: torch.device, precision: str, processes: Processes
) -> None:
    """Add an entry to environment.json: how, when, where and after which step the run was started.

    images: with what data, see :func:`unfold.training.setup.resume_check.seen`.
    """
    starts = read_starts(folder)
    starts.append(
        {
            **provenance(device),
            "step": step,
            "folder": str(Path.cwd()),
            "cuda": torch.version.cuda,
            "host": platform.node(),
            "cpus": processors(),
            "threads": torch.get_num_threads(),
            "processes": processes.world,
            "precision": precision,
            **images,
        }
    )
    write_starts(folder, starts)


def write_starts(folder: Path, starts: list[dict[str, object]]) -> None:
    """Write the entries of environment.json."""
    with whole_file(folder / FILE) as file:
        file.write(json.dumps(starts, indent=1).encode() + b"\n")


def read_starts(folder: Path) -> list[dict[str, object]]:
    """The entries of environment.json, first start first; none where it is missing or damaged: no run needs it."""
    try:
        starts: list[dict[str, object]] = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return []
    return starts


def keep_threads(folder: Path, processes: Processes) -> None:
    """Use as many threads as the last start of the run: another number changes the rounding of sums.

    Not where the user sets another number (a warning is logged), nor for another number of processes, which changes the
    rounding anyway.
    """

    def of_last_start() -> int | None:
        last = (read_starts(folder) or [{}])[-1]
        threads = last.get("threads")
        same = last.get("processes", 1) == processes.world
        return threads if same and type(threads) is int and threads > 0 else None

    before, now = processes.from_first(of_last_start), torch.get_num_threads()
    if before is None or before == now:
        return
    if chosen_by_a_person():
        logger.warning(
            "this run had %d threads so far, and the environment sets %d: its numbers will differ by rounding from "
            "those of a run that was not stopped; OMP_NUM_THREADS=%d would keep them equal",
            *(before, now, before),
        )
        return
    torch.set_num_threads(before)
    logger.info("using %d threads, as this run did so far (a new run here would use %d)", before, now)
