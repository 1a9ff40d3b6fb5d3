"""A file of decoded images that many processes write and read at the same time, in memory or on the disk.

Layout, version 1, numbers little-endian:
  head     4096 bytes: CRC-32 in 8 hex digits, JSON (slots, kinds, and a description), spaces
  end      16 bytes: offset of the next pixels, its CRC-32, and whether writing failed (1)
  entries  one per slot: state; per kind offset, height, width, channels, kind of number, CRC-32 of the pixels;
           CRC-32 of all that
  pixels   of each image (H,W,C), in the order of writing

Pixels are written before the entry that refers to them, on the disk with fdatasync. So a killed process, or a machine
that loses power, leaves an image complete or absent. Nothing is written through a memory map, where a full disk would
kill the process.
"""

from __future__ import annotations

import fcntl
import json
import logging
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unfold.errors import UnfoldError

logger = logging.getLogger("unfold")
VERSION = 1
HEAD, END, FIRST = 4096, 4096, 4112  # bytes of the head; offset of the end; offset of the entries
EMPTY, PLACED, FILLED, SEEN = range(4)  # SEEN: checksums are known, but the pixels are not stored
NUMBERS = ("uint8", "uint16", "float32")
_PART = struct.Struct("<QIIIII")
_SPARE = 2 * 10**9  # bytes of a disk that stay free (or a twentieth of it) for the checkpoints of runs


class Part(NamedTuple):
    """Where the pixels of an image are, and their CRC-32."""

    offset: int
    height: int
    width: int
    channels: int
    number: int
    crc: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(NUMBERS[self.number])

    @property
    def end(self) -> int:
        return self.offset + self.height * self.width * self.channels * self.dtype.itemsize


class Entry(NamedTuple):
    """The entry of a slot; parts by kind."""

    state: int
    parts: dict[str, Part]


