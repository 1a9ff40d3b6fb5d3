"""Turn scores into cells."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unfold.tables.results import Cell, ImageScore, Status
from unfold.tables.score_cache import Cache
from unfold.tables.work_plan import Plan, Planned


def cells_of(plan: Plan, scores: Cache, errors: Mapping[str, str]) -> list[tuple[Planned, Cell]]:
    """The cells of a table with their plans. errors: why a score is missing, by key."""
    metrics = plan.definition.metrics
    return [(planned, _cell(planned, metric, scores, errors)) for planned in plan.cells for metric in metrics]


def _cell(planned: Planned, metric: str, scores: Cache, errors: Mapping[str, str]) -> Cell:
    number = planned.numbers.get(metric)
    entries = [scores.get(key) for key in planned.keys]
    images = [entry.score for entry in entries if entry is not None]
    failed = [errors[key] for key in planned.keys if key in errors]
    notes = [planned.note, number.note if number else "", f"{len(failed)} failed: {failed[0]}" if failed else ""]
    setting = planned.setting
    return Cell(
        (*setting.row, planned.method.label),
        setting.column,
        metric,
        planned.idle or ("done" if len(images) == planned.total else "partial"),
        number.value if number else None,
        mean(images, metric),
        images,
        planned.total or setting.total,
        setting.protocol,
        setting.data,
        planned.method.name,
        "; ".join(filter(None, notes)),
    )


def mean(images: list[ImageScore], metric: str) -> float | None:
    """Mean over images; None without images."""
    return float(np.mean([image.scores[metric] for image in images])) if images else None


def with_averages(plan: Plan, cells: list[Cell]) -> list[Cell]:
    """The cells, with the unweighted mean over sets (without those apart) at the end of each row, where defined."""
    title = plan.definition.average
    if not title:
        return cells
    labels = {planned.method.label: planned.method.published for planned in plan.cells}
    apart = {planned.setting.column for planned in plan.cells if planned.setting.apart}
    result = []
    for row in dict.fromkeys(cell.row for cell in cells):
        own = [cell for cell in cells if cell.row == row]
        result += own
        own = [cell for cell in own if cell.column not in apart]
        for metric in plan.definition.metrics:
            number = plan.averages.get((labels[row[-1]], metric))
            result.append(_average([c for c in own if c.metric == metric], title, number.value if number else None))
    return result


def _average(parts: list[Cell], title: str, published: float | None) -> Cell:
    values = [cell.measured for cell in parts if cell.measured is not None]
    whole = len(values) == len(parts)
    idle: Status = next((cell.status for cell in parts if cell.measured is None), "partial")
    status: Status = ("done" if all(cell.status == "done" for cell in parts) else "partial") if whole else idle
    lacking = ", ".join(dict.fromkeys(cell.data for cell in parts if cell.measured is None))
    return Cell(
        parts[0].row,
        (title,),
        parts[0].metric,
        status,
        published,
        float(np.mean(values)) if whole else None,
        protocol=parts[0].protocol,
        method=parts[0].method,
        note="unweighted mean of the sets" + (f", which needs {lacking}" if lacking else ""),
    )
