"""`unfold tables compare`: what changed between two runs of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from unfold.errors import UnfoldError
from unfold.report.text_table import markdown
from unfold.tables.export import flat
from unfold.tables.results import Cell, Table

SSIM_SHARE = 0.1  # tolerance of SSIM, as a share of that in dB
MOST = 50  # images listed; the rest is counted


class Comparison(NamedTuple):
    """The report as Markdown, and whether something differs by more than the tolerance."""

    text: str
    differs: bool


def compare(a: Table, b: Table, tolerance: float) -> Comparison:
    """Compare provenance, cells and images of two tables of one name.

    tolerance: in dB; a tenth of it for SSIM. Cells and images that only one of them has measured, and changed published
    numbers, are differences, too. UnfoldError for different tables, or a negative tolerance.
    """
    if a.name != b.name:
        raise UnfoldError(f"{a.name} and {b.name} are different tables")
    if not tolerance >= 0:
        raise UnfoldError(f"--tolerance is in dB and not negative, not {tolerance}")
    left, right = ({(cell.row, cell.column, cell.metric): cell for cell in table.cells} for table in (a, b))
    cells: list[Sequence[str]] = []
    images: list[Sequence[str]] = []
    for key in dict.fromkeys([*left, *right]):
        cells += _cell(left.get(key), right.get(key), tolerance)
        images += _images(left.get(key), right.get(key), tolerance)
    parts = [
        f"# {a.name}: what changed from A to B",
        "## Provenance",
        markdown(("", "A", "B"), _provenance(a, b)) or "The same.",
        f"## Cells that differ by more than {tolerance:g} dB",
        markdown(("row", "column", "metric", "A", "B", "B - A"), cells) or "None.",
        "## Images",
        markdown(("row", "column", "metric", "image", "A", "B", "B - A"), images[:MOST]) or "None.",
        *([f"And {len(images) - MOST} more."] if len(images) > MOST else []),
    ]
    return Comparison("\n\n".join(parts) + "\n", bool(cells or images))


def _provenance(a: Table, b: Table) -> list[Sequence[str]]:
    left, right = dict(flat(a.provenance)), dict(flat(b.provenance))
    names = dict.fromkeys([*left, *right])
    return [(name, left.get(name, "-"), right.get(name, "-")) for name in names if left.get(name) != right.get(name)]


def _cell(a: Cell | None, b: Cell | None, tolerance: float) -> list[Sequence[str]]:
    one = a or b
    assert one is not None
    found: list[Sequence[str]] = []
    for what in ("published", "measured"):
        before, after = (None if cell is None else getattr(cell, what) for cell in (a, b))
        if not _same(before, after, tolerance, one.metric):
            name = one.metric if what == "measured" else f"{one.metric}, published"
            found.append((*_place(one), name, *_numbers(before, after, one.metric)))
    if not found and (a is None or b is None or a.status != b.status):
        found.append((*_place(one), one.metric, a.status if a else "-", b.status if b else "-", ""))
    return found


def _images(a: Cell | None, b: Cell | None, tolerance: float) -> list[Sequence[str]]:
    one = a or b
    assert one is not None
    left, right = (
        {image.name: image.scores.get(one.metric) for image in cell.images} if cell else {} for cell in (a, b)
    )
    return [
        (*_place(one), one.metric, name, *_numbers(left.get(name), right.get(name), one.metric))
        for name in dict.fromkeys([*left, *right])
        if not _same(left.get(name), right.get(name), tolerance, one.metric)
    ]


def _same(a: float | None, b: float | None, tolerance: float, metric: str) -> bool:
    if a is None or b is None:
        return a is b
    return a == b or abs(a - b) <= tolerance * (SSIM_SHARE if metric.startswith("ssim") else 1)


def _place(cell: Cell) -> tuple[str, str]:
    return " ".join(cell.row), " ".join(cell.column)


def _numbers(a: float | None, b: float | None, metric: str) -> tuple[str, str, str]:
    before, after = ("-" if value is None else _precise(value, metric) for value in (a, b))
    change = "" if a is None or b is None or math.isinf(a) or math.isinf(b) else _precise(b - a, metric, "+")
    return before, after, change


def _precise(value: float, metric: str, sign: str = "") -> str:
    return f"{value:{sign}.{6 if metric.startswith('ssim') else 4}f}"
