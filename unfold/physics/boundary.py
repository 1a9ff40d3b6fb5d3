"""Extend an image so that it is periodic: for data steps with a circular boundary.

Liu, Jia: Reducing boundary artifacts in image deconvolution, ICIP 2008. The image is extended by a strip below, a strip
to the right and the corner between them. Each is a membrane (the solution of Laplace's equation) between the borders
around it, including the opposite borders of the image, so that the periodic image has no jump.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from unfold.util.arrays import Array

Image = NDArray[np.float64]


def _membrane(frame: Image) -> Image:
    """Fill the inside of ``frame`` (M,N,C) with the solution of the 5-point Laplace equation; its border stays."""
    from scipy.fft import dstn, idstn

    height, width = frame.shape[0] - 2, frame.shape[1] - 2
    inside = np.zeros((height, width, *frame.shape[2:]))
    inside[0] -= frame[0, 1:-1]
    inside[-1] -= frame[-1, 1:-1]
    inside[:, 0] -= frame[1:-1, 0]
    inside[:, -1] -= frame[1:-1, -1]
    rows = 2 * np.cos(np.pi * np.arange(1, height + 1) / (height + 1)) - 2
    columns = 2 * np.cos(np.pi * np.arange(1, width + 1) / (width + 1)) - 2
    spectrum = dstn(inside, type=1, axes=(0, 1)) / (rows[:, None] + columns)[..., None]
    filled = frame.copy()
    filled[1:-1, 1:-1] = idstn(spectrum, type=1, axes=(0, 1))
    return filled


def _strip(image: Image, extra: int) -> Image:
    """The interpolating strip (extra + 2, W, C) between the last row of ``image`` and its first one."""
    frame = np.zeros((extra + 2, *image.shape[1:]))
    frame[0], frame[-1] = image[-1], image[0]
    part = np.linspace(0, 1, extra)[:, None, None]
    sides = [0, -1]
    frame[1:-1, sides] = (1 - part) * frame[0, sides] + part * frame[-1, sides]
    return _membrane(frame)


def wrap_boundary(image: Array, size: tuple[int, int]) -> Image:
    """Extend (H,W,C) to the right and below to ``size``, both sides larger by at least 2.

    As in USRNet's evaluation, which is not quite symmetric: the first of the rows added repeats the image's last
    row, and no column does. ValueError if the size is not large enough.
    """
    image = np.asarray(image, dtype=np.float64)
    below, right = size[0] - image.shape[0], size[1] - image.shape[1]
    if min(below, right) < 2:
        raise ValueError(f"size {size} must exceed the image, {image.shape[:2]}, by 2 and more")
    bottom = _strip(image, below)
    side = _strip(image.swapaxes(0, 1), right).swapaxes(0, 1)
    corner = np.zeros((below + 2, right + 2, *image.shape[2:]))
    corner[0], corner[-1] = side[-1], side[0]
    corner[:, 0], corner[:, -1] = bottom[:, -1], bottom[:, 0]
    corner = _membrane(corner)
    upper = np.concatenate([image, side[:, 1:-1]], axis=1)
    lower = np.concatenate([bottom[:-2], corner[1:-1, 1:-1]], axis=1)
    return np.concatenate([upper, lower], axis=0)


def periodic(y: Array, scale: int) -> Image:
    """A small image (h,w,C), extended to the right and below until its enlargement by scale is nearly periodic.

    As in USRNet's evaluation of small images: its nearest neighbour enlargement is extended by 16 to 23 pixels and
    decimated, and the original part is restored.
    """
    height, width = y.shape[:2]
    large = y.repeat(scale, axis=0).repeat(scale, axis=1)
    size = tuple(math.ceil(scale * n / 8 + 2) * 8 for n in (height, width))
    continued = wrap_boundary(large, (size[0], size[1]))[::scale, ::scale]
    continued[:height, :width] = y
    return continued
