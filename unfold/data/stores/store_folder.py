"""Decoded images on the disk, kept in the cache folder between runs: find, make, list and clear them."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import logging
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from unfold.data.stores.pixel_file import FILLED, PixelFile, begin, spare
from unfold.errors import UnfoldError
from unfold.util.download import alone
from unfold.util.paths import cache_folder

logger = logging.getLogger("unfold")
LIMIT = 100.0  # GB in all, unless UNFOLD_STORE_LIMIT is set
SUFFIX = ".pixels"
NETWORK = ("nfs", "cifs", "smb", "lustre", "beegfs", "gpfs", "ceph", "afs", "9p", "fuse.")


class Kept(NamedTuple):
    """A file of decoded images in the cache folder; size: in bytes; whole: its final size, while it is being filled;
    decoded: number of decoded images, of slots.
    """

    path: Path
    size: int
    whole: int
    used: float
    of: str
    decoded: int
    slots: int


def folder() -> Path:
    """The folder for files of decoded images. It need not exist."""
    return cache_folder() / "stores"


def limit() -> int:
    """Maximum bytes of all files there: UNFOLD_STORE_LIMIT, in GB. UnfoldError if that is not a number."""
    text = os.environ.get("UNFOLD_STORE_LIMIT", "")
    try:
        value = float(text) if text else LIMIT
        if not 0 <= value < float("inf"):
            raise ValueError
    except ValueError:
        raise UnfoldError(f"UNFOLD_STORE_LIMIT is a number of GB, and {text!r} is not") from None
    return int(value * 1e9)


def find_or_begin(key: str, slots: int, kinds: Sequence[str], needed: int, of: str) -> PixelFile:
    """The file of the images with this key, created where it is missing or damaged; marked as in use while open.

    needed: bytes that it will take, about; of: its description. Where the limit requires it, unused files are removed,
    least recently used first. OSError if there is no room, or nothing can be written.
    """
    path = folder() / f"{key}{_machine()}{SUFFIX}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise OSError(0, f"{path.parent} cannot be written")
    with alone(path):
        # Its lock marks the file as in use. On NFS, shared locks need a file that is open for reading.
        used = path.with_suffix(".used").open("w+b")
        fcntl.flock(used, fcntl.LOCK_SH)
        os.utime(used.fileno())
        room = limit() - _make_room(path, needed)
        file = _sound(path, slots, kinds, room)
        if file is None:
            disk = os.statvfs(path.parent)
            if disk.f_bavail * disk.f_frsize < needed + spare(disk):
                raise OSError(
                    0, f"{needed / 1e9:.1f} GB are needed, and {disk.f_bavail * disk.f_frsize / 1e9:.1f} free"
                )
            part = path.with_name(f".{path.name}.part")
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
            fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                about = {"of": of[:200], "made": datetime.date.today().isoformat(), "needed": needed}
                begin(fd, slots, kinds, room, False, about)
                part.replace(path)
            except OSError:
                os.close(fd)
                part.unlink(missing_ok=True)
                raise
            file = PixelFile(fd, str(path), room, False)
    file.held = used
    return file


def _sound(path: Path, slots: int, kinds: Sequence[str], room: int) -> PixelFile | None:
    """The existing file; None if it is missing or damaged (logged)."""
    try:
        file = PixelFile(os.open(path, os.O_RDWR | os.O_CLOEXEC), str(path), room, False)
        reason = file.damage() or ("" if (file.slots, file.kinds) == (slots, list(kinds)) else "it is of other images")
        if reason:
            raise UnfoldError(f"{path} is damaged: {reason}")
    except FileNotFoundError:
        return None
    except UnfoldError as error:
        logger.warning("%s: it is made again", error)
        return None
    file.begin_again()
    return file


def _make_room(path: Path, needed: int) -> int:
    """Bytes of other files, after removing unused ones. OSError if that is not enough."""
    others = sorted((one for one in kept() if one.path != path), key=lambda one: one.used)
    taken = sum(one.whole for one in others)
    for one in others:
        if taken + needed <= limit():
            break
        if needed <= limit() and _remove(one.path):
            logger.info("removed %s (%.1f GB, of %s) to make room", one.path, one.size / 1e9, one.of)
            taken -= one.whole
    if taken + needed > limit():
        raise OSError(
            0,
            f"{needed / 1e9:.1f} GB are needed, and UNFOLD_STORE_LIMIT leaves {max(limit() - taken, 0) / 1e9:.1f}",
        )
    return taken


def _remove(path: Path) -> bool:
    """Remove a file of decoded images; False where a run has it open, or it belongs to another user. Its empty lock
    files stay: see alone.
    """
    try:
        with path.with_suffix(".used").open("wb") as used:
            fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        raise UnfoldError(f"{path} cannot be removed: {error.strerror or error}") from None
    return True


def kept() -> list[Kept]:
    """The files in the cache folder."""
    return list(_kept())


def _kept() -> Iterator[Kept]:
    for path in sorted(folder().glob(f"*{SUFFIX}")):
        try:
            facts, used = path.stat(), path.with_suffix(".used")
            last = used.stat().st_mtime if used.exists() else facts.st_mtime
            of, decoded, slots, size, needed = "damaged", 0, 0, facts.st_blocks * 512, 0
            try:
                file = PixelFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC), str(path), 0, False)
                of, slots, needed = str(file.about["of"]), file.slots, int(file.about.get("needed", 0))
                decoded = sum(entry.state == FILLED for entry in file.entries())
            except UnfoldError:
                pass
            except PermissionError:
                of = "another user's"
            yield Kept(path, size, max(size, needed if decoded < slots else 0), last, of, decoded, slots)
        except FileNotFoundError:
            continue


def list_stores() -> str:
    """List the kept files, as text."""
    found = kept()
    lines = [
        f"{one.size / 1e9:8.2f} GB  {one.decoded} of {one.slots} images  used "
        f"{datetime.datetime.fromtimestamp(one.used):%Y-%m-%d %H:%M}  {one.path.name}  {one.of}"
        for one in found
    ]
    total = sum(one.size for one in found)
    return "\n".join([*lines, f"{total / 1e9:.2f} GB of at most {limit() / 1e9:g} (UNFOLD_STORE_LIMIT) in {folder()}"])


def clear_stores() -> str:
    """Remove all files that no run uses; reports what was removed and what stays."""
    found = kept()
    gone = [one for one in found if _remove(one.path)]
    for rest in folder().glob("*.sizes.json"):
        rest.unlink(missing_ok=True)
    lines = [f"{one.path} stays: a run uses it, or it is another user's" for one in found if one not in gone]
    size = sum(one.size for one in gone)
    return "\n".join([*lines, f"removed {len(gone)} of {len(found)} stores, {size / 1e9:.2f} GB, from {folder()}"])


def _machine() -> str:
    """The name of this machine, on a file system that several machines write: their page caches do not see each other's
    writes in time.
    """
    place = os.path.realpath(folder())
    best, kind = "", ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, mount, system, *_ = line.split()
            if f"{place}/".startswith(mount.rstrip("/") + "/") and len(mount) >= len(best):
                best, kind = mount, system
    return f"-{platform.node()}" if kind.startswith(NETWORK) else ""
