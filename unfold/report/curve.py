"""Curves of a run as a PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from unfold.files import whole_file
from unfold.report.draw import ACCENT, GRID, INK, PAPER, SOFT, text

WIDTH, HEIGHT = 480, 300  # of one panel
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 36, 40  # margins inside it
SCALE = 2  # drawn at twice the size and reduced, for smooth lines

Curve = tuple[str, Sequence[tuple[float, float]]]


def ticks(low: float, high: float, about: int = 5, least: float = 0.0) -> list[float]:
    """Round numbers 1, 2 or 5 times a power of ten apart, the outer ones at or beyond ``low`` and ``high``.

    least: the smallest distance between two, 1 for what is counted.
    """
    if not high > low:
        pad = max(abs(low) * 0.1 or 1.0, least)
        low, high = low - pad, high + pad
    raw = max((high - low) / about, least)
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def draw_curves(path: Path, curves: Sequence[Curve], xlabel: str) -> None:
    """One panel per curve, side by side: (title, [(x, y), ...]), x counted. Points that are not finite are left out."""
    picture = Image.new("RGB", (WIDTH * len(curves) * SCALE, HEIGHT * SCALE), PAPER)
    draw = ImageDraw.Draw(picture)
    for i, (title, points) in enumerate(curves):
        finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        _panel(draw, i * WIDTH * SCALE, title, finite, xlabel)
    with whole_file(path) as file:
        picture.resize((WIDTH * len(curves), HEIGHT), Image.Resampling.LANCZOS).save(file, "PNG")


def _panel(
    draw: ImageDraw.ImageDraw, offset: int, title: str, points: Sequence[tuple[float, float]], xlabel: str
) -> None:
    left, right = offset + LEFT * SCALE, offset + (WIDTH - RIGHT) * SCALE
    top, bottom = TOP * SCALE, (HEIGHT - BOTTOM) * SCALE
    text(draw, (left, 10 * SCALE), title, 15 * SCALE)
    if not points:
        text(draw, ((left + right) / 2, (top + bottom) / 2), "no values yet", 13 * SCALE, SOFT, "mm")
        return
    xs, ys = ([point[axis] for point in points] for axis in (0, 1))
    xticks, yticks = ticks(min(xs), max(xs), least=1), ticks(min(ys), max(ys))

    def at(x: float, y: float) -> tuple[float, float]:
        u = (x - xticks[0]) / (xticks[-1] - xticks[0])
        v = (y - yticks[0]) / (yticks[-1] - yticks[0])
        return left + u * (right - left), bottom - v * (bottom - top)

    for x in xticks:
        place = at(x, yticks[0])
        draw.line([place, at(x, yticks[-1])], fill=GRID, width=SCALE)
        text(draw, (place[0], bottom + 6 * SCALE), f"{x:g}", 11 * SCALE, SOFT, "ma")
    for y in yticks:
        place = at(xticks[0], y)
        draw.line([place, at(xticks[-1], y)], fill=GRID, width=SCALE)
        text(draw, (left - 7 * SCALE, place[1]), f"{y:g}", 11 * SCALE, SOFT, "rm")
    text(draw, (right, (HEIGHT - 16) * SCALE), xlabel, 11 * SCALE, INK, "ra")
    path = [at(x, y) for x, y in points]
    if len(path) > 1:
        draw.line(path, fill=ACCENT, width=2 * SCALE, joint="curve")
    if len(path) <= 40:
        for x, y in path:
            draw.ellipse([x - 3 * SCALE, y - 3 * SCALE, x + 3 * SCALE, y + 3 * SCALE], fill=ACCENT)
