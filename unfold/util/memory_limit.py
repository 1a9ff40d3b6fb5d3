"""How much memory this process may have at most: of the machine, or of its container or batch job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

MEMBERSHIP, ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def memory_limit() -> int:
    """Bytes: the machine's memory, or the lowest limit of a control group that this process is in."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in group_folders(MEMBERSHIP, ROOT):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                limits.append(int((folder / name).read_text()))
            except (OSError, ValueError):  # none here, or "max"
                continue
    return min(limits)


def group_folders(membership: Path, root: Path) -> Iterator[Path]:
    """Where the memory limits of this process's control groups stand, and of those above: versions 2 and 1."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if "memory" in controllers.split(",") or not controllers:
            base = root / controllers
            folder = base / group.strip("/")
            # In a container the group's name may lie outside of what is mounted, whose root is then its own.
            yield from (folder, *(above for above in folder.parents if above.is_relative_to(base)))
