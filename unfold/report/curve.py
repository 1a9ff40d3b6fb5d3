"""Curves of a run as a PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from unfold.report.draw import ACCENT, GRID, INK, PAPER, SOFT, text
from unfold.util.atomic_files import whole_file

WIDTH, HEIGHT = 480, 300  # of one panel
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 36, 40  # margins inside it
SCALE = 2  # drawn at twice the size and reduced, for smooth lines

Curve = tuple[str, Sequence[tuple[float, float]]]


def ticks(low: float, high: float, about: int = 5, least: float = 0.0) -> list[float]:
    """Round numbers 1, 2 or 5 times a power of ten apart, the outer ones at or beyond ``low`` and ``high``.

    least: the smallest distance between two, 1 for counts.
    """
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # equal up to rounding
        pad = max(abs(low) * 0.1 or 1.0, least)
        low, high = low - pad, high + pad
    raw = max((high - low) / about, least)
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, and 2 and 5 times them if that gives no more than ten, beyond ``low`` and ``high``.

    Both above 0.
    """
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    fine = [float(f"{m}e{power}") for power in range(first, last + 1) for m in (1, 2, 5)]
    below = max(i for i, tick in enumerate(fine) if tick <= low * (1 + 1e-9))
    above = min(i for i, tick in enumerate(fine) if tick >= high * (1 - 1e-9))
    if below == above:  # one value, which is a tick
        below, above = max(below - 1, 0), min(above + 1, len(fine) - 1)
    if above - below < 10:
        return fine[below : above + 1]
    every = -(-(last - first) // 10)
    return [float(f"1e{first + i * every}") for i in range(-(-(last - first) // every) + 1)]


def draw_curves(
    path: Path, curves: Sequence[Curve], xlabel: str, *, growth: bool = False, columns: int | None = None
) -> None:
    """One panel per curve: (title, [(x, y), ...]), x counted. Points that are not finite are left out.

    Positive values that span more than a factor of ten get a logarithmic axis. growth: all x and y are positive, and
    both axes are logarithmic. columns: panels side by side, all of them by default.
    """
    columns = columns or len(curves)
    size = (WIDTH * columns, HEIGHT * -(-len(curves) // columns))
    picture = Image.new("RGB", (SCALE * size[0], SCALE * size[1]), PAPER)
    draw = ImageDraw.Draw(picture)
    for i, (title, points) in enumerate(curves):
        finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        _panel(draw, (WIDTH * (i % columns), HEIGHT * (i // columns)), title, finite, xlabel, growth)
    with whole_file(path) as file:
        picture.resize(size, Image.Resampling.LANCZOS).save(file, "png")


def _panel(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    title: str,
    points: Sequence[tuple[float, float]],
    xlabel: str,
    growth: bool,
) -> None:
    left, right = ((corner[0] + x) * SCALE for x in (LEFT, WIDTH - RIGHT))
    top, bottom = ((corner[1] + y) * SCALE for y in (TOP, HEIGHT - BOTTOM))
    text(draw, (left, top - 26 * SCALE), title, 15 * SCALE)
    if not points:
        text(draw, ((left + right) / 2, (top + bottom) / 2), "no values yet", 13 * SCALE, SOFT, "mm")
        return
    xs, ys = ([point[axis] for point in points] for axis in (0, 1))
    decades = growth or (min(ys) > 0 and max(ys) > 10 * min(ys))
    xticks = log_ticks(min(xs), max(xs)) if growth else ticks(min(xs), max(xs), least=1)
    yticks = (log_ticks if decades else ticks)(min(ys), max(ys))
    width, height = math.log if growth else float, math.log if decades else float

    def at(x: float, y: float) -> tuple[float, float]:
        u = (width(x) - width(xticks[0])) / (width(xticks[-1]) - width(xticks[0]))
        v = (height(y) - height(yticks[0])) / (height(yticks[-1]) - height(yticks[0]))
        return left + u * (right - left), bottom - v * (bottom - top)

    for x in xticks:
        place = at(x, yticks[0])
        draw.line([place, at(x, yticks[-1])], fill=GRID, width=SCALE)
        text(draw, (place[0], bottom + 6 * SCALE), f"{x:g}", 11 * SCALE, SOFT, "ma")
    for y in yticks:
        place = at(xticks[0], y)
        draw.line([place, at(xticks[-1], y)], fill=GRID, width=SCALE)
        text(draw, (left - 7 * SCALE, place[1]), f"{y:g}", 11 * SCALE, SOFT, "rm")
    text(draw, (right, bottom + 24 * SCALE), xlabel, 11 * SCALE, INK, "ra")
    path = [at(x, y) for x, y in points]
    if len(path) > 1:
        draw.line(path, fill=ACCENT, width=2 * SCALE, joint="curve")
    if len(path) <= 40:
        for x, y in path:
            draw.ellipse([x - 3 * SCALE, y - 3 * SCALE, x + 3 * SCALE, y + 3 * SCALE], fill=ACCENT)
