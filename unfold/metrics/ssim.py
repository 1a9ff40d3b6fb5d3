"""Structural similarity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.metrics.psnr import as_float64, same_shape

WINDOW = 11


def ssim(a: NDArray[Any], b: NDArray[Any], border: int = 0) -> float:
    """SSIM of Wang et al. 2004, mean of the channels.

    11x11 Gaussian window of width 1.5, only where it lies inside the image; K1 0.01, K2 0.03.

    a, b: (H,W[,C]), uint8 or float in [0,1]; border: pixels left out on each side before. ValueError where shapes
    differ or the image is smaller than the window.
    """
    from skimage.metrics import structural_similarity

    same_shape(a, b)
    x, y = (as_float64(image)[border : a.shape[0] - border, border : a.shape[1] - border] for image in (a, b))
    if min(x.shape[:2]) < WINDOW:
        raise ValueError(f"SSIM needs at least {WINDOW}x{WINDOW} pixels, not {x.shape[0]}x{x.shape[1]}")
    _, full = structural_similarity(
        x,
        y,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=None if x.ndim == 2 else -1,
        full=True,
    )
    inside = WINDOW // 2
    return float(np.mean(full[inside:-inside, inside:-inside]))
