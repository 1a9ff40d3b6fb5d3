"""Files without a published digest: the digest of the first use is recorded, and must not change."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable
from pathlib import Path

from unfold.errors import UnfoldError
from unfold.util.atomic_files import whole_file
from unfold.util.download import alone

logger = logging.getLogger("unfold")


def recorded_digests(records: Path) -> dict[str, dict[str, object]]:
    """Unverified files: name -> sha256, date and source at their first use."""
    try:
        found = json.loads(records.read_text())
        if all(isinstance(record["sha256"], str) for record in found.values()):
            return found
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    raise UnfoldError(f"{records} cannot be read; delete it to trust the present files again")


def compare_with_first_use(
    records: Path,
    name: str,
    path: Path,
    digest: str,
    url: str | None,
    check: Callable[[Path], object],
    *,
    fresh: bool,
) -> None:
    """Record the digest of a file as unverified; if ``name`` has one in ``records``, raise where it differs.

    check: raises UnfoldError for a file of another kind, such as a web page. Such a file is not recorded, and is
    deleted if it was just downloaded (fresh), so that the next call downloads again.
    """
    first = recorded_digests(records).get(name)
    if first is not None and first["sha256"] != digest:
        raise UnfoldError(
            f"{path} has changed since its first use ({first.get('date')}): its SHA-256 is {digest}, not "
            f"{first['sha256']}; bring the old file back, or if the new one is right, delete {name} from {records}"
        )
    if first is not None:
        return
    try:
        check(path)
    except UnfoldError:
        if fresh:
            path.unlink()
        raise
    record = {"sha256": digest, "date": datetime.date.today().isoformat(), "url": url, "verified": False}
    recorded = "recorded as unverified"
    try:
        records.parent.mkdir(parents=True, exist_ok=True)
        with alone(records):
            all_records = {name: record, **recorded_digests(records)}  # of two concurrent records, the first counts
            with whole_file(records) as file:
                file.write(json.dumps(all_records, indent=1).encode())
    except OSError as error:
        recorded = (
            f"which could not be recorded in {records} ({error.strerror or error}): whether it stays the same is not "
            "watched over (UNFOLD_CACHE names another folder)"
        )
    logger.warning(
        "note: %s: this file could not be verified, as no digest is published; its SHA-256 is %s, %s",
        *(path, digest, recorded),
    )
