"""Unpacking archives from the web, which may hold anything."""

from __future__ import annotations

import errno
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from unfold.errors import UnfoldError

CHUNK = 1 << 20  # bytes
MOST_GROWTH = 20  # times the size of the archive; images hardly shrink in one
MOST_FILES = 1_000_000


class Entry(NamedTuple):
    name: str
    file: IO[bytes]


def check_archive(path: Path) -> None:
    """UnfoldError where a file is neither a zip nor a tar archive."""
    if not (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
        raise UnfoldError(f"{path} is no archive (zip, tar, tar.gz, tar.bz2, tar.xz)")


def unpack(archive: Path, folder: Path) -> int:
    """Unpack a zip or tar archive into ``folder``; returns the number of files.

    Only files and folders are made, with no rights or owners of the archive's. UnfoldError for a damaged archive, and
    for one with names that lead out of the folder, links or devices, more than MOST_FILES files or MOST_GROWTH times
    its own size: what has been unpacked by then is left for the caller to remove.
    """
    check_archive(archive)
    room = MOST_GROWTH * archive.stat().st_size
    count = 0
    with _damage(archive):
        for entry in _zipped(archive) if zipfile.is_zipfile(archive) else _tarred(archive):
            count += 1
            if count > MOST_FILES:
                raise UnfoldError(f"{archive} holds more than {MOST_FILES:,} files, and is not unpacked")
            path = folder / _safe(entry.name, archive)
            path.parent.mkdir(parents=True, exist_ok=True)
            with entry.file as source, path.open("wb") as target:
                while chunk := source.read(CHUNK):
                    room -= len(chunk)
                    if room < 0:
                        raise UnfoldError(
                            f"{archive} would grow to more than {MOST_GROWTH} times its size, and is not unpacked"
                        )
                    target.write(chunk)
    return count


def _safe(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
        raise UnfoldError(f"{archive} holds {name!r}, which leads out of the folder, and is not unpacked")
    return path


def _zipped(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _odd(archive, info.filename)
            if not info.is_dir():
                yield Entry(info.filename, opened.open(info))


def _tarred(archive: Path) -> Iterator[Entry]:
    with tarfile.open(archive) as opened:
        for info in opened:
            file = opened.extractfile(info) if info.isreg() else None
            if file is not None:
                yield Entry(info.name, file)
            elif not info.isdir():
                raise _odd(archive, info.name)
        # A damaged head looks like the end to tarfile. And gzip's checksum is at the very end.
        assert opened.fileobj is not None
        opened.fileobj.seek(opened.offset)
        ended = False
        while chunk := opened.fileobj.read(CHUNK):
            ended = True
            if chunk.strip(b"\0"):
                raise tarfile.ReadError(f"no file begins at byte {opened.offset}")
        if not ended:
            raise tarfile.ReadError("the end is missing")


def _odd(archive: Path, name: str) -> UnfoldError:
    return UnfoldError(f"{archive} holds {name!r}, a link or a device, and is not unpacked")


@contextmanager
def _damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except UnfoldError:
        raise
    except (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        IndexError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        tarfile.TarError,
    ) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UnfoldError(f"{archive} is damaged ({reason}); delete it to have it fetched anew") from None
