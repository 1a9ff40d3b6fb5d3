"""The page of a table: published and measured numbers, the best and worst images, and all others, in one file."""

from __future__ import annotations

import importlib.resources
import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from unfold.report.draw import to_picture
from unfold.report.page_parts import BUDGET, chart, embedded_within, filled
from unfold.tables.html_grid import (
    DOT,
    cell_list,
    change,
    digits,
    grids,
    image_list,
    images,
    label,
    number,
    setting,
    unit,
)
from unfold.tables.results import Cell, ImageScore, Shown, Table
from unfold.util.atomic_files import whole_file

LARGEST = 14_999_000  # bytes of a page, without the sentence on the encoding of its pictures
MOST = 20_000  # images that it lists; a browser becomes slow with more
OPEN = 30  # numbers whose list is short enough to stand open
SHOWN_SIZE = 640  # small pictures are enlarged to this longer side in pixels, by a whole number
PATCHES = 8  # along the shorter side; the lens starts at the patch that changed most


def write_page(path: Path, table: Table, shown: Sequence[Shown]) -> None:
    """Write the page, which is self-contained and takes at most 15 MB.

    shown: example images, from best to worst; their pictures are encoded as well as the size allows. UnfoldError if
    even small ones would be too large.
    """
    results = list(images(table))
    parts = {
        "title": escape(table.title),
        "source": escape(table.source),
        "facts": _facts(table, len(results)),
        "provenance": _provenance(table.provenance),
        "grids": grids(table),
        "cells": cell_list(table),
        "open": "open" if len(table.cells) <= OPEN else "",
        "count": f"{len(table.cells):,}",
        "images": _images(results),
        "script": importlib.resources.files("unfold.tables").joinpath("page.js").read_text(encoding="utf-8"),
    }
    pictures = [{"input": one.input, "result": one.result, "target": one.target} for one in shown]
    there = [{name: image for name, image in named.items() if image is not None} for named in pictures]

    def page(addresses: Iterable[str], encoding: str) -> bytes:
        left = iter(addresses)
        named = [{name: next(left) for name in names} for names in there]
        text = filled("unfold.tables", "page.html", **parts, shown=_shown(shown, named, encoding))
        return text.encode("utf-8", "backslashreplace")  # file names may be invalid UTF-8

    content = page(itertools.repeat(""), "")
    if shown:
        sharp = [to_picture(image / np.float32(255)) for named in there for image in named.values()]
        content = page(*embedded_within(sharp, min(BUDGET, LARGEST - len(content))))
    with whole_file(path) as file:
        file.write(content)


def _facts(table: Table, results: int) -> str:
    """Key facts of the table."""
    measured = [cell for cell in table.cells if cell.measured is not None]
    facts = [(f"{len(measured)} of {len(table.cells)}", "numbers measured"), (f"{results:,}", "results on images")]
    metric = table.cells[0].metric if table.cells else ""
    whole = [cell for cell in measured if cell.metric == metric and cell.status == "done"]
    if differences := [
        cell.difference for cell in whole if cell.difference is not None and math.isfinite(cell.difference)
    ]:
        low, middle, high = (
            change(value, digits(metric))
            for value in (min(differences), statistics.median(differences), max(differences))
        )
        words = f"median difference to the published {label(metric)}; {low} to {high}"
        facts.append((middle + unit(metric), words))
    return "".join(f"<div><b>{escape(value)}</b> {escape(words)}</div>" for value, words in facts)


def _provenance(values: Mapping[str, object]) -> str:
    return "".join(
        f"<dt>{escape(str(name)).replace('_', ' ')}</dt><dd>{escape(_plain(value))}</dd>"
        for name, value in values.items()
    )


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_plain(part)}" for name, part in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)


