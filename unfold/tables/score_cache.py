"""Scores of single images that survive an interruption, and are found again where nothing has changed."""

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
    """revision: of the source tree that computed the score; None where git does not know."""

    score: ImageScore
    revision: str | None


class Cache:
    """A file to which a line is added for every score: a digest of the line, and what it says as JSON.

    Lines are written at once and whole, so that several processes may add to one file, and a process that is killed
    leaves one damaged line at most. A line whose digest is wrong is not believed, and told by the log.
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
        told = {"key": key, **plain(entry.score), "revision": entry.revision}
        text = json.dumps(told, allow_nan=False)
        # Begun by a line break: what a killed process left there without one is not joined to it.
        self._file.write(f"\n{_check(text)} {text}\n".encode())

    def _read(self) -> None:
        damaged = 0
        lines = self.path.read_bytes().decode(errors="replace").split("\n") if self.path.exists() else []
        for line in filter(None, lines):
            check, _, text = line.partition(" ")
            if check != _check(text):
                damaged += 1
                continue
            told = json.loads(text)
            self._entries[told["key"]] = Entry(score_of(told), told["revision"])
        if damaged:
            logger.warning("%s: %d damaged lines are left out; their images are measured anew", self.path, damaged)


def _check(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def key_of(told: Mapping[str, object]) -> str:
    """A name for a score by all that it depends on."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def plain(score: ImageScore) -> dict[str, object]:
    """For JSON: an infinite PSNR becomes null."""
    scores = {name: finite(value) for name, value in score.scores.items()}
    return {"name": score.name, "scores": scores, "seconds": score.seconds, "stages": [*map(finite, score.stages)]}


def score_of(told: Mapping[str, Any]) -> ImageScore:
    """What :func:`plain` made JSON of."""
    scores = dict(zip(told["scores"], _infinite(told["scores"].values()), strict=True))
    return ImageScore(told["name"], scores, told["seconds"], _infinite(told["stages"]))


def _infinite(values: Iterable[float | None]) -> list[float]:
    return [math.inf if value is None else float(value) for value in values]
