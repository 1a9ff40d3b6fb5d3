"""MATLAB's `imresize` with bicubic interpolation, as used in super-resolution papers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from unfold.util.arrays import Array

SUPPORT = 4.0  # pixels that the cubic kernel covers


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -1/2 (Cubic convolution interpolation, IEEE ASSP 1981)."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


def _weights(size: int, scale: float, offset: float) -> NDArray[np.float64]:
    """One axis as a matrix (ceil(size * scale), size)."""
    length = math.ceil(size * scale)
    stretch = min(scale, 1.0)  # when shrinking, the kernel widens: the low-pass filter that avoids aliasing
    centre = (np.arange(length) + 0.5) / scale - 0.5 + offset
    first = np.floor(centre - SUPPORT / stretch / 2).astype(int)
    taps = first[:, None] + np.arange(math.ceil(SUPPORT / stretch) + 2)
    weight = cubic(stretch * (centre[:, None] - taps))
    weight /= weight.sum(axis=1, keepdims=True)
    mirrored = np.mod(taps, 2 * size)  # the image is mirrored at the border, its last pixel repeated
    mirrored = np.where(mirrored < size, mirrored, 2 * size - 1 - mirrored)
    matrix = np.zeros((length, size))
    np.add.at(matrix, (np.arange(length)[:, None], mirrored), weight)
    return matrix


def imresize(image: Array, scale: float, offset: float = 0) -> NDArray[np.float64]:
    """Resize (H,W[,C]) floats by ``scale`` in both directions -> (ceil(H scale), ceil(W scale)[,C]), not clamped.

    MATLAB's definition: bicubic, with anti-aliasing when shrinking. Up to rounding, its uint8 path computes the same
    before it rounds. offset: shift in pixels of the image, down and right, at which the result is sampled; 0 in MATLAB.
    For an image decimated to the upper left pixels of blocks, (scale - 1) / (2 scale) gives an aligned enlargement.
    ValueError if scale is not positive.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, not {scale}")
    rows, columns = (_weights(n, scale, offset) for n in image.shape[:2])
    tall = np.tensordot(rows, np.asarray(image, dtype=np.float64), axes=(1, 0))
    return np.moveaxis(np.tensordot(columns, tall, axes=(1, 1)), 0, 1)
