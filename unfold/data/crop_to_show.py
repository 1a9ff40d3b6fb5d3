"""Choose a part of an image to show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def busiest_crop(image: NDArray[np.float32], size: int) -> tuple[slice, slice]:
    """The square window of that size (smaller in a smaller image) with the largest mean gradient."""
    grey = image.mean(axis=2)
    slopes = (np.abs(np.gradient(grey, axis=axis)) for axis in (0, 1) if grey.shape[axis] > 1)
    energy = sum(slopes, np.zeros_like(grey))
    height, width = (min(size, n) for n in grey.shape)
    total = np.pad(energy, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = np.unravel_index(np.argmax(sums), sums.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)
