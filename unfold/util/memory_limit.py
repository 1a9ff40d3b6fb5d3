"""The memory limit of this process: of the machine, its container or batch job."""

from __future__ import annotations

import os

from unfold.util.processors import groups


def memory_limit() -> int:
    """Bytes: the machine's memory, or the lowest limit of its control groups."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                limits.append(int((folder / name).read_text()))
            except (OSError, ValueError):  # no limit, or "max"
                continue
    return min(limits)
