"""Blur kernels on a grid: Gaussians, their shift between the grids of two scales, and their sum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unfold.physics.resize import cubic
from unfold.physics.rng import Rng

Kernel = NDArray[np.float64]

SIDE = 25  # side of training kernels in pixels
LEAST_VARIANCE, LARGEST_VARIANCE = 0.6, 12.0  # of training Gaussians, in pixels squared
SHARP_VARIANCES = 0.1, 1.5  # of weakly blurring training kernels

# USRNet's assumptions for real pictures: standard deviations of the blur by scale 1 to 4, noise in 255 units.
ASSUMED = {"chip": ((0.6, 0.9, 1.7, 2.2), 15.0), "general": ((0.4, 0.7, 1.5, 2.0), 2.0)}


def normalised(kernel: Kernel) -> Kernel:
    """The kernel over its sum. ValueError if the sum is not positive."""
    total = kernel.sum()
    if not total > 0:
        raise ValueError(f"a kernel with the sum {total:g} cannot be normalised")
    return kernel / total


def gaussian_kernel(size: int, sigma: float) -> Kernel:
    """Isotropic Gaussian (size,size) of standard deviation sigma in pixels, sum 1, as in MATLAB's fspecial.

    Centred between pixels where size is even; values below 2.2e-16 of the largest are 0.
    """
    squares = np.square(np.arange(size) - (size - 1) / 2)
    kernel = np.exp(-(squares[:, None] + squares) / (2 * sigma**2))
    kernel[kernel < np.finfo(np.float64).eps * kernel.max()] = 0
    return normalised(kernel)


def anisotropic_gaussian(size: int, variances: tuple[float, float], theta: float, shift: float = 0) -> Kernel:
    """Gaussian (size,size), sum 1: variances in pixels squared, the first along (cos theta, sin theta) in (x, y).

    x runs along the columns, y along the rows. Its centre lies at size//2 - shift on both.
    """
    offsets = np.arange(size) - (size // 2 - shift)
    columns, rows = offsets, offsets[:, None]
    along = columns * np.cos(theta) + rows * np.sin(theta)
    across = rows * np.cos(theta) - columns * np.sin(theta)
    return normalised(np.exp(-0.5 * (along**2 / variances[0] + across**2 / variances[1])))


def random_gaussian(rng: Rng, scale: int, between: tuple[float, float] = (LEAST_VARIANCE, LARGEST_VARIANCE)) -> Kernel:
    """(25,25), a random Gaussian of USRNet's and NRL-GDN's training: variances uniform in [0.6, 12], any angle.

    between: other bounds of the variances. Shifted by (scale - 1)/2 to the upper left, so that the upper left pixel of
    every scale x scale block represents the block. In training this scale is drawn from 1 to 4, independently of the
    sample's. Draws: two variances, the angle.
    """
    variances = (rng.uniform(*between), rng.uniform(*between))
    return anisotropic_gaussian(SIDE, variances, rng.uniform(0, np.pi), shift=(scale - 1) / 2)


def bicubic_kernel(scale: int) -> Kernel:
    """The blur kernel of MATLAB's bicubic reduction by a whole ``scale``, before decimation to upper left pixels.

    (25,25), larger from scale 6 up; sum 1. :func:`unfold.physics.resize.imresize` by 1/scale equals this blur and
    decimation, except at the border.
    """
    size = max(SIDE, 5 * scale // 2 * 2 + 1)  # it extends 2 scale around its centre, which is up to scale/2 off
    line = cubic((np.arange(size) - (size // 2 - (scale - 1) / 2)) / scale)
    return normalised(np.outer(line, line))


def random_sharp(rng: np.random.Generator, scale: int) -> Kernel:
    """(25,25), a weakly blurring kernel, for samples of scale 1 to 4: half bicubic, half narrow Gaussians.

    Ours: only one in 160 of the papers' Gaussians has both variances below 1.5, but reductions by 2 or 3 blur less than
    that. The Gaussians here have variances uniform in [0.1, 1.5], any angle, and, as :func:`random_gaussian`, the shift
    of a scale drawn from 1 to 4. At scale 1 the bicubic kernel is a single 1.
    """
    if rng.uniform() < 0.5:
        return bicubic_kernel(scale)
    return random_gaussian(rng, int(rng.integers(1, 4, endpoint=True)), between=SHARP_VARIANCES)


def shift_kernel(kernel: Kernel, scale: int, upper_left: bool = True) -> Kernel:
    """Shift the kernel by (scale - 1)/2 pixels to the upper left, or to the lower right. Bilinear.

    This converts between a kernel for block means and one for decimation, which keeps the upper left pixel of a block
    (USRNet). Border values are repeated outwards, and the sum may change.
    """
    from scipy import ndimage

    distance = (scale - 1) / 2
    return ndimage.shift(kernel, -distance if upper_left else distance, order=1, mode="nearest")


def centred_in_odd_square(kernel: Kernel) -> Kernel:
    """The kernel padded with zeros to an odd square, with its centre pixel (kh//2, kw//2) in the centre."""
    rows, columns = kernel.shape
    side = max(rows, columns) // 2 * 2 + 1
    before = (side // 2 - rows // 2, side // 2 - columns // 2)
    return np.pad(kernel, [(n, side - size - n) for n, size in zip(before, kernel.shape, strict=True)])


def gaussian_for(width: float, scale: int, size: int = SIDE) -> Kernel:
    """A Gaussian for decimation by scale, as in USRNet's script for real pictures: shifted and normalised.

    width: standard deviation in pixels of the large image.
    """
    return normalised(shift_kernel(gaussian_kernel(size, width), scale))
