"""Find the sets of a table, and make cases of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from unfold.data.catalog.paper_sets import SETS, look_for, state
from unfold.data.images import data_root
from unfold.data.pairs import INPUTS, TARGETS
from unfold.errors import UnfoldError
from unfold.evaluation.run_protocol import distinct
from unfold.protocols.protocol import Case, Protocol
from unfold.tables.definitions import Setting
from unfold.util.download import sha256_of

Digest = Callable[[Path], str]


class Source(NamedTuple):
    """The cases of a setting: all that are present, and those to run. note: a remark on them."""

    found: Sequence[Case]
    chosen: Sequence[Case]
    note: str = ""


def find_set(data: str) -> Path | None:
    """The folder of a set below UNFOLD_DATA, by the layouts of sets.yaml; None if it is missing."""
    files = look_for(next(one for one in SETS if one.name == data))
    if not files:
        return None
    folder = Path(os.path.commonpath([path.parent for path in files]))
    return folder.parent if folder.name.lower() in INPUTS + TARGETS else folder  # for sets with one side only


def unlike(data: str) -> str:
    """A remark where the digest differs from that of the known set, else "". Reads all images."""
    found = state(next(one for one in SETS if one.name == data))
    return "the images differ from the known set" if found.right is False else ""


def find_cases(
    setting: Setting, protocol: Protocol, needed: Sequence[str], limit: int | None, unlike: Callable[[str], str]
) -> Source | str:
    """The cases of a setting, or what is missing, in words. needed: files; limit: number of images."""
    missing = [name for name in needed if not (data_root() / name).is_file()]
    folder = find_set(setting.data)
    if folder is None or missing:
        return f"no data: {' and '.join(([] if folder else [setting.data]) + missing)}"
    try:
        cases = distinct(protocol.cases(str(folder.resolve())))
    except UnfoldError as error:
        return f"no data: {setting.data} ({error})"
    notes = [unlike(setting.data)]
    if len(cases) > setting.total:
        notes.append(f"{len(cases)} are there, and the published set has {setting.total}")
    images = set(list(dict.fromkeys(image_of(case) for case in cases))[:limit])
    return Source(cases, [case for case in cases if image_of(case) in images], "; ".join(filter(None, notes)))


def image_of(case: Case) -> tuple[object, ...]:
    """A key that the cases of one image share."""
    return case.files if case.options else (*case.files, case.name)


def digests() -> Digest:
    """SHA-256 of files, each file read once."""
    return cache(sha256_of)


def digest_of(cases: Sequence[Case], digest: Digest) -> str:
    """One digest of all files of the cases."""
    files = sorted({digest(path) for case in cases for path in case.files})
    return hashlib.sha256("".join(files).encode()).hexdigest()
