"""Kernel and noise level to assume for a picture about which nothing is known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from unfold.data.formats.kernel_files import Kernel, read_kernels
from unfold.errors import UnfoldError
from unfold.physics.kernels import ASSUMED, SIDE, bicubic_kernel, gaussian_for
from unfold.util.arrays import Array
from unfold.util.paths import expanded

# Standard deviation in pixels of the Gaussian at scale 1, and noise in 255 units, which USRNet's published script
# assumes for real pictures. At larger scales its Gaussians are too wide for most pictures and harm them.
SCALE_1_WIDTH, NOISE = ASSUMED["general"][0][0], ASSUMED["general"][1]
# The diagonal details of Daubechies' wavelet with two vanishing moments do not respond to smooth content.
HIGH_PASS = np.array([-0.48296291, 0.83651630, -0.22414387, -0.12940952])
MEDIAN_OF_NORMAL = 0.67448975  # of |n|, n normal with standard deviation 1


def gaussian(width: float, scale: int) -> Kernel:
    """A Gaussian of that standard deviation in pixels of the result, 25x25, larger where it is wide; shifted as the
    published script does, see :func:`unfold.physics.kernels.gaussian_for`.
    """
    return gaussian_for(width, scale, max(SIDE, 2 * int(np.ceil(3 * width)) + 1))


def named_kernel(text: str, scale: int) -> Kernel:
    """The kernel of --kernel: gauss:WIDTH, bicubic, a file (.mat, .npy, grey picture), or FILE:NUMBER, counted from 1.

    Kernels of files are taken as they are, true convolution at the result's scale. UnfoldError for anything else.
    """
    if match := re.fullmatch(r"gauss:(\d+(?:\.\d*)?|\.\d+)", text):
        width = float(match[1])
        if not 0.05 <= width <= 50:
            raise UnfoldError(f"--kernel {text}: a width is from 0.05 to 50 pixels")
        return gaussian(width, scale)
    if text.startswith("gauss"):
        raise UnfoldError(f"--kernel {text}: a Gaussian is written gauss:1.6, with its standard deviation in pixels")
    if text == "bicubic":
        if scale < 2:
            raise UnfoldError("--kernel bicubic is how a picture was made small: it goes with USRNet's --scale from 2")
        return bicubic_kernel(scale)
    text = expanded(text)
    name, _, number = text.rpartition(":")
    numbered = bool(name) and number.isdecimal() and not Path(text).exists()
    file = name if numbered else text
    if not Path(file).suffix and not Path(file).exists():  # a mistyped name; file names have an extension
        raise UnfoldError(f"--kernel {text}: that is neither gauss:WIDTH nor bicubic, nor a file that is there")
    kernels = read_kernels(file)
    if numbered:
        if not 1 <= int(number) <= len(kernels):
            raise UnfoldError(f"--kernel {text}: {name} holds {len(kernels)} kernels, counted from 1")
        return kernels[int(number) - 1]
    if len(kernels) > 1:
        raise UnfoldError(f"--kernel {text}: it holds {len(kernels)} kernels; choose one by its number: {text}:1")
    return kernels[0]


def estimated_sigma(image: Array, jpeg: float = 0) -> float:
    """Standard deviation of white noise in an image (H,W,C), integer or floating-point, in [0,1] units.

    jpeg: error of JPEG compression, in the same units. The wavelet details do not show it; it is added as independent.

    The mean over channels of the median of the absolute diagonal wavelet details over that of a normal number (Donoho,
    Johnstone: Ideal spatial adaptation by wavelet shrinkage, Biometrika 1994), the estimator of scikit-image's
    estimate_sigma, which needs one more package. Fine texture counts as noise; noise that cameras or JPEG smoothed
    does not.
    """
    from scipy.ndimage import convolve1d

    peak = float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 1.0
    levels = []
    for channel in range(image.shape[2]):
        details = image[..., channel].astype(np.float32)
        for axis in (0, 1):
            details = convolve1d(details, HIGH_PASS.astype(np.float32), axis=axis, mode="reflect")
        details = np.abs(details[::2, ::2])
        there = details[details > 1e-6 * peak]  # none in flat areas: cut off, or painted
        levels.append(float(np.median(there)) / MEDIAN_OF_NORMAL / peak if there.size else 0.0)
    return float(np.hypot(np.mean(levels), jpeg))
