"""The data sets of the papers: what they are, where they are searched for, and whether they are complete."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import yaml
from natsort import natsorted

from unfold.data.images import EXTENSIONS, data_root, pixel_digest, read_image
from unfold.errors import UnfoldError, nearest
from unfold.util.progress import progress


@dataclass(frozen=True)
class DataSet:
    """One set.

    about: what it holds; layouts: patterns of files below UNFOLD_DATA with alternatives {a,b}, the one with the most
    files is used; files: their number, 0 where unknown; use: tables or recipes that use it; source: its authors;
    licence: as far as known, "none stated" where the files themselves say nothing; traps: common mistakes; digest: of
    the files, see :func:`digest`; bytes_digest: of the bytes of a copy with that digest, see :func:`bytes_digest`.
    """

    name: str
    about: str
    layouts: tuple[str, ...]
    files: int
    use: str
    source: str
    licence: str = "see the source"
    traps: str = ""
    digest: str = ""
    bytes_digest: str = ""


class State(NamedTuple):
    """The present files of a set. right: whether all are readable and the digest is the known one; None if not
    compared.
    """

    files: int
    right: bool | None


def _read() -> tuple[DataSet, ...]:
    entries = yaml.safe_load(Path(__file__).with_name("sets.yaml").read_text())
    return tuple(DataSet(**{**entry, "layouts": tuple(entry["layouts"])}) for entry in entries)


SETS = _read()


def look_for(one: DataSet) -> list[Path]:
    """The files of a set below UNFOLD_DATA, in the layout with the most of them; none where it is missing."""
    return max((natsorted(set(_matching(layout))) for layout in one.layouts), key=len)


def find_set(name: str) -> str:
    """Where the files of a set are, as text. A set is present when one layout has the full number of files.

    Nothing is downloaded: the sets are on cloud drives and on pages that ask for a name or consent, and no stable
    address was found. UnfoldError where the name is unknown, or the set is missing or incomplete, with where to get it,
    where to put it and what to check.
    """
    known = {one.name: one for one in SETS}
    if name not in known:
        hint = nearest(name, known, most=3) or "`unfold data list` lists the names"
        raise UnfoldError(f"no set is called {name}; {hint}")
    one = known[name]
    files = look_for(one)
    if files and one.files in (0, len(files)):
        where = os.path.commonpath([path.parent for path in files])
        return f"{name} is in {where} already; nothing was downloaded"
    count = f", {one.files} files" if one.files else ""
    count += f", {len(files)} of them there" if files else ""
    raise UnfoldError(
        f"{name} cannot be downloaded by itself: {one.about}{count}. Source: {one.source}. Put it below "
        f"{data_root()} as {' or '.join(one.layouts)}, and check it with `unfold data list`"
    )


def _matching(layout: str) -> Iterator[Path]:
    """Files of a pattern with {a,b} in it, which pathlib does not support."""
    parts = [part.split("}") for part in layout.split("{")]
    choices = [[parts[0][0]], *([word + rest for word in inner.split(",")] for inner, rest in parts[1:])]
    for words in product(*choices):
        yield from (path for path in data_root().glob("".join(words)) if path.is_file() and path.name[0] != ".")


def is_right(one: DataSet, files: list[Path]) -> bool:
    """Whether these files have the known digest of the set. Reads them."""
    return digest(files) == one.digest


def state(one: DataSet, right: Callable[[DataSet, list[Path]], bool] = is_right) -> State:
    """Whether a set is present and complete. Reads all files where the digest is known and their number is right.

    right: compares the files with the known digest.
    """
    files = look_for(one)
    if not one.digest or len(files) != one.files:
        return State(len(files), None)
    try:
        return State(len(files), right(one, files))
    except (UnfoldError, OSError):  # `unfold data doctor` names the file
        return State(len(files), False)


def digest(files: list[Path]) -> str:
    """sha256 over the sorted sha256 of the files: independent of their places and names.

    For PNG, BMP, TIFF, WebP and PPM it uses size, depth and pixels (grey as three equal channels), so a lossless copy
    in another format has the same digest. For JPEG and other files it uses the bytes, as decoders of JPEG may differ.
    """
    return _over(files, _file_digest)


def bytes_digest(files: list[Path]) -> str:
    """sha256 over the sorted sha256 of the files' bytes: equal files have equal pixels, and nothing is decoded."""
    return _over(files, _of_bytes)


def _over(files: list[Path], of: Callable[[Path], str]) -> str:
    found = sorted(of(path) for path in progress(files, "comparing", "file"))
    return hashlib.sha256("".join(found).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    if path.suffix.lower() in EXTENSIONS and path.suffix.lower() not in (".jpg", ".jpeg"):
        return pixel_digest(read_image(path, grey=True)).hex()
    return _of_bytes(path)


def _of_bytes(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
