"""A table of measurements as HTML: in the paper's layout, as a list of cells, and as a list of images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import groupby

from unfold.tables.results import Cell, ImageScore, Table

MINUS, PLUS_MINUS, DOT = "\N{MINUS SIGN}", "\N{PLUS-MINUS SIGN}", " \N{MIDDLE DOT} "


def label(metric: str) -> str:
    return metric.replace("_", " ").upper()


def unit(metric: str) -> str:
    return " dB" if metric.startswith("psnr") else ""


def digits(metric: str) -> int:
    """Decimals that papers give."""
    return 2 if unit(metric) else 4


def number(value: float, digits: int) -> str:
    """A number as text with a true minus sign; also "inf" and "nan"."""
    return f"{value:.{digits}f}".replace("-", MINUS)


def change(value: float, digits: int) -> str:
    """A difference with its sign; ± where it rounds to zero."""
    if math.isnan(value):
        return "nan"
    text = f"{value:+.{digits}f}"
    return PLUS_MINUS + text[1:] if float(text) == 0 else text.replace("-", MINUS)


def _decimals(cells: Iterable[Cell]) -> int:
    """The most decimals of the published numbers, at least 2, as for 30.10."""
    return max([2, *(len(repr(cell.published).partition(".")[2]) for cell in cells if cell.published is not None)])


def setting(cell: Cell) -> str:
    """The labels of a cell without its method, the last label of its row."""
    return DOT.join([*cell.row[:-1], *cell.column])


def missing(cell: Cell) -> str:
    """Why there is no number over all images; "" if there is one, or none is possible."""
    if cell.status == "partial" and cell.total:
        return f"{len(cell.images)} of {cell.total} images"
    return "" if cell.status in ("done", "published only") else cell.status


def grids(table: Table) -> str:
    """A table for each metric, with rows in groups by their outer labels, and the notes."""
    notes = {note: i for i, note in enumerate(dict.fromkeys(cell.note for cell in table.cells if cell.note), 1)}
    parts = []
    for metric in dict.fromkeys(cell.metric for cell in table.cells):
        parts.append(_grid(metric, [cell for cell in table.cells if cell.metric == metric], notes))
    listed = "".join(f'<li id="note{i}">{escape(note)}</li>' for note, i in notes.items())
    return "\n".join([*parts, f'<ol class="notes">{listed}</ol>' if notes else ""])


def _grid(metric: str, cells: Sequence[Cell], notes: dict[str, int]) -> str:
    columns = list(dict.fromkeys(cell.column for cell in cells))
    name = label(metric) + (f" in{unit(metric)}" if unit(metric) else "")
    there = {(cell.row, cell.column): cell for cell in cells}
    decimals = min(_decimals(cells), digits(metric))
    bodies = []
    for outer, rows in groupby(_together([cell.row for cell in cells]), key=lambda row: row[:-1]):
        head = f'<th colspan="{len(columns) + 1}" scope="rowgroup"><span>{escape(DOT.join(outer))}</span></th>'
        lines = [_row(row, [there.get((row, column)) for column in columns], notes, decimals) for row in rows]
        bodies.append(
            "\n".join(["<tbody>", *([f'<tr class="group">{head}</tr>'] if outer else []), *lines, "</tbody>"])
        )
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{escape(name)}">\n<table class="cells">'
        f"<caption>{escape(name)}</caption>\n<thead>{_heads(columns)}</thead>\n{''.join(bodies)}</table></div>"
    )


def _together(rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Each row once, grouped, in order of appearance."""
    distinct = list(dict.fromkeys(rows))
    groups = list(dict.fromkeys(row[:-1] for row in distinct))
    return sorted(distinct, key=lambda row: groups.index(row[:-1]))


def _heads(columns: Sequence[tuple[str, ...]]) -> str:
    """One line per label level; neighbours with equal outer labels share a head."""
    depth = max(map(len, columns))
    lines = []
    for level in range(depth):
        heads = ['<th scope="col"></th>']
        for labels, group in groupby(columns, key=lambda column: column[: level + 1]):
            last = level == depth - 1
            text = escape(labels[level]) if len(labels) > level else ""
            span = len(list(group))
            heads += (
                [f'<th scope="col">{text}</th>'] * span
                if last
                else [f'<th scope="colgroup" colspan="{span}">{text}</th>']
            )
        lines.append(f"<tr>{''.join(heads)}</tr>")
    return "".join(lines)


