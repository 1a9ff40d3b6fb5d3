"""What a run ran on: environment.json in the run folder, one entry for each time it was started."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

import unfold
from unfold.data.fingerprint import fingerprint
from unfold.data.stores import Store
from unfold.files import whole_file
from unfold.training.distributed import Processes

FILE = "environment.json"


def record_start(
    folder: Path, step: int, store: Store, device: torch.device, precision: str, processes: Processes
) -> None:
    """Add an entry to environment.json: how, when and after which step the run was started, on what, with what data."""
    starts = read_starts(folder)
    starts.append(
        {
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "step": step,
            "command": shlex.join(sys.argv),
            "folder": str(Path.cwd()),
            "unfold": unfold.__version__,
            "git": revision(Path(unfold.__file__).parent),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "cuda": torch.version.cuda,
            "system": platform.platform(),
            "host": platform.node(),
            "device": str(device),
            "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(),
            "processes": processes.world,
            "precision": precision,
            "data": {"images": len(store), "sha256": fingerprint(store)},
        }
    )
    with whole_file(folder / FILE) as file:
        file.write(json.dumps(starts, indent=1).encode() + b"\n")


def read_starts(folder: Path) -> list[dict[str, Any]]:
    """The entries of environment.json, first start first; none where it is missing or damaged: no run needs it."""
    try:
        starts: list[dict[str, Any]] = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return []
    return starts


def revision(folder: Path) -> str | None:
    """The git revision of the source tree that the folder belongs to, with "+" where files of it have changed since.

    None where git does not keep this folder: a package that is installed may lie inside a tree of something else.
    """
    if _git(folder, "ls-files", ".") in (None, ""):
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    return commit and commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")


def _git(folder: Path, *words: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  (words of our own)
            [git, "-C", str(folder), *words], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