class PixelFile:
    """An open file of decoded images.

    fd: the file's, which this object owns; path: its name, "" where it has none and ends with the last process that has
    it open; room: bytes that it may grow to; mapped: it is in memory, and read through a map.
    """

    def __init__(self, fd: int, path: str, room: int, mapped: bool) -> None:
        self.fd, self.path, self.room, self.mapped = fd, path, room, mapped
        try:
            self.about = head_of(fd, self.path)
        except UnfoldError:
            self.fd = -1
            os.close(fd)
            raise
        self.slots, self.kinds = int(self.about["slots"]), list(self.about["kinds"])
        self.bytes_each = 4 + _PART.size * len(self.kinds) + 4
        self.held: Any = None  # closed together with it
        self._known: dict[int, Entry] = {}
        self._map: Any = None

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            os.close(self.fd)

    def __getstate__(self) -> dict[str, Any]:
        return {"place": self.place, "path": self.path, "room": self.room, "mapped": self.mapped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(os.open(state.pop("place"), os.O_RDWR | os.O_CLOEXEC), **state)  # type: ignore[misc]

    @property
    def place(self) -> str:
        """A path that another process of this machine can open while this one has it open."""
        return self.path or f"/proc/{os.getpid()}/fd/{self.fd}"

    def entry(self, slot: int) -> Entry:
        """The current entry of a slot. A damaged entry counts as empty."""
        known = self._known.get(slot)
        if known is None:
            known = self._parsed(os.pread(self.fd, self.bytes_each, FIRST + slot * self.bytes_each))
            if known.state in (FILLED, SEEN):
                self._known[slot] = known
        return known

    def entries(self) -> list[Entry]:
        """The entries of all slots, in one read."""
        size = self.bytes_each
        data = os.pread(self.fd, self.slots * size, FIRST)
        return [self._parsed(data[i * size : (i + 1) * size]) for i in range(self.slots)]

    def _parsed(self, data: bytes) -> Entry:
        none = Entry(EMPTY, {})
        if len(data) < self.bytes_each or struct.unpack("<I", data[-4:])[0] != zlib.crc32(data[:-4]):
            return none
        state = struct.unpack("<I", data[:4])[0]
        parts = {kind: Part(*_PART.unpack_from(data, 4 + _PART.size * i)) for i, kind in enumerate(self.kinds)}
        return Entry(state, parts) if PLACED <= state <= SEEN else none

    def _note(self, slot: int, entry: Entry) -> None:
        data = struct.pack("<I", entry.state) + b"".join(_PART.pack(*entry.parts[kind]) for kind in self.kinds)
        _write(self.fd, data + struct.pack("<I", zlib.crc32(data)), FIRST + slot * self.bytes_each)

    @contextmanager
    def alone_at(self, slot: int) -> Iterator[None]:
        """Exclude other processes that ask for the same slot; -1 stands for the end. A process that dies releases the
        lock.

        The lock uses a file description of its own, as an inherited one would not exclude workers.
        """
        fd = os.open(f"/proc/self/fd/{self.fd}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, slot + 1, 1, 0))
            yield
        finally:
            os.close(fd)

    def put(self, slot: int, images: dict[str, NDArray[Any]]) -> Entry:
        """Write the images of a slot, within :meth:`alone_at`; without room, only their checksums."""
        before, entry = self.entry(slot), self._placed(slot, images)
        if entry.state == PLACED:
            try:
                self._check_space(sum(image.nbytes for image in images.values()))
                for kind, part in entry.parts.items():
                    _write(self.fd, np.ascontiguousarray(images[kind]).data.cast("B"), part.offset)
                if not self.mapped:
                    os.fdatasync(self.fd)
                entry = Entry(FILLED, entry.parts)
            except OSError as error:
                self._refuse(error.strerror or str(error))
                entry = Entry(SEEN, entry.parts)
        if (before.state, entry.state) != (SEEN, SEEN):
            try:
                self._note(slot, entry)
            except OSError as error:
                self._refuse(error.strerror or str(error))
        self._known[slot] = entry
        return entry

    def _placed(self, slot: int, images: dict[str, NDArray[Any]]) -> Entry:
        """Reserve room for the images and record it; SEEN where there is none."""
        sums = {kind: zlib.crc32(np.ascontiguousarray(image).data) for kind, image in images.items()}
        sizes = [images[kind].nbytes for kind in self.kinds]
        with self.alone_at(-1):
            end, failed = self._end()
            before = self.entry(slot)
            if before.state == PLACED and [part.end - part.offset for part in before.parts.values()] == sizes:
                offsets = [part.offset for part in before.parts.values()]  # of a process that was killed
            else:
                offsets = [end + sum(-(-size // 64) * 64 for size in sizes[:i]) for i in range(len(sizes))]
            last = offsets[-1] + sizes[-1]
            parts = {
                kind: Part(
                    offset,
                    images[kind].shape[0],
                    images[kind].shape[1],
                    images[kind].shape[2],
                    NUMBERS.index(str(images[kind].dtype)),
                    sums[kind],
                )
                for kind, offset in zip(self.kinds, offsets, strict=True)
            }
            if failed or last > self.room:
                if not failed and self.room > self.pixels_from:
                    self._refuse("its limit is reached")
                return Entry(SEEN, parts)
            try:
                self._note(slot, Entry(PLACED, parts))
                _write(self.fd, _end_bytes(max(end, -(-last // 64) * 64)), END)
            except OSError as error:
                self._refuse(error.strerror or str(error))
                return Entry(SEEN, parts)
        return Entry(PLACED, parts)

    @property
    def pixels_from(self) -> int:
        """Offset of the first pixels."""
        return -(-(FIRST + self.slots * self.bytes_each) // 4096) * 4096

    def _end(self) -> tuple[int, bool]:
        end, crc, failed = struct.unpack("<QII", os.pread(self.fd, 16, END))
        if crc != zlib.crc32(struct.pack("<Q", end)):
            raise UnfoldError(f"{self.path} is damaged; start again, which makes a new one")
        return end, bool(failed)

    def _check_space(self, needed: int) -> None:
        if self.mapped:
            return
        disk = os.fstatvfs(self.fd)
        if disk.f_bavail * disk.f_frsize - needed < spare(disk):
            raise OSError(0, "the disk is full")

    def _refuse(self, reason: str) -> None:
        """Stop writing; the first process to do so logs it."""
        if not self.takes:
            return
        try:
            _write(self.fd, struct.pack("<I", 1), END + 12)
        except OSError:
            self.room = 0
        logger.warning(
            "the store of decoded images%s takes no more (%s): the other images are decoded each time",
            f" {self.path}" if self.path else "",
            reason,
        )

    @property
    def takes(self) -> bool:
        """Whether more images can be written, as far as known."""
        return self.room > self.pixels_from and not struct.unpack("<I", os.pread(self.fd, 4, END + 12))[0]

    def begin_again(self) -> None:
        """Allow writing again, where an earlier run failed."""
        _write(self.fd, struct.pack("<I", 0), END + 12)

    def read(self, part: Part, rows: slice, columns: slice) -> NDArray[Any]:
        """Rows and columns of an image, as a copy. UnfoldError if the file was truncated."""
        width, count = part.width * part.channels * part.dtype.itemsize, rows.stop - rows.start
        first = part.offset + rows.start * width
        if self.mapped:
            if self._map is None:
                self._map = mmap.mmap(self.fd, os.fstat(self.fd).st_size, prot=mmap.PROT_READ)
            band = np.frombuffer(self._map, np.uint8, count * width, first)
        else:  # not through a map: reading a truncated file there kills the process
            band = np.empty(count * width, np.uint8)
            at = band.data
            while at:
                done = os.preadv(self.fd, [at], first)
                if not done:
                    raise UnfoldError(f"{self.path} is damaged: its end is gone; start again, which makes a new one")
                at, first = at[done:], first + done
        image = band.view(part.dtype).reshape(count, part.width, part.channels)
        return np.array(image[:, columns], order="C")

    def damage(self) -> str:
        """The damage of the file, apart from its pixels; "" if there is none."""
        size = self.bytes_each
        if os.fstat(self.fd).st_size < self.pixels_from:
            return "its entries are cut off"
        with self.alone_at(-1):  # others may fill it: of each, the entry comes before the end
            data, entries, end = os.pread(self.fd, self.slots * size, FIRST), self.entries(), self._end()[0]
        for slot, entry in enumerate(entries):
            if entry.state == EMPTY and any(data[slot * size : (slot + 1) * size]):
                entry = self.entry(slot)  # it may have been half written
            if entry.state == EMPTY and any(data[slot * size : (slot + 1) * size]):
                return f"its entry {slot} is"
            for part in entry.parts.values():
                if part.number >= len(NUMBERS) or (entry.state == FILLED and part.offset < self.pixels_from):
                    return f"its entry {slot} is"
                if entry.state in (PLACED, FILLED) and part.end > end:
                    return "its end is"
                if entry.state == FILLED and part.end > os.fstat(self.fd).st_size:
                    return "its end is gone"
        return ""


def spare(disk: os.statvfs_result) -> int:
    """Bytes of a disk that stay free."""
    return min(_SPARE, disk.f_blocks * disk.f_frsize // 20)


def begin(fd: int, slots: int, kinds: Sequence[str], room: int, mapped: bool, about: dict[str, Any]) -> None:
    """Write the head of an empty file. OSError if there is no room for it."""
    text = json.dumps({**about, "version": VERSION, "slots": slots, "kinds": list(kinds)}).encode()
    head = (f"{zlib.crc32(text):08x}".encode() + text).ljust(HEAD)
    if len(head) > HEAD:
        raise ValueError("what the file is of does not fit into its head")
    first = -(-(FIRST + slots * (8 + _PART.size * len(kinds))) // 4096) * 4096
    _write(fd, head, 0)
    _write(fd, _end_bytes(first), END)
    _write(fd, bytes(first - FIRST), FIRST)  # in full, so that writing entries later needs no room
    if mapped:
        os.ftruncate(fd, max(room, first))  # takes no memory, and one map covers all of it
    else:
        os.fsync(fd)


def head_of(fd: int, path: str | Path) -> dict[str, Any]:
    """The head of a file. UnfoldError where it is not a file of this version."""
    data = os.pread(fd, HEAD, 0).rstrip()
    try:
        if int(data[:8], 16) != zlib.crc32(data[8:]):
            raise ValueError("its head is")
        about: dict[str, Any] = json.loads(data[8:])
        if about["version"] != VERSION:
            raise ValueError(f"it is of version {about['version']}")
    except (ValueError, KeyError) as error:
        raise UnfoldError(f"{path} is damaged: {error}") from None
    return about


def _end_bytes(end: int) -> bytes:
    return struct.pack("<QI", end, zlib.crc32(struct.pack("<Q", end)))


def _write(fd: int, data: Any, offset: int) -> None:
    left = memoryview(data)
    while left:
        done = os.pwrite(fd, left, offset)
        left, offset = left[done:], offset + done
