"""The page of a trace: a slider through the estimates, their figures and curves, in one file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from unfold.report.draw import to_picture
from unfold.report.page_parts import chart, embedded_within, filled
from unfold.report.stage_table import UNITS, StageRecord, columns, figures, series, shown

SHOWN_WIDTH = 640  # small pictures are enlarged to this width in pixels, by a whole number
LABELS = {
    "psnr": "PSNR",
    "seconds": "s",
    "alpha": "\N{GREEK SMALL LETTER ALPHA}",
    "beta": "\N{GREEK SMALL LETTER BETA}",
}


def trace_page(
    records: Sequence[StageRecord],
    others: Mapping[str, NDArray[np.float32]],
    *,
    title: str,
    about: str,
    notes: Sequence[str],
    meanings: Mapping[str, str],
) -> str:
    """The HTML of the self-contained page.

    others: pictures for comparison by name, (H,W,1) or (H,W,3) in [0,1]; an input may be smaller than the estimates.
    about, notes: lines below the title; meanings: of the residual and of the network's numbers. All plain text.
    """
    names = columns(records)
    count, width = len(records), records[-1].image.shape[1]
    shown_width = max(1, SHOWN_WIDTH // width) * width
    kept = embedded_within([to_picture(image) for image in (*(r.image for r in records), *others.values())])
    stages = [
        _figure(f'data-k="{record.k}"', address, _caption(record, names))
        for record, address in zip(records, kept.addresses, strict=False)
    ]
    compared = [
        _figure(f'data-view="{escape(name)}"', address, name)
        for name, address in zip(others, kept.addresses[count:], strict=True)
    ]
    explained = {name: text for name, text in {**UNITS, **meanings}.items() if name in names}
    explained["pictures"] = f"{kept.encoding}, in this page"
    if "residual" in meanings and "residual" in names:
        explained["residual"] = f"{UNITS['residual']}; {meanings['residual']}"
    return filled(
        "unfold.report",
        "trace.html",
        title=escape(title),
        about=escape(about),
        notes="\n".join(f"<p>{escape(note)}</p>" for note in notes),
        width=str(shown_width),
        rendering="image-rendering: pixelated;" if shown_width > width else "",
        views=_views(others),
        last=str(records[-1].k),
        figures="\n".join(stages + compared),
        head="".join(f'<th scope="col">{escape(LABELS.get(name, name))}</th>' for name in ["k", *names]),
        rows="\n".join(_row(record, names) for record in records),
        charts="\n".join(_charts(records, names)),
        meanings="\n".join(
            f"<dt>{escape(LABELS.get(name, name))}</dt><dd>{_marked(text)}</dd>" for name, text in explained.items()
        ),
    )


def _figure(which: str, address: str, caption: str) -> str:
    image = f'<img src="{address}" alt="{escape(caption)}">'
    return f"<figure {which}>{image}<figcaption>{_marked(caption)}</figcaption></figure>"


def _marked(text: str) -> str:
    """As HTML, with subscripts: the k of x_k, and the braces of x_{k-1}."""
    return re.sub(r"\bx_(?:\{([^}]+)\}|(\w+))", r"x<sub>\1\2</sub>", escape(text))


def _caption(record: StageRecord, names: Sequence[str]) -> str:
    formats = {"psnr": "PSNR {} dB", "residual": "residual {}", "seconds": "{} s"}
    values = figures(record)
    there = [name for name in names if name in formats and values.get(name) is not None]
    return ", ".join([f"x_{record.k}", *(formats[name].format(shown(name, values[name])) for name in there)])


def _row(record: StageRecord, names: Sequence[str]) -> str:
    values = figures(record)
    cells = "".join(f"<td>{shown(name, values.get(name))}</td>" for name in names)
    return f'<tr data-k="{record.k}"><th scope="row">{record.k}</th>{cells}</tr>'


def _views(others: Mapping[str, NDArray[np.float32]]) -> str:
    """Radio buttons for the stages and the pictures for comparison."""
    return "\n".join(
        f'<label><input type="radio" name="view" value="{escape(name)}"{" checked" if name == "stage" else ""}> '
        f"{escape(name)}</label>"
        for name in ["stage", *others]
    )


def _charts(records: Sequence[StageRecord], names: Sequence[str]) -> list[str]:
    """Every figure against the stage, and PSNR against time."""
    found, last = [], records[-1]
    for name in names:
        points = series(records, name)
        marks = [k for k, _ in points]
        if points and name != "seconds":
            unit = {"psnr": " in dB", "residual": " (of 255)", "change": " (of 255)"}.get(name, "")
            found.append(chart(LABELS.get(name, name) + unit, points, "stage", marks, last.k, least=1))
        if points and name == "psnr":
            seconds = {record.k: record.seconds for record in records}
            timed = [(seconds[k], value) for k, value in points]
            found.append(chart("PSNR in dB against time", timed, "seconds", marks, last.seconds))
    return found
