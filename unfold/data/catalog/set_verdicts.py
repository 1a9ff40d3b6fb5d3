"""Remember whether data sets are the known ones, so that `unfold data list` reads images once, not every time."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unfold.data.catalog.paper_sets import DataSet, State, bytes_digest, is_right, state
from unfold.data.images import data_root
from unfold.util.atomic_files import whole_file
from unfold.util.paths import cache_folder, facts_of

MOST = 1000  # verdicts that are kept
BELOW = " below "  # between the name of a set and the folder of data sets
RULE = 1  # raised with every change of paper_sets.digest, so that older verdicts are not used


def states(sets: Iterable[DataSet]) -> list[State]:
    """The state of each set, see :func:`unfold.data.catalog.paper_sets.state`; unchanged files are not read again.

    Files are unchanged where paths, sizes and times of change are. Verdicts are kept in data_sets.json in the cache
    folder, the newest MOST. A damaged file is ignored and rewritten. If it cannot be written,
    images are read every time. Sets with an unreadable file are read every time, too: the reason may go away while the
    file stays. `unfold tables` does not rely on these verdicts; it reads the images.
    """
    kept = cache_folder() / "data_sets.json"
    verdicts = _Verdicts(kept)
    found = [state(one, verdicts.is_right) for one in sets]
    if verdicts.new:
        with contextlib.suppress(OSError), whole_file(kept, shared=True) as file:
            known = _read(kept)  # anew: another process may have written meanwhile
            file.write(json.dumps(_wanted(known, verdicts.new), indent=1).encode())
    return found


class _Verdicts:
    """Verdicts by set and folder of data sets; each is [stamp of the files and the known digest, verdict]."""

    def __init__(self, path: Path) -> None:
        self.known = _read(path)
        self.new: dict[str, Any] = {}

    def is_right(self, one: DataSet, files: list[Path]) -> bool:
        key = f"{one.name}{BELOW}{data_root().absolute()}"
        before = _stamp(one, files)
        match self.known.get(key):
            case [stamp, bool(right)] if stamp == before:
                return right
        # The bytes first: they take a tenth of the time of decoding.
        right = (bool(one.bytes_digest) and bytes_digest(files) == one.bytes_digest) or is_right(one, files)
        if _stamp(one, files) == before:  # no file changed while it was read
            self.new[key] = [before, right]
        return right


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _wanted(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The newest MOST, the oldest first."""
    verdicts = {key: value for key, value in known.items() if key not in new} | new
    return dict(list(verdicts.items())[-MOST:])


def _stamp(one: DataSet, files: list[Path]) -> str:
    return hashlib.sha256(json.dumps([RULE, one.digest, facts_of(files)]).encode()).hexdigest()