def _row(row: tuple[str, ...], cells: Sequence[Cell | None], notes: dict[str, int], decimals: int) -> str:
    """A row; a remark common to all of its cells is put at its head."""
    there = [cell for cell in cells if cell is not None]
    marks, remarks = {missing(cell) for cell in there}, {cell.note for cell in there}
    mark, remark = (said.pop() if len(said) == 1 else "" for said in (marks, remarks))
    head = escape(row[-1]) + _reference(remark, notes) + (f"<small>{escape(mark)}</small>" if mark else "")
    kind = ' class="measured"' if any(cell.measured is not None for cell in there) else ""
    body = "".join(_cell(cell, notes, mark, remark, decimals) if cell else "<td></td>" for cell in cells)
    return f'<tr{kind}><th scope="row">{head}</th>{body}</tr>'


def _cell(cell: Cell, notes: dict[str, int], mark: str, remark: str, decimals: int) -> str:
    """mark, remark: those at the row's head; decimals: of published numbers."""
    own = "" if missing(cell) == mark else missing(cell)
    published = "" if cell.published is None else number(cell.published, decimals)
    if cell.measured is None:
        main, below = published or ("" if own else "&ndash;"), ""
    else:
        main, below = f"<b>{number(cell.measured, digits(cell.metric))}</b>", published
    if cell.difference is not None:
        below += f' <i class="{_direction(cell)}">{change(cell.difference, digits(cell.metric))}</i>'
    note = "" if cell.note == remark else _reference(cell.note, notes)
    small = "".join(f"<small>{text}</small>" for text in (below, escape(own)) if text)
    return f"<td>{main}{note}{small}</td>"


def cell_list(table: Table) -> str:
    """The rows of the list of all numbers."""
    return "".join(_listed(cell) for cell in table.cells)


def _listed(cell: Cell) -> str:
    fine = digits(cell.metric) + 2
    values = [
        "" if cell.published is None else number(cell.published, min(_decimals([cell]), fine)),
        "" if cell.measured is None else number(cell.measured, fine),
        "" if cell.difference is None else change(cell.difference, fine),
    ]
    state = escape(DOT.join(filter(None, ["measured" if cell.status == "done" else cell.status, cell.note])))
    return (
        f'<tr><th scope="row">{escape(cell.row[-1])}</th><td>{escape(setting(cell))}</td>'
        f"<td>{escape(label(cell.metric))}</td><td>{values[0]}</td><td>{values[1]}</td>"
        f'<td class="{_direction(cell)}">{values[2]}</td><td>{_count(cell)}</td><td>{state}</td></tr>'
    )


def images(table: Table) -> Iterator[tuple[Cell, ImageScore]]:
    """Each result once, even where the cells of two metrics share it."""
    seen = set()
    for cell in table.cells:
        for image in cell.images:
            if (key := (cell.row, cell.column, image.name)) not in seen:
                seen.add(key)
                yield cell, image


def image_list(results: Sequence[tuple[Cell, ImageScore]], metrics: Sequence[str]) -> str:
    """Rows of the list of images, with a column for each of the metrics.

    Rows are joined without line ends: otherwise browsers take seconds to sort them.
    """
    lines = []
    for cell, image in results:
        scores = "".join(f"<td>{_score(image, metric)}</td>" for metric in metrics)
        lines.append(
            f'<tr><th scope="row">{escape(image.name)}</th><td>{escape(cell.row[-1])}</td>'
            f"<td>{escape(setting(cell))}</td>{scores}<td>{image.seconds:.2f}</td></tr>"
        )
    return "".join(lines)


def _score(image: ImageScore, metric: str) -> str:
    return number(image.scores[metric], digits(metric)) if metric in image.scores else ""


def _count(cell: Cell) -> str:
    return f"{len(cell.images)} of {cell.total}" if cell.total else ""


def _reference(note: str, notes: dict[str, int]) -> str:
    return f'<sup><a href="#note{notes[note]}">[{notes[note]}]</a></sup>' if note else ""


def _direction(cell: Cell) -> str:
    """The CSS class of its difference: up, down or same, at the digits shown."""
    shown = "" if cell.difference is None else change(cell.difference, digits(cell.metric))
    return {"+": "up", MINUS: "down"}.get(shown[:1], "same")
