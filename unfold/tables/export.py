"""Write tables as Markdown, CSV and JSON, and read them from JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from unfold.errors import UnfoldError
from unfold.report.numbers import finite
from unfold.report.text_table import markdown
from unfold.tables.results import Cell, Table
from unfold.tables.score_cache import plain, score_of
from unfold.util.atomic_files import whole_file

NUMBERS = ("published", "measured", "difference")
COLUMNS = ("status", "images", "of", "protocol", "data", "ran", "note")


def write_table(folder: Path, table: Table, heads: Sequence[str]) -> None:
    """Write table.md, table.csv and table.json into the folder. heads: titles of the row labels."""
    for name, text in (
        ("table.md", as_markdown(table, heads)),
        ("table.csv", as_csv(table, heads)),
        ("table.json", as_json(table)),
    ):
        with whole_file(folder / name) as file:
            file.write(text.encode("utf-8", "backslashreplace"))  # file names may be invalid UTF-8


def as_json(table: Table) -> str:
    """Everything: cells with the scores of every image, and the provenance."""
    cells = [
        {
            **{field.name: getattr(cell, field.name) for field in fields(cell)},
            "measured": None if cell.measured is None else finite(cell.measured),
            "difference": None if cell.difference is None else finite(cell.difference),
            "images": [plain(image) for image in cell.images],
        }
        for cell in table.cells
    ]
    head = {"name": table.name, "title": table.title, "source": table.source, "provenance": table.provenance}
    return json.dumps({**head, "cells": cells}, indent=1, allow_nan=False) + "\n"


def read_table(path: Path) -> Table:
    """The table of a table.json; UnfoldError for any other file."""
    try:
        content = json.loads(path.read_text())
        cells = [_cell(cell) for cell in content["cells"]]
        return Table(content["name"], content["title"], content["source"], cells, dict(content["provenance"]))
    except FileNotFoundError:
        raise UnfoldError(f"there is no {path}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UnfoldError(f"{path} is no table.json of `unfold tables`") from None


def _cell(content: dict[str, Any]) -> Cell:
    values = {field.name: content[field.name] for field in fields(Cell)}
    values.update(
        row=tuple(content["row"]), column=tuple(content["column"]), images=[*map(score_of, content["images"])]
    )
    values.update({name: content[name] if content[name] is None else float(content[name]) for name in NUMBERS[:2]})
    return Cell(**values)


def as_csv(table: Table, heads: Sequence[str]) -> str:
    """One line per cell, numbers in full; before them the provenance in lines that start with #."""
    text = io.StringIO()
    for name, value in flat({"table": table.name, "source": table.source, **table.provenance}):
        text.write(f"# {name}: {value}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*heads, "column", "metric", *NUMBERS, *COLUMNS])
    for cell in table.cells:
        numbers = ["" if value is None else repr(value) for value in (getattr(cell, name) for name in NUMBERS)]
        counts = [len(cell.images), cell.total]
        texts = [cell.protocol, cell.data, cell.method, cell.note]
        writer.writerow([*cell.row, " ".join(cell.column), cell.metric, *numbers, cell.status, *counts, *texts])
    return text.getvalue()


def as_markdown(table: Table, heads: Sequence[str]) -> str:
    """The table, its notes and its provenance."""
    notes: dict[str, list[str]] = {}
    for cell in table.cells:
        if cell.note:
            notes.setdefault(_one_line(cell.note), []).append(" ".join((*cell.row, *cell.column)))
    lines = [
        f"# {table.title}",
        "",
        f"Published: {table.source}.",
        "",
        "A cell: published / measured / difference; PSNR in dB, -: none; (n of N): measured on so "
        "many images only, so no difference is given.",
        "",
        grid(table.cells, heads),
        "",
        *(f"- {note} ({_cells(places)})" for note, places in notes.items()),
        *([""] if notes else []),
        "## How it was measured",
        "",
        *(f"- {name}: {value}" for name, value in flat(table.provenance)),
    ]
    return "\n".join(lines) + "\n"


def _cells(places: Sequence[str]) -> str:
    """The cells that a note is about, by name where it is one, of whatever metrics, else their number."""
    return places[0] if len(set(places)) == 1 else f"{len(places)} cells"


def grid(cells: Sequence[Cell], heads: Sequence[str]) -> str:
    """The table in Markdown, rows and columns in the order of the cells."""
    metrics = len({cell.metric for cell in cells}) > 1
    found = {(cell.row, _title(cell, metrics)): cell for cell in cells}
    rows, columns = dict.fromkeys(row for row, _ in found), dict.fromkeys(column for _, column in found)
    lines = []
    for row in rows:
        own = [found.get((row, column)) for column in columns]
        lines.append([*row, *("" if cell is None else in_words(cell) for cell in own)])
    return markdown([*heads, *columns], lines)


def _title(cell: Cell, metrics: bool) -> str:
    return " ".join([*cell.column, cell.metric.upper()] if metrics else cell.column)


def in_words(cell: Cell) -> str:
    """published / measured / difference, or why there is none."""
    published = "-" if cell.published is None else number(cell.published, cell.metric)
    if cell.status == "published only":
        return published
    if cell.measured is None:
        return f"{published} / {cell.status}"
    text = f"{published} / {number(cell.measured, cell.metric)}"
    if cell.difference is not None:
        text += f" / {number(cell.difference, cell.metric, '+')}"
    if cell.status == "partial":
        text += f" ({len(cell.images)} of {cell.total})" if cell.images else " (partial)"
    return text


def number(value: float, metric: str, sign: str = "") -> str:
    """A score as text: PSNR with two decimals, SSIM with four."""
    return f"{value:{sign}.{4 if metric.startswith('ssim') else 2}f}"


def flat(content: dict[str, object], above: str = "") -> list[tuple[str, str]]:
    """Names and values of nested dicts, each in one line."""
    lines = []
    for name, value in content.items():
        if isinstance(value, dict):
            lines += flat(value, f"{above}{name}, ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [line for i, one in enumerate(value, 1) for line in flat(one, f"{above}{name} {i}, ")]
        elif value not in (None, [], ""):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append((above + name, _one_line(text)))
    return lines


def _one_line(text: str) -> str:
    return " ".join(text.split())
