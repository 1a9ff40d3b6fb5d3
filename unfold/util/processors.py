"""The number of processors a process may use, and its thread settings, set before torch is loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

MEMBERSHIP, ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # torch follows either of them
WAITING = {"OMP_WAIT_POLICY": "passive"}  # idle threads sleep; otherwise two runs on two cores took 2.5 times as long


def groups(controller: str, membership: Path = MEMBERSHIP, root: Path = ROOT) -> Iterator[Path]:
    """The folders of this process's control groups and their parents that may limit ``controller``.

    For version 2, where one tree has all controllers, and version 1, where each, or a few together, have their own.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        names = controllers.split(",")
        if controllers and controller not in names:
            continue
        # Version 1's folder of several controllers is named after all of them, or linked to each name. Beside version
        # 1, version 2 has a folder of its own.
        for base in dict.fromkeys((root / controllers, root / controller if controllers else root / "unified")):
            folder = base / group.strip("/")
            # In a container the group's path may be outside the mounted tree, whose root is then the group itself.
            yield from (one for one in (folder, *folder.parents) if one.is_relative_to(base) and one.is_dir())


def quota(membership: Path = MEMBERSHIP, root: Path = ROOT) -> float | None:
    """CPU limit of the control groups in processors, such as 1.5; None without a limit."""
    shares = [share for folder in groups("cpu", membership, root) if (share := _share(folder)) is not None]
    return min(shares, default=None)


def _share(folder: Path) -> float | None:
    try:
        setting = (folder / "cpu.max").read_text().split()
    except OSError:
        try:
            setting = [(folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")]
        except OSError:
            return None
    try:
        most, period = float(setting[0]), float(setting[1])
    except (ValueError, IndexError):  # "max"
        return None
    return most / period if most > 0 and period > 0 else None


def processors(membership: Path = MEMBERSHIP, root: Path = ROOT) -> int:
    """How many processors this process may use: by its affinity and the CPU limit of its control groups."""
    limit = quota(membership, root)
    count = _affinity()
    return count if limit is None else max(1, min(count, int(limit)))


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(environment: MutableMapping[str, str], parent: Path | None = None) -> int | None:
    """The number of threads for torch where its own choice would be too many; None if torch may choose.

    Torch's choice, all processors of the machine, is too many where a CPU limit is lower, or where several processes of
    one run share them. parent: the environment that torchrun was started with; unless set, torchrun gives each process
    one thread, regardless of the machine.
    """
    several = environment.get("LOCAL_WORLD_SIZE", "")
    local = max(int(several), 1) if several.isdecimal() else 1
    said = [name for name in THREADS if environment.get(name)]
    if said and not (local > 1 and said == [THREADS[0]] and _by_torchrun(environment, parent)):
        return None
    there = processors()
    if "SLURM_PROCID" in environment and environment.get("SLURM_CPUS_PER_TASK", "").isdecimal():
        there = min(there, int(environment["SLURM_CPUS_PER_TASK"]))
    each = max(1, there // local)
    return each if each < _affinity() or said else None


def _by_torchrun(environment: MutableMapping[str, str], parent: Path | None) -> bool:
    """Whether torchrun set the single thread: its own environment at start did not set it."""
    if "TORCHELASTIC_RUN_ID" not in environment or environment[THREADS[0]] != "1":
        return False
    try:
        before = (parent or Path(f"/proc/{os.getppid()}/environ")).read_bytes()
    except OSError:
        return False
    return not any(entry.startswith(f"{THREADS[0]}=".encode()) for entry in before.split(b"\0"))


def prepare() -> None:
    """Configure the threads of this process and its child processes. Does nothing once torch is loaded.

    For programs only: a library must not change the environment of its importer. Existing settings stay.
    """
    if "torch" in sys.modules:
        return
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    if (threads := threads_for(os.environ)) is not None:
        os.environ[THREADS[0]] = str(threads)
        os.environ[OURS] = str(threads)


OURS = "UNFOLD_THREADS"  # number of threads that was chosen here, not by the user


def chosen_by_a_person() -> bool:
    """Whether the user set the number of threads, so that no run may change it."""
    said = {name: value for name in THREADS if (value := os.environ.get(name))}
    return bool(said) and said.get(THREADS[0]) != os.environ.get(OURS, "")


@contextmanager
def for_workers() -> Iterator[None]:
    """Inside, child processes wait passively, even where this process was not prepared (used as a library)."""
    new = {name: value for name, value in WAITING.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)
