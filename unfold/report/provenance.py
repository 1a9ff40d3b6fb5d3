"""Provenance of numbers: the command, the versions and the machine."""

from __future__ import annotations

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


def provenance(device: torch.device) -> dict[str, Any]:
    """The provenance of everything that this process computes on the device, for JSON."""
    return {
        "command": shlex.join(["unfold", *sys.argv[1:]]),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "unfold": unfold.__version__,
        "git": revision(Path(unfold.__file__).parent),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": platform.platform(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "tf32 in convolutions": torch.backends.cudnn.allow_tf32 if device.type == "cuda" else None,
    }


def revision(folder: Path) -> str | None:
    """The git revision of the folder's source tree, with "+" for uncommitted changes.

    None where git does not track this folder: an installed package may be inside another project's tree.
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
