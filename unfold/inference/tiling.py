"""Cut a large image into overlapping tiles, blend them, and put them together row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
Run = Callable[[slice, slice], Pixels]  # rows and columns of the result -> the network's result on just these
Write = Callable[[int, Pixels], None]  # first row, finished rows


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in pixels of the result. window: what the network sees; used: the part that is kept.

    weight: of each used pixel; over all spans the weights of a pixel sum to 1.
    """

    window: slice
    used: slice
    weight: Pixels

    @property
    def inside(self) -> slice:
        """``used``, counted from the window's start."""
        return slice(self.used.start - self.window.start, self.used.stop - self.window.start)


@dataclass(frozen=True)
class Tiles:
    """side: pixels of the result that the network sees at once along each axis; halo: overlap on each side beyond the
    part that is kept; multiple: windows begin at its multiples; ramp: width over which neighbours are blended.
    """

    side: int
    halo: int
    multiple: int
    ramp: int

    def spans(self, length: int, begin: int = 0) -> list[Span]:
        """Spans over the pixels begin to length of an axis of that length; a single one where the axis is no longer
        than a tile.
        """
        if length <= self.side and begin == 0:
            return [Span(slice(0, length), slice(0, length), np.ones(length, np.float32))]
        step = self.side - 2 * (self.halo + self.multiple)
        # There is no halo at the image's borders, so the first and the last tile keep more pixels.
        first, last = begin + (self.halo if begin == 0 else 0), length - self.halo
        count = max(1, -(-(last - first) // step))
        cuts = [begin, *np.rint(np.linspace(first, last, count + 1)).astype(int).tolist()[1:-1], length]
        half = min(self.ramp // 2, self.halo, min(b - a for a, b in pairwise(cuts)) // 2)
        return [
            self._span(a, b, half if i > 0 else 0, half if i < count - 1 else 0, length)
            for i, (a, b) in enumerate(pairwise(cuts))
        ]

    def _span(self, first: int, last: int, before: int, after: int, length: int) -> Span:
        start = max(0, (first - self.halo) // self.multiple * self.multiple)
        stop = min(length, -(-(last + self.halo) // self.multiple) * self.multiple)
        used = slice(first - before, last + after)
        centres = np.arange(used.start, used.stop) + 0.5
        weight = np.ones(len(centres))
        if before:
            weight *= np.clip((centres - used.start) / (2 * before), 0, 1)
        if after:
            weight *= np.clip((used.stop - centres) / (2 * after), 0, 1)
        return Span(slice(start, stop), used, weight.astype(np.float32))


def resized_part(small: Pixels, size: tuple[int, int], rows: slice, columns: slice) -> Pixels:
    """Rows and columns of a small image (h,w,C) resized to ``size``, bilinear as torch's interpolate (align_corners
    False), without making all of it.
    """
    down, across = _weights(small.shape[0], size[0], rows), _weights(small.shape[1], size[1], columns)
    return np.einsum("hs,stc,wt->hwc", down, small, across, optimize=True).astype(np.float32)


def _weights(n: int, length: int, part: slice) -> NDArray[np.float64]:
    """The weights of n points in each pixel of a part of an axis of that length: (pixels,n)."""
    at = ((np.arange(part.start, part.stop) + 0.5) * n / length - 0.5).clip(0, n - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(n)))


def assemble(
    run: Run, write: Write, size: tuple[int, int], tiles: Tiles, begin: int, done: Callable[[int], object]
) -> None:
    """Run tile by tile and write the rows from ``begin`` on, top to bottom, as soon as they are final.

    size: of the result; done: called with each tile's number of pixels. In memory at any time: one tile's result, and
    the rows of one row of tiles.
    """
    rows, columns = tiles.spans(size[0], begin), tiles.spans(size[1])
    carried: Pixels | None = None
    for i, row in enumerate(rows):
        band: Pixels | None = None
        for column in columns:
            part = run(row.window, column.window)[row.inside, column.inside]
            if band is None:
                band = np.zeros((len(row.weight), size[1], part.shape[2]), np.float32)
            band[:, column.used] += part * (row.weight[:, None, None] * column.weight[None, :, None])
            done(part.shape[0] * part.shape[1])
        assert band is not None
        if carried is not None:
            band[: len(carried)] += carried
        final = len(band) if i == len(rows) - 1 else rows[i + 1].used.start - row.used.start
        write(row.used.start, band[:final])
        carried = band[final:].copy()