def _images(results: Sequence[tuple[Cell, ImageScore]]) -> str:
    """The list of all images; "" if none was measured."""
    if not results:
        return ""
    metrics = list(dict.fromkeys(metric for _, image in results for metric in image.scores))
    heads = "".join(f'<th scope="col" data-number>{escape(label(metric))}</th>' for metric in metrics)
    rest = f"<p>The first {MOST:,} stand here, all of them in the JSON file.</p>" if len(results) > MOST else ""
    return (
        f'<details class="long"><summary><h2>Every image: {len(results):,} results</h2></summary>{rest}'
        '<label class="controls">Only rows with <input type="search"> <output></output></label>'
        '<div class="table" tabindex="0" role="region" aria-label="Every image"><table class="list">'
        f'<thead><tr><th scope="col">image</th><th scope="col">method</th><th scope="col">setting</th>{heads}'
        '<th scope="col" data-number>seconds</th></tr></thead>\n'
        f"<tbody>\n{image_list(results[:MOST], metrics)}\n</tbody></table></div></details>"
    )


def _shown(shown: Sequence[Shown], pictures: Sequence[Mapping[str, str]], encoding: str) -> str:
    """The example images; "" if there are none. pictures: for each, addresses by name."""
    if not shown:
        return ""
    about = f"From the best result to the worst. The pictures are kept as {encoding}."
    items = [_item(i, len(shown), *one) for i, one in enumerate(zip(shown, pictures, strict=True), 1)]
    return "\n".join(["<h2>Best and worst images</h2>", f'<p class="soft">{about}</p>', *items])


def _item(place: int, count: int, one: Shown, pictures: Mapping[str, str]) -> str:
    """One image: its pictures with slider and lens, its numbers and curve."""
    cell, image = one.cell, one.image
    width = max(1, SHOWN_SIZE // max(one.result.shape[:2])) * one.result.shape[1]
    enlarged = " data-enlarged" if width > one.result.shape[1] else ""
    figures = "".join(
        f'<figure><img src="{address}" alt="{name} of {escape(image.name)}" draggable="false"><figcaption>{name}'
        "</figcaption></figure>"
        for name, address in pictures.items()
    )
    pairs = [("input", "result"), ("result", "target"), ("input", "target")] if "target" in pictures else []
    names = list(pictures)
    radios = "".join(
        f'<label><input type="radio" name="pair{place}" value="{names.index(a)} {names.index(b)}"'
        f"{'' if i else ' checked'}> {a} | {b}</label> "
        for i, (a, b) in enumerate(pairs)
    )
    choices = f'<div role="radiogroup" aria-label="Pictures">{radios}</div>' if pairs else ""
    scores = [f"{label(name)} {number(value, digits(name))}{unit(name)}" for name, value in image.scores.items()]
    points = [(float(k), value) for k, value in enumerate(image.stages, 1) if math.isfinite(value)]
    marks = range(len(points))
    curve = chart("PSNR in dB after each stage", points, "stage", marks, len(image.stages), 1) if points else ""
    x, y = _busiest(one)
    return (
        f'<article class="item" data-x="{x:.3f}" data-y="{y:.3f}">\n'
        f'<header><h3>{escape(image.name)}</h3><span class="soft">{place} of {count}</span>'
        f"<p>{escape(DOT.join([*scores, f'{image.seconds:.2f} s']))}<br>"
        f'<span class="soft">{escape(DOT.join([cell.row[-1], setting(cell)]))}</span></p></header>\n'
        f'<div class="view" style="--width: {width}px"><div class="pictures"{enlarged}>{figures}</div>\n'
        '<div class="controls"><input type="range" min="0" max="100" aria-label="Border between the pictures">'
        f"{choices}</div></div>\n"
        f'<div class="side"><div class="lenses controls"></div>{curve}</div>\n</article>'
    )


def _busiest(one: Shown) -> tuple[float, float]:
    """Where the result differs most from the input, margins apart: x and y in parts of the width and height."""
    result, given = (image.mean(axis=2, dtype=np.float32) for image in (one.result, one.input))
    height, width = result.shape
    side = max(1, min(height, width) // PATCHES)
    rows, columns = height // side, width // side
    patches = (
        np.abs(result - given)[: rows * side, : columns * side].reshape(rows, side, columns, side).mean(axis=(1, 3))
    )
    inner = patches[1:-1, 1:-1]
    row, column = divmod(int(inner.argmax()), columns - 2) if inner.size else (0, 0)
    return (column + 1.5) * side / width, (row + 1.5) * side / height
