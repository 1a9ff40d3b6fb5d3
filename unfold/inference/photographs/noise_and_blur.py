"""Noise and blur of a photograph, from its smoothest blocks and its strongest edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.inference.kernel_and_noise import estimated_sigma
from unfold.util.arrays import white

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
Picture = NDArray[np.float32]  # (H,W,1|3), 0 to 255

SMOOTHEST, SMOOTH = 5, 20  # percent of the blocks: the smoothest ones hold the least texture
LOW_BY = 1.15  # for equal noise, the smoothest twentieth of blocks of 64 pixels is too low by this factor
# Noise of colour survives in the smoothest blocks of the colour differences, where photographs hold nearly nothing. It
# bounds the noise of luma. JPEG halves the size of those planes, hence the slope. Noise is the same in many blocks and
# texture is not: the growth from the smoothest blocks to the next ones is subtracted.
COLOUR_NONE, COLOUR_SLOPE, GROWS = 1.0, 5.5, 0.75
LEAST_NOISE, LEAST_GREY_NOISE = 3.5, 4.5  # below this, noise is not distinguishable from texture
STRONG, STRONGEST, LEAST_EDGES = 8.0, 97, 20  # edges: gradient per pixel, percentile, number
GRADIENT, AGAIN = 0.7, 1.0  # pixels: widths of the gradient's Gaussian, and of the added blur


def luma_of(picture: Picture) -> NDArray[np.float32]:
    """(H,W)"""
    return picture @ LUMA if picture.shape[2] == 3 else picture.mean(axis=2)


def luma_in_255(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """(H,W) in 0 to 255 of a picture (H,W,1|3), unsigned integers or floats in [0,1]; by rows, for memory."""
    luma = np.empty(pixels.shape[:2], np.float32)
    for first in range(0, len(luma), 256):
        rows = slice(first, first + 256)
        luma[rows] = luma_of(pixels[rows].astype(np.float32))
    luma *= np.float32(255 / white(pixels.dtype))
    return luma


def noise_level(picture: Picture) -> float:
    """Standard deviation of the noise, of 255; 0 where it is not distinguishable from texture.

    Measured in the smoothest blocks of luma, which also shows correlated noise. It is bounded by the smoothest blocks
    of the colour differences, or, in a grey picture, by the finest details.
    """
    luma = luma_of(picture)
    seen = LOW_BY * float(_smoothest(luma, clipped=True)[0])
    red, blue = ((picture[..., c] - luma) / 2 for c in (0, 2)) if picture.shape[2] == 3 else (luma * 0, luma * 0)
    if not red.any() and not blue.any():
        level = min(seen, 255 * estimated_sigma((luma / 255)[..., None]))
        return level if level >= LEAST_GREY_NOISE else 0.0
    first, next_ones = np.maximum(_smoothest(red), _smoothest(blue))
    level = min(seen, COLOUR_NONE + COLOUR_SLOPE * float(first - GROWS * (next_ones - first)))
    return level if level >= LEAST_NOISE else 0.0


def blocks_of(plane: NDArray[Any]) -> NDArray[Any]:
    """(N,8,8): the whole 8x8 blocks of a plane (H,W)."""
    height, width = (n // 8 * 8 for n in plane.shape)
    return plane[:height, :width].reshape(height // 8, 8, width // 8, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)


def _smoothest(plane: NDArray[Any], *, clipped: bool = False) -> NDArray[Any]:
    """(2,): deviations from a fitted plane in the smoothest 8x8 blocks, and in smooth ones.

    clipped: skip blocks that touch black or white.
    """
    blocks = blocks_of(plane)
    if not len(blocks):
        return np.zeros(2)
    if clipped:
        inside = (blocks.min(axis=(1, 2)) > 4) & (blocks.max(axis=(1, 2)) < 251)
        blocks = blocks[inside] if inside.mean() > 0.05 else blocks
    slope = np.arange(8, dtype=np.float32) - 3.5
    slope /= np.sqrt(8 * (slope**2).sum())
    centred = blocks - blocks.mean(axis=(1, 2), keepdims=True)
    along, down = (np.einsum(which, centred, slope) for which in ("nij,j->n", "nij,i->n"))
    rest = (centred**2).sum(axis=(1, 2)) - along**2 - down**2
    return np.percentile(np.sqrt(rest.clip(0) / 61), (SMOOTHEST, SMOOTH))


def blur_width(picture: Picture) -> float:
    """Standard deviation in pixels of the Gaussian that would make ideal edges as soft as the strongest edges are.

    The median over these edges; 0 where they are sharp or too few. Found from how much a gradient falls when the
    picture is blurred once more (Zhuo, Sim: Defocus map estimation from a single image, Pattern Recognition 2011).
    """
    from scipy.ndimage import gaussian_filter, maximum_filter

    luma = luma_of(picture)

    def gradient(plane: NDArray[Any]) -> NDArray[Any]:
        return np.hypot(*(gaussian_filter(plane, GRADIENT, order) for order in ((0, 1), (1, 0))))

    sharp, soft = gradient(luma), gradient(gaussian_filter(luma, AGAIN))
    edges = (sharp >= max(np.percentile(sharp, STRONGEST), STRONG)) & (sharp >= maximum_filter(sharp, 3))
    if np.count_nonzero(edges) < LEAST_EDGES:
        return 0.0
    ratio = sharp[edges] / soft[edges].clip(1e-6)
    squares = AGAIN**2 / (ratio**2 - 1).clip(1e-4) - GRADIENT**2
    return float(np.sqrt(max(0.0, float(np.median(squares)))))
