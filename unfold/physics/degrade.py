"""Blur and decimation of image arrays, exactly as in published evaluations.

The operators on tensors, for networks and training, are in :mod:`unfold.physics.blur`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unfold.util.arrays import Array

_MODE = {"circular": "wrap", "zero": "constant", "replicate": "nearest"}


def blur_array(image: Array, kernel: Array, boundary: str = "circular") -> NDArray[np.float64]:
    """k * x in float64: true convolution of every channel of (H,W,C) by (kh,kw), its centre the pixel (kh//2, kw//2).

    boundary: "circular", "zero" or "replicate". Values keep the image's range: uint8 stays in 255 units.
    """
    from scipy.ndimage import convolve

    weights = np.asarray(kernel, dtype=np.float64)[..., None]
    return convolve(image.astype(np.float64), weights, mode=_MODE[boundary])


def blur_uint8(image: NDArray[np.uint8], kernel: Array) -> NDArray[np.uint8]:
    """Circular blur of a uint8 image as in USRNet's and NRL-GDN's code: the result is truncated, not rounded.

    This costs half a grey level on average; networks are trained and evaluated with it. Where negative kernel values
    lead beyond 0 or 255, the result is clamped.
    """
    return np.trunc(blur_array(image, kernel)).clip(0, 255).astype(np.uint8)


def decimate_array(image: Array, scale: int) -> Array:
    """Keep the upper left pixel of every scale x scale block of (H,W,C)."""
    return image[::scale, ::scale]


def crop_to_multiple(image: Array, multiple: int) -> Array:
    """Crop (H,W[,C]) at the bottom and the right to multiples of ``multiple``."""
    height, width = (n - n % multiple for n in image.shape[:2])
    return image[:height, :width]
