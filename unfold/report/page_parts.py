"""Parts of self-contained HTML pages: embedded pictures, and curves."""

from __future__ import annotations

import base64
import importlib.resources
import math
from collections.abc import Sequence
from html import escape
from io import BytesIO
from string import Template
from typing import NamedTuple

from PIL import Image

from unfold.errors import UnfoldError
from unfold.report.curve import ticks

BUDGET = 12_000_000  # maximum bytes of all embedded pictures of a page
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 320, 190, 46, 12, 26, 34  # of a chart, and its margins
DECADES = 50  # ratio of largest to smallest value from which the axis is logarithmic


def filled(package: str, name: str, **parts: str) -> str:
    """Fill page_head.html and the package's template: these parts replace $names; $style is page.css."""
    shared = importlib.resources.files("unfold.report")
    head, style = (shared.joinpath(file).read_text(encoding="utf-8") for file in ("page_head.html", "page.css"))
    template = importlib.resources.files(package).joinpath(name).read_text(encoding="utf-8")
    return Template(head + template).substitute(style=style, **parts)


def embedded(picture: Image.Image, kind: str = "PNG", quality: int = 95) -> str:
    """The picture as the address of an <img>, a data URI. kind: PNG, or JPEG or WEBP of that quality."""
    file = BytesIO()
    options = {} if kind == "PNG" else {"quality": quality}
    picture.save(file, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


class Embedded(NamedTuple):
    """Data URIs of all pictures, and their encoding in words."""

    addresses: list[str]
    encoding: str


def embedded_within(pictures: Sequence[Image.Image], budget: int = BUDGET) -> Embedded:
    """Embed all pictures within so many bytes, all with the same encoding, the best that fits.

    Lossless PNG; else WebP of quality 95, then 85; else WebP at half the size, a third, and so on. UnfoldError if
    even that is too large.
    """
    forms = [("PNG", 100, "PNG, without loss"), ("WEBP", 95, "WebP of quality 95"), ("WEBP", 85, "WebP of quality 85")]
    for kind, quality, encoding in forms:
        if (addresses := _within(budget, pictures, kind, quality)) is not None:
            return Embedded(addresses, encoding)
    for less in range(2, max(max(picture.size) for picture in pictures)):
        if (addresses := _within(budget, [picture.reduce(less) for picture in pictures], "WEBP", 85)) is not None:
            return Embedded(addresses, f"WebP of quality 85, at 1/{less} of their size")
    raise UnfoldError(f"{len(pictures)} pictures cannot be kept in {budget} bytes of a page: give fewer")


def _within(budget: int, pictures: Sequence[Image.Image], kind: str, quality: int) -> list[str] | None:
    """Data URIs of all pictures; None if they exceed the budget."""
    addresses = []
    for picture in pictures:
        addresses.append(embedded(picture, kind, quality))
        budget -= len(addresses[-1])
        if budget < 0:
            return None
    return addresses


def chart(
    title: str, points: Sequence[tuple[float, float]], xlabel: str, marks: Sequence[int], end: float, least: float = 0
) -> str:
    """A curve as an <svg>, styled by CSS classes: title, grid, line and dot.

    points: finite (x, y), x from 0 to end; marks: for each point, the data-k of its dot; least: the
    smallest distance between ticks of x.
    """
    ys = [y for _, y in points]
    logarithmic = min(ys) > 0 and max(ys) >= DECADES * min(ys)
    heights = [math.log10(y) for y in ys] if logarithmic else ys
    xs = [x for x, _ in points]
    xticks, yticks = ticks(0, end, least=least), ticks(min(heights), max(heights), 4, 1 if logarithmic else 0)

    def across(x: float) -> float:
        return round(LEFT + (x - xticks[0]) / (xticks[-1] - xticks[0]) * (WIDTH - LEFT - RIGHT), 1)

    def up(y: float) -> float:
        return round(HEIGHT - BOTTOM - (y - yticks[0]) / (yticks[-1] - yticks[0]) * (HEIGHT - TOP - BOTTOM), 1)

    head = escape(title) + (" (logarithmic)" if logarithmic else "")
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{head}">']
    parts.append(f'<text class="title" x="{LEFT}" y="15">{head}</text>')
    for y in yticks:
        label = f"{10**y:g}" if logarithmic else f"{y:g}"
        parts.append(f'<path class="grid" d="M{LEFT} {up(y)}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{up(y) + 4}" text-anchor="end">{label}</text>')
    for x in xticks:
        parts.append(f'<text x="{across(x)}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(xlabel)}</text>')
    places = [(across(x), up(y)) for x, y in zip(xs, heights, strict=True)]
    parts.append(f'<polyline class="line" points="{" ".join(f"{x},{y}" for x, y in places)}"/>')
    for mark, (x, y) in zip(marks, places, strict=True):
        parts.append(f'<circle class="dot" data-k="{mark}" cx="{x}" cy="{y}" r="3"/>')
    return "".join([*parts, "</svg>"])
