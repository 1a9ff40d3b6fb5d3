"""Data sets from the web."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from unfold.data.catalog.paper_sets import SETS, look_for
from unfold.data.images import data_root
from unfold.data.prepare.unpack_archive import check_archive, unpack
from unfold.data.prepare.whole_folders import whole_folder
from unfold.errors import UnfoldError, nearest
from unfold.util.download import download
from unfold.util.paths import cache_folder
from unfold.util.trust_on_first_use import compare_with_first_use


class Archive(NamedTuple):
    """url: address of a zip or tar file; sha256: of it, None where nobody published it."""

    url: str
    sha256: str | None = None


# Sets with a stable address of their own. There is none that we could verify: those of the papers are on cloud drives
# and on pages that ask for a name or for consent.
ARCHIVES: dict[str, Archive] = {}


def get_set(name: str) -> str:
    """Download a set and unpack it into its folder below UNFOLD_DATA; returns where it is, as text.

    A set that is there, with as many files as it has and in any of its layouts, is left as it is. The digest of the
    archive is treated as that of weights: it must be the known one, or where none is known, that of the first use. The
    archive is deleted once it is unpacked. UnfoldError where the set is not known, is there in part, or has to be
    fetched by hand, with where and what to check; and as of download and unpack.
    """
    folder = data_root() / name
    known = {one.name: one for one in SETS}
    if name not in ARCHIVES and name not in known:
        hint = nearest(name, [*ARCHIVES, *known], most=3) or "`unfold data list` tells the names"
        raise UnfoldError(f"no set is called {name}; {hint}")
    files = look_for(known[name]) if name in known else []
    if files and known[name].files in (0, len(files)):
        where = os.path.commonpath([path.parent for path in files])
        return f"{name} is in {where} already; nothing was downloaded"
    if name not in ARCHIVES:
        one = known[name]
        count = f", {one.files} files" if one.files else ""
        count += f", {len(files)} of them there" if files else ""
        raise UnfoldError(
            f"{name} cannot be downloaded by itself: {one.about}{count}. Source: {one.source}. Put it below "
            f"{data_root()} as {' or '.join(one.layouts)}, and check it with `unfold data list`"
        )
    if folder.exists():
        if name in known:
            raise UnfoldError(f"{folder} is there already, and does not hold all of {name}; move it away and try again")
        return f"{name} is in {folder} already; nothing was downloaded"
    archive = ARCHIVES[name]
    path = _downloads() / f"{name}_{archive.url.rpartition('/')[2]}"
    fresh = not path.exists()
    digest = download(archive.url, path, archive.sha256)
    if archive.sha256 is None:
        records = _downloads() / "digests.json"
        compare_with_first_use(records, name, path, digest, archive.url, check_archive, fresh=fresh)
    with whole_folder(folder, {"set": name, "url": archive.url, "sha256": digest}) as part:
        if part is not None:
            _unpack(path, part)
    path.unlink(missing_ok=True)
    trust = "verified" if archive.sha256 else "unverified: no digest is published, and it is as at its first use"
    return f"{folder}\nSHA-256 of {path.name} {digest} ({trust})"


def _downloads() -> Path:
    return cache_folder() / "data"


def _unpack(path: Path, part: Path) -> None:
    try:
        unpack(path, part)
    except UnfoldError:
        shutil.rmtree(part)
        raise
