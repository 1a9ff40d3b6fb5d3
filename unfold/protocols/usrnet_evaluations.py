"""The evaluations of USRNet (Zhang, Van Gool, Timofte, CVPR 2020): Table 1, bicubic degradation, and real images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unfold.data.formats.kernel_files import Kernel, published_kernels
from unfold.data.images import read_channels, read_uint8, to_float
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.models.run_on_arrays import Image
from unfold.physics.boundary import periodic
from unfold.physics.degrade import blur_uint8, crop_to_multiple, decimate_array
from unfold.physics.kernels import ASSUMED, gaussian_for
from unfold.physics.resize import imresize
from unfold.protocols.protocol import Case, Protocol, Sample, Unscored, to_uint8
from unfold.util.arrays import Array, Named, width_x_height

KERNELS = "kernels/kernels_12.mat"
BICUBIC_KERNELS = "kernels/kernels_bicubicx234.mat"
PUBLISHED_CODE = "the published code of USRNet, github.com/cszn/USRNet"


class _USRNetProtocol(Protocol):
    inputs: ClassVar = ("y", "kernel", "scale", "sigma")

    def finish(self, result: Image) -> Image:
        return to_uint8(result)


@dataclass(frozen=True)
class USRNetTable1(_USRNetProtocol):
    """Table 1: blur by one of 12 kernels, decimation, noise. The paper's set is the cropped colour BSD68 (srbsd68).

    scale: 2, 3 or 4 in the table; kernel: 1 to 12, in the order of kernels_12.mat; noise: in 255 units, 0, 2.55 or
    7.65 in the table.

    - Images are cropped at the bottom and the right to multiples of lcm(scale, 8).
    - Blur is circular, of the 8-bit image, and truncated (not rounded) to 8 bits; then the upper left pixel of every
      scale x scale block is kept. Kernels are neither shifted nor normalised.
    - Noise: numpy.random.seed(0) for every image, one normal number per value, added after division by 255; the result
      is neither clamped nor rounded. The network gets the true level.
    - No padding: the blur was circular.
    - The result is clamped, rounded to 8 bits and compared in RGB without a border of scale^2 pixels. (Not of scale:
      that is the bicubic evaluation.) The published cells are mean PSNR; SSIM is ours.
    """

    scale: int = 4
    kernel: int = 1
    noise: float = 0.0
    name: ClassVar = "usrnet_table1"

    def __post_init__(self) -> None:
        _check_scale(self.scale, 1)
        if not 1 <= self.kernel <= 12:
            raise UnfoldError(f"kernel is a number from 1 to 12, not {self.kernel}")
        if not 0 <= self.noise <= 255:
            raise UnfoldError(f"noise is in 255 units and not negative, not {self.noise}")

    def sample(self, case: Case) -> Sample:
        kernel = published_kernels(KERNELS, 12, PUBLISHED_CODE)[self.kernel - 1]
        target = crop_to_multiple(read_uint8(case.files[0], self.bands), math.lcm(self.scale, 8))
        _check_size(target, kernel, case)
        small = decimate_array(blur_uint8(target, kernel), self.scale).astype(np.float32) / np.float32(255)
        y = small + np.random.RandomState(0).normal(0, self.noise / 255, small.shape)
        corner = (self.scale - 1) / (2 * self.scale)  # of a block, not its middle: for the bicubic baseline
        return Sample({**_inputs(y, kernel, self.scale, self.noise), "offset": corner}, target)

    def score(self, result: Image, target: Image) -> dict[str, float]:
        border = self.scale**2
        return {"psnr": psnr(result, target, border), "ssim": ssim(result, target, border)}


@dataclass(frozen=True)
class USRNetBicubic(_USRNetProtocol):
    """USRNet's Table 2, bicubic degradation: enlarging images reduced by MATLAB's imresize.

    scale: 2, 3 or 4.

    - Images are cropped to multiples of scale and resized in floats; the small image is not rounded to 8 bits.
    - It is made periodic: enlarged by nearest neighbour, extended to the right and below by 16 to 23 pixels
      (:func:`unfold.physics.boundary.periodic`), decimated, with its own part restored. The network's result is cropped
      again.
    - The kernel is the published one for the scale, which has negative values and a sum slightly off 1; no noise.
    - The result is clamped, rounded to 8 bits and compared without a border of scale pixels: psnr and ssim on Y
      (MATLAB's rgb2ycbcr, rounded), psnr_rgb and ssim_rgb on RGB.
    """

    scale: int = 4
    name: ClassVar = "usrnet_bicubic"

    def __post_init__(self) -> None:
        _check_scale(self.scale, 2)

    def sample(self, case: Case) -> Sample:
        kernel = published_kernels(BICUBIC_KERNELS, 3, PUBLISHED_CODE)[self.scale - 2]
        target = crop_to_multiple(read_uint8(case.files[0], self.bands), self.scale)
        _check_size(target, kernel, case)
        y = imresize(target.astype(np.float32) / np.float32(255), 1 / self.scale)
        return Sample(_inputs(periodic(y, self.scale), kernel, self.scale, 0), target, _window(target.shape))

    def score(self, result: Image, target: Image) -> dict[str, float]:
        return {
            "psnr": psnr(result, target, self.scale, "y"),
            "ssim": ssim(result, target, self.scale, "y"),
            "psnr_rgb": psnr(result, target, self.scale),
            "ssim_rgb": ssim(result, target, self.scale),
        }


@dataclass(frozen=True)
class USRNetReal(Unscored, _USRNetProtocol):
    """Real small images, without ground truth: pictures are saved, not scored.

    scale: 1 to 4; assumed: which blur and noise level the network is given: "general", or "chip", the published choice
    for the picture of that name.

    - The kernel is a 25x25 Gaussian, shifted to the upper left by (scale - 1)/2 and normalised.
    - The image is made periodic and the result cropped and rounded as in the bicubic evaluation.
    """

    scale: int = 4
    assumed: str = "general"
    name: ClassVar = "usrnet_real"

    def __post_init__(self) -> None:
        _check_scale(self.scale, 1)
        if self.assumed not in ASSUMED:
            raise UnfoldError(f"assumed is one of {', '.join(ASSUMED)}, not {self.assumed!r}")

    def sample(self, case: Case) -> Sample:
        widths, noise = ASSUMED[self.assumed]
        kernel = gaussian_for(widths[self.scale - 1], self.scale)
        y = to_float(read_channels(case.files[0], self.bands))
        height, width = y.shape[0] * self.scale, y.shape[1] * self.scale
        inputs = _inputs(periodic(y, self.scale), kernel, self.scale, noise)
        return Sample(inputs, None, _window((height, width)))


def _inputs(y: Array, kernel: Kernel, scale: int, noise: float) -> Named:
    return {"y": y.astype(np.float32), "kernel": kernel.astype(np.float32), "scale": scale, "sigma": noise / 255}


def _window(shape: tuple[int, ...]) -> tuple[slice, slice]:
    return slice(0, shape[0]), slice(0, shape[1])


def _check_scale(scale: int, smallest: int) -> None:
    if not smallest <= scale <= 4:
        raise UnfoldError(f"scale is a whole number from {smallest} to 4, not {scale}")


def _check_size(target: Image, kernel: Kernel, case: Case) -> None:
    if min(target.shape[:2]) < max(kernel.shape):
        raise UnfoldError(
            f"{case.files[0]} is {width_x_height(target.shape)} after cropping, smaller than the kernel, "
            f"{width_x_height(kernel.shape)}"
        )
