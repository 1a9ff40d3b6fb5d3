"""Undo a shift before comparing two images, for sets whose kernels are misaligned with their references."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unfold.errors import UnfoldError
from unfold.util.arrays import Array

STEPS = 4  # per pixel
Pixels = NDArray[np.float64]


def undo_shift(result: Array, target: Array, border: int, reach: int) -> tuple[Pixels, tuple[float, float]]:
    """The result, shifted to be closest to the target, and the shift in pixels, down and right.

    result, target: (H,W,C), uint8 or float in [0,1]; the shifted result is float in [0,1], neither clamped nor rounded.
    All shifts of up to ``reach`` whole pixels are tried, then those in quarters of a pixel within 3/4 of the best one,
    by cubic splines. Closest: the least sum of squared differences over the target without ``border`` pixels on each
    side. ``border`` must exceed reach + 1, so that nothing beyond the result's border is compared.
    UnfoldError if no pixel is left.
    """
    import cv2
    from scipy.ndimage import shift, spline_filter

    if border < reach + 2:
        raise ValueError(f"a border of {border} pixels is too narrow for shifts of {reach} and a fraction")
    if result.shape != target.shape:
        raise UnfoldError(f"the result is {_size(result)} and the target {_size(target)}: they cannot be compared")
    if min(target.shape[:2]) <= 2 * border:
        raise UnfoldError(f"a border of {border} pixels leaves nothing of {_size(target)}")
    z, x = _unit(result), _unit(target)
    inside = (slice(border, -border), slice(border, -border))
    around = (slice(border - reach, reach - border), slice(border - reach, reach - border))
    squares = sum(
        cv2.matchTemplate(z[around][..., c].astype(np.float32), x[inside][..., c].astype(np.float32), cv2.TM_SQDIFF)
        for c in range(x.shape[2])
    )
    row, column = (int(i) - reach for i in np.unravel_index(np.argmin(squares), np.shape(squares)))
    splines = np.stack([spline_filter(z[..., c], mode="mirror") for c in range(x.shape[2])], axis=-1)

    def moved(down: float, right: float) -> Pixels:
        planes = [shift(splines[..., c], (down, right), prefilter=False, mode="mirror") for c in range(x.shape[2])]
        return np.stack(planes, axis=-1)

    fractions = np.arange(1 - STEPS, STEPS) / STEPS
    places = [(float(-row + down), float(-column + right)) for down in fractions for right in fractions]
    best = min(places, key=lambda place: np.square(moved(*place)[inside] - x[inside]).sum())
    return moved(*best), best


def _unit(image: Array) -> Pixels:
    return image / 255 if image.dtype == np.uint8 else image.astype(np.float64)


def _size(image: Array) -> str:
    return "x".join(map(str, image.shape))
