"""What a run ran on: environment.json in the run folder, one entry for each time it was started."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import torch

from unfold.report.provenance import provenance
from unfold.training.processes.distributed import Processes
from unfold.util.whole_files import whole_file

FILE = "environment.json"


def record_start(
    folder: Path, step: int, images: dict[str, object], device: torch.device, precision: str, processes: Processes
) -> None:
    """Add an entry to environment.json: how, when and after which step the run was started, on what.

    images: with what data, see :func:`unfold.training.setup.going_on.seen`.
    """
    starts = read_starts(folder)
    starts.append(
        {
            **provenance(device),
            "step": step,
            "folder": str(Path.cwd()),
            "cuda": torch.version.cuda,
            "host": platform.node(),
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(),
            "processes": processes.world,
            "precision": precision,
            **images,
        }
    )
    with whole_file(folder / FILE) as file:
        file.write(json.dumps(starts, indent=1).encode() + b"\n")


def read_starts(folder: Path) -> list[dict[str, object]]:
    """The entries of environment.json, first start first; none where it is missing or damaged: no run needs it."""
    try:
        starts: list[dict[str, object]] = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return []
    return starts
