"""How a picture was made small (area means, bicubic or Lanczos reduction, or a lens), and the kernels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unfold.inference.kernel_and_noise import gaussian
from unfold.physics.kernels import SIDE, Kernel, bicubic_kernel, normalised

WAYS = ("bicubic", "area", "lanczos")
LENS = 0.5  # pixels of the small picture: no software's reduction leaves softer edges
PATCH, STEP, BUSY = 32, 16, 4.0
BANDS = (0, 4, 8, 12, 15, 17)  # of 16 up to the finest detail

# Fitted on BSDS500's train, by scripts/fit_reductions.py: for each way, weights of the 15 band powers and a constant.
PNG = np.array(
    [
        [-0.06, 0.05, -0.07, -0.21, 0.22, 0.07, 0.48, -0.33, 0.41, 0.21, -0.19, -0.04, -0.51, -0.07, 0.06, -0.31],
        [-0.02, 0.1, -0.19, 0.07, 0.02, 0.27, -0.29, -0.03, 0.09, -0.56, -0.18, 0.08, 0.02, 0.37, 0.25, 1.18],
        [0.08, -0.16, 0.26, 0.15, -0.24, -0.34, -0.19, 0.36, -0.49, 0.35, 0.37, -0.03, 0.49, -0.3, -0.31, 0.13],
    ]
)
JPEG = np.array(
    [
        [-0.09, 0.15, 0.03, -0.21, 0.11, 0.11, 0.12, -0.1, 0.13, 0.08, 0.02, -0.04, -0.22, -0.12, 0.03, -0.24],
        [0.01, 0.11, -0.45, 0.01, 0.23, 0.21, -0.1, -0.19, 0.23, -0.53, -0.34, 0.24, 0.13, 0.33, 0.09, 1.21],
        [0.08, -0.26, 0.42, 0.19, -0.34, -0.32, -0.02, 0.29, -0.36, 0.44, 0.33, -0.19, 0.08, -0.21, -0.12, 0.02],
    ]
)


def kernel_of(way: str, scale: int, width: float = 0.0) -> Kernel:
    """The kernel of a way, for decimation that keeps the upper left pixel of each block, as USRNet wants it.

    width: of a lens, the standard deviation of its Gaussian in pixels of the small picture.
    """
    if way == "lens":
        return gaussian(width * scale, scale)
    if way == "bicubic":
        return bicubic_kernel(scale)
    side = max(SIDE, 7 * scale // 2 * 2 + 1)  # Lanczos reaches 3 scale from its centre, which lies up to scale/2 off
    at = (np.arange(side) - (side // 2 - (scale - 1) / 2)) / scale
    line = np.where(np.abs(at) < 0.5, 1.0, 0.0) if way == "area" else np.sinc(at) * np.sinc(at / 3) * (np.abs(at) < 3)
    return normalised(np.outer(line, line))


def likely_ways(luma: NDArray[np.floating], *, jpeg: bool) -> list[str]:
    """WAYS, the likeliest first, by the power of the finest details: a linear rule on band powers.

    luma: (H,W) of the small picture, 0 to 255. jpeg: it was compressed, which removes some details.
    """
    scores = (JPEG if jpeg else PNG) @ np.append(band_powers(luma), 1)
    return [WAYS[i] for i in np.argsort(-scores)]


def band_powers(luma: NDArray[np.floating]) -> NDArray[np.float64]:
    """(15,), mean 0: logarithms of the power in pairs of bands, the same for rows and columns; by patches of 32x32."""
    pad = [(0, max(0, PATCH - n)) for n in luma.shape]
    luma = np.pad(luma, pad, mode="reflect" if min(luma.shape) > PATCH // 2 else "edge")
    patches = np.lib.stride_tricks.sliding_window_view(luma, (PATCH, PATCH))[::STEP, ::STEP].reshape(-1, PATCH, PATCH)
    patches = patches - patches.mean(axis=(1, 2), keepdims=True)
    busy = patches.std(axis=(1, 2)) > BUSY
    patches = patches[busy] if busy.sum() > 4 else patches
    window = np.hanning(PATCH + 1)[:PATCH]
    power = np.abs(np.fft.fft2(patches * np.outer(window, window))) ** 2
    power = (power / (power.sum(axis=(1, 2), keepdims=True) + 1e3)).mean(axis=0)
    half = PATCH // 2
    folded = (power + np.roll(power[::-1], 1, axis=0)) / 2
    folded = ((folded + np.roll(folded[:, ::-1], 1, axis=1)) / 2)[: half + 1, : half + 1]
    folded = np.log((folded + folded.T) / 2 + 1e-9)
    pairs = list(pairwise(BANDS))
    bands = [
        np.mean([folded[i, j] for i in range(a, b) for j in range(max(c, i, 1), d)])
        for n, (a, b) in enumerate(pairs)
        for c, d in pairs[n:]
    ]
    return np.array(bands) - np.mean(bands)
