"""A cache of scores of single images, which survives interruptions."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

from unfold.report.numbers import finite
from unfold.tables.results import ImageScore

logger = logging.getLogger("unfold")


class Entry(NamedTuple):
    """revision: of the source tree that computed the score; None if git does not know."""

    score: ImageScore
    revision: str | None


class Cache:
    """A file to which a line is added for every score: a digest of the line, and the score as JSON.

    Each line is written in one call, so several processes may append to one file, and a killed process leaves at most
    one damaged line. A line with a wrong digest is ignored and logged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: dict[str, Entry] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> Cache:
        self._read()
        self._file = self.path.open("ab", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def add(self, key: str, entry: Entry) -> None:
        self._entries[key] = entry
        assert self._file is not None
        record = {"key": key, **plain(entry.score), "revision": entry.revision}
        text = json.dumps(record, allow_nan=False)
        # Starts with a line break, so that it is not joined to a partial line of a killed process.
        self._file.write(f"\n{_check(text)} {text}\n".encode())

    def _read(self) -> None:
        damaged = 0
        lines = self.path.read_bytes().decode(errors="replace").split("\n") if self.path.exists() else []
        for line in filter(None, lines):
            check, _, text = line.partition(" ")
            if check != _check(text):
                damaged += 1
                continue
            record = json.loads(text)
            self._entries[record["key"]] = Entry(score_of(record), record["revision"])
        if damaged:
            logger.warning("%s: %d damaged lines are left out; their images are measured again", self.path, damaged)


def _check(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def key_of(record: Mapping[str, object]) -> str:
    """The key of a score, from all that it depends on."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def plain(score: ImageScore) -> dict[str, object]:
    """A score for JSON: an infinite PSNR becomes null."""
    scores = {name: finite(value) for name, value in score.scores.items()}
    return {"name": score.name, "scores": scores, "seconds": score.seconds, "stages": [*map(finite, score.stages)]}


def score_of(record: Mapping[str, Any]) -> ImageScore:
    """The score that :func:`plain` turned into JSON."""
    scores = dict(zip(record["scores"], _infinite(record["scores"].values()), strict=True))
    return ImageScore(record["name"], scores, record["seconds"], _infinite(record["stages"]))


def _infinite(values: Iterable[float | None]) -> list[float]:
    return [math.inf if value is None else float(value) for value in values]
