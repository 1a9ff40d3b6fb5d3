"""The stages of one run: a table, and numbers for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unfold.report.numbers import finite


class StageRecord(NamedTuple):
    """The estimate x_k and its figures.

    image: (H,W,3), or (H,W,1) for grey, float32, not clamped; seconds: the network's time so far; residual: root mean
    square of A x_k - y, in 255 units; change: of x_k - x_{k-1}, likewise; psnr: of the clamped estimate, in dB;
    numbers: scalars of stage k by name. None, or no numbers, where undefined.
    """

    k: int
    image: NDArray[np.float32]
    seconds: float
    residual: float | None = None
    change: float | None = None
    psnr: float | None = None
    numbers: Mapping[str, float] = {}


UNITS = {
    "psnr": "PSNR in dB of the clamped estimate, over all pixels and colours, not rounded",
    "residual": "root mean square of A x_k - y over the pixels of the picture, in 255 units",
    "change": "root mean square of x_k - x_{k-1}, not clamped, in 255 units",
    "seconds": "seconds that the network took so far, without what measures it",
}


def figures(record: StageRecord) -> dict[str, float | None]:
    """All figures of a stage by name, seconds last."""
    values = {"psnr": record.psnr, "residual": record.residual, "change": record.change, **record.numbers}
    return {**values, "seconds": record.seconds}


def columns(records: Sequence[StageRecord]) -> list[str]:
    """Names of the figures that at least one stage has."""
    names = dict.fromkeys(name for record in records for name in (*figures(record), "seconds") if name != "seconds")
    there = [name for name in names if any(figures(record).get(name) is not None for record in records)]
    return [*there, "seconds"]


def shown(name: str, value: float | None) -> str:
    """A figure as text: PSNR with two decimals, seconds with three, others with three digits."""
    if value is None:
        return "-"
    if name == "psnr":
        return f"{value:.2f}"
    if name == "seconds":
        return f"{value:.3f}"
    return f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"


def format_stages(records: Sequence[StageRecord]) -> str:
    """A line per stage."""
    names = columns(records)
    rows = [["k", *names]]
    rows += [[str(record.k), *(shown(name, figures(record).get(name)) for name in names)] for record in records]
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(f"{cell:>{n}}" for cell, n in zip(row, wide, strict=True)) for row in rows)


def stages_as_json(records: Sequence[StageRecord]) -> list[dict[str, object]]:
    """A dictionary per stage, null for undefined figures and infinite PSNR."""

    def plain(value: float | None) -> float | None:
        return None if value is None else finite(value)

    names = columns(records)
    return [{"k": record.k, **{name: plain(figures(record).get(name)) for name in names}} for record in records]


def series(records: Sequence[StageRecord], name: str) -> list[tuple[int, float]]:
    """(k, figure) for all finite values."""
    found = ((record.k, figures(record).get(name)) for record in records)
    return [(k, value) for k, value in found if value is not None and math.isfinite(value)]
