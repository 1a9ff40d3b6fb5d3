"""Choose where decoded training images are kept: in memory, on the disk, or nowhere (DATA.STORE)."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import PIL

import unfold
from unfold.data.stores import store_folder
from unfold.data.stores.image_heads import Size, sizes_of
from unfold.data.stores.image_stores import Files
from unfold.data.stores.pixel_file import FILLED, PixelFile, begin
from unfold.data.stores.shared_store import Images, SharedStore
from unfold.errors import UnfoldError
from unfold.util.memory_limit import memory_limit
from unfold.util.paths import facts_of
from unfold.util.progress import progress

logger = logging.getLogger("unfold")
T = TypeVar("T")
SMALL = 2**29  # bytes: smaller sets are decoded before the first step, so that bad images are found early
NAMED = 10  # bad files listed in an error
POSSIBLE = hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd")  # noqa: PTH112  (Linux)


class Peers(Protocol):
    """The processes that share a run."""

    rank: int
    world: int

    def gather(self, value: T) -> list[T]:
        """The values of all processes in rank order, on every process."""


class Wish(NamedTuple):
    """The requested store. place: DATA.STORE; factors: of smaller copies; skip_bad: skip bad images; rule: identifies
    how files are read, "" for code that may change unseen; of: the set's name; dry: write no file.
    """

    place: str = "auto"
    factors: Sequence[float] = ()
    skip_bad: bool = False
    rule: str = ""
    of: str = ""
    dry: bool = False


def shared_store(
    sources: Sequence[Any],
    files: Sequence[Files],
    read: Callable[[Any], Images],
    shrink: Callable[[Images, float], Images],
    wish: Wish,
    peers: Peers | None = None,
) -> tuple[SharedStore, list[str]]:
    """A store of all images, shared by the processes of this machine, and the problem of each skipped image.

    files: the files of each source. All headers are read. Images are decoded now where the set is SMALL or bad images
    are skipped, otherwise on first use. UnfoldError as in unfold.data.patches.read_store.
    """
    facts = facts_of([path for one in files for path in one.values()])
    versions = [unfold.__version__, PIL.__version__, np.__version__, _version_of_cv2()]
    key = _digest([facts, wish.rule, list(wish.factors), versions])
    bad: dict[int, str] = {}
    probe = _first(sources, read, bad)
    known = sizes_of([one["target"] for one in files], _digest([facts, versions]), wish.dry)
    sizes = _sizes(known, sources, read, bad)
    target = probe["target"]
    pixels = sum(height * width for height, width in sizes)
    each = sum(image.nbytes for image in probe.values()) / (target.shape[0] * target.shape[1])
    needed = int(each * pixels * (1 + sum(factor**2 for factor in wish.factors)))
    slots = len(sources) * (1 + len(wish.factors))
    opened = _together(peers, lambda: _place(key, slots, sorted(probe), needed, wish))
    scale = len(target) // len(probe["input"]) if "input" in probe else 1
    store = SharedStore(opened.file, sources, read, shrink, wish.factors, sizes, scale, key)
    logger.info("%d training images, decoded: %s", len(sources), opened.said)
    if wish.skip_bad or needed <= SMALL:
        _decode_all(store, bad, peers)
    if bad and not (wish.skip_bad and len(bad) < len(sources)):
        raise UnfoldError(_refusal(bad, len(sources)))
    for index in sorted(bad):
        logger.warning("left out: %s", bad[index])
    if bad:
        logger.warning("%d of %d training images are left out (DATA.SKIP_BAD)", len(bad), len(sources))
    store.leave_out(set(bad))
    return store, [bad[index] for index in sorted(bad)]


def _version_of_cv2() -> str:
    import cv2

    return str(cv2.__version__)


def _digest(of: Any) -> str:
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()[:32]


def _refusal(bad: dict[int, str], count: int) -> str:
    reasons = [bad[index] for index in sorted(bad)]
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    hint = " (DATA.SKIP_BAD true leaves them out)" if len(bad) < count else ""
    return f"{len(bad)} of {count} training images cannot be used{hint}: {'; '.join(reasons[:NAMED])}{more}"


def _first(sources: Sequence[Any], read: Callable[[Any], Images], bad: dict[int, str]) -> Images:
    """The first readable image, which sets the format of all. UnfoldError if there is none."""
    for index, source in enumerate(sources):
        try:
            return read(source)
        except UnfoldError as error:
            bad[index] = str(error)
    raise UnfoldError(_refusal(bad, len(sources)))


def _sizes(
    known: Sequence[Size | None], sources: Sequence[Any], read: Callable[[Any], Images], bad: dict[int, str]
) -> list[Size]:
    """Sizes of all targets, from their headers or else by decoding."""
    sizes: list[Size] = []
    for index, size in enumerate(known):
        if size is None and index not in bad:
            try:
                height, width = read(sources[index])["target"].shape[:2]
                size = height, width
            except UnfoldError as error:
                bad[index] = str(error)
        sizes.append(size or (1, 1))
    return sizes


def _decode_all(store: SharedStore, bad: dict[int, str], peers: Peers | None) -> None:
    """Decode all images that are missing; processes start at different images and share the work."""
    rank, world = (peers.rank, peers.world) if peers is not None else (0, 1)
    slots = [slot for slot in store.slots if slot % len(store.sources) not in bad]
    mine = [*slots[rank::world], *(slot for i, slot in enumerate(slots) if i % world != rank)]
    for slot in progress(mine, "decoding images", "image"):
        source = slot % len(store.sources)
        if source in bad:
            continue
        try:
            store.filled(slot)
        except UnfoldError as error:
            bad[source] = str(error)


class Opened(NamedTuple):
    """An open file, and its place in words."""

    file: PixelFile
    said: str


EACH_TIME = "each time, from their files"


def _together(peers: Peers | None, make: Callable[[], Opened]) -> Opened:
    """The file that the first process of each machine makes, opened in all processes of the machine."""
    if peers is None or peers.world == 1:
        return make()
    boot = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    machines = peers.gather(f"{platform.node()} {boot}")
    leader = machines.index(machines[peers.rank])
    made = make() if leader == peers.rank else None
    gathered = peers.gather(None if made is None else (made.file.place, made.file.__getstate__(), made.said))
    if made is None:
        place, state, said = gathered[leader] or ("", {}, "")
        try:
            made = Opened(PixelFile(os.open(place, os.O_RDWR | os.O_CLOEXEC), **_without(state, "place")), said)
        except (OSError, UnfoldError):  # another container on the same machine, where that is nothing, or another file
            made = make()
    peers.gather(None)  # the first process keeps its file open until all have opened it
    return made


def _without(state: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name != key}


def _place(key: str, slots: int, kinds: list[str], needed: int, wish: Wish) -> Opened:
    """Open the requested place, or the best available one, and describe it."""
    size = f"{needed / 1e9:.1f} GB" if needed >= 1e9 else f"{needed / 1e6:.1f} MB"
    quarter = memory_limit() // 4
    wanted = wish.place if wish.place != "auto" else "memory" if needed <= quarter else "disk"
    if wanted == "disk" and wish.dry:
        wanted = "files"
    if wanted == "memory":
        try:
            if needed > 3 * quarter:
                raise OSError(0, f"{size} are needed, and the memory limit is {4 * quarter / 1e9:.1f} GB")
            room = min(max(quarter, needed), 2 * needed) + 2**20
            return Opened(_in_memory(slots, kinds, room), f"in memory, {size}, once for all processes")
        except OSError as error:
            logger.warning("decoded images cannot be kept in memory: %s", error.strerror)
            wanted = "files" if wish.dry else "disk"
    if wanted == "disk":
        try:
            return _on_disk(key, slots, kinds, needed, size, wish)
        except OSError as error:
            logger.warning("decoded images cannot be kept on the disk: %s", error.strerror)
    return Opened(_in_memory(slots, kinds, 0), EACH_TIME)


def _in_memory(slots: int, kinds: list[str], room: int) -> PixelFile:
    """A file in memory that ends with the last process that has it open; room 0: only for checksums."""
    fd = os.memfd_create("unfold")
    try:
        begin(fd, slots, kinds, room, bool(room), {})
    except OSError:
        os.close(fd)
        raise
    return PixelFile(fd, "", room, bool(room))


def _on_disk(key: str, slots: int, kinds: list[str], needed: int, size: str, wish: Wish) -> Opened:
    if wish.rule:
        file = store_folder.find_or_begin(key, slots, kinds, needed, wish.of)
        there = sum(entry.state == FILLED for entry in file.entries())
        return Opened(file, f"on the disk, {size} in {file.path}, {there} of {slots} there by now")
    folder = store_folder.folder()  # with code of the user, kept images cannot be checked for changes
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as nameless:
        fd = os.dup(nameless.fileno())
    begin(fd, slots, kinds, store_folder.limit(), False, {})
    return Opened(
        PixelFile(fd, "", store_folder.limit(), False), f"on the disk, {size} in {folder}, for this run alone"
    )
