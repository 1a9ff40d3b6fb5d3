"""Non-blind deblurring of real blur: the set of Levin, Weiss, Durand, Freeman (CVPR 2009)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from unfold.data.formats.kernel_files import Kernel, read_kernels
from unfold.data.images import eight_bits, find_images, read_grey
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.metrics.shifted import undo_shift
from unfold.models.run_on_arrays import Image
from unfold.physics.boundary import wrap_boundary
from unfold.physics.kernels import normalised
from unfold.protocols.protocol import Case, Protocol, Sample, to_uint8
from unfold.util.arrays import width_x_height

NAME = re.compile(r"im(\d+)_kernel(\d+)_img")
CONVOLVED = (4, 8)  # kernel files for convolution; all others are rotated by 180 degrees
BORDER = 27  # pixels, the side of the largest kernel
REACH = 8  # largest shift in pixels of a result against its reference


@dataclass(frozen=True)
class Levin09(Protocol):
    """Four scenes, each photographed eight times with a shaking camera: 32 grey images, their kernels, sharp
    references.

    sigma: the noise level given to methods, in 255 units.

    - The set's folder holds im<i>_kernel<k>_img.png, and its folder gt holds im<i>.png and kernel<k>.png, 8 bits. The
      blur is real: nothing is simulated, and the measured kernels are not exact.
    - Kernels are divided by their sum. The files 4 and 8 are kernels of a convolution; the six others are rotated by
      180 degrees before use. (Rotated the other way, each loses at least 7 dB with wiener on scenes 1 and 3.)
    - Photographs are not circular: they are made periodic (:func:`unfold.physics.boundary.wrap_boundary`) by about
      three sides of the kernel, to the right and below, and results are cropped again, for all methods.
    - sigma is unknown. The photographs' own noise is 0.5 by the wavelet estimate, but their distance from the
      references blurred by the kernels is 0.9 to 2.5 (root mean square). The default, 2.55, covers that, and is the
      smallest level but 0 of USRNet's evaluation. It was not chosen by PSNR.
    - Grey images get three equal channels; the mean of a result's channels is clamped and rounded to 8
      bits.
    - Kernels and references are misaligned by up to 5.25 pixels on an axis, with fractions that differ between images.
      As is customary with this set, results are compared up to a shift: whole pixels up to 8, then quarters, the shift
      with the least squared difference (:func:`unfold.metrics.shifted.undo_shift`). This holds for every method, and
      for the input.
    - PSNR and SSIM of the shifted result, without a border of 27 pixels, the side of the largest kernel.
    - With a copy of the set whose kernel files all have one orientation, some scores would be far too low.
    """

    sigma: float = 2.55
    name: ClassVar = "levin09"
    inputs: ClassVar = ("y", "kernel", "scale", "sigma")

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= 255:
            raise UnfoldError(f"sigma is in 255 units and not negative, not {self.sigma}")

    def cases(self, source: str, split: str = "test") -> list[Case]:
        return [_case(path) for path in find_images(source, split)]

    def sample(self, case: Case) -> Sample:
        blurred, reference, file = case.files
        kernel = read_kernel(file, case.options["kernel"])
        target, y = eight_bits(read_grey(reference), reference)[..., None], read_grey(blurred)[..., None]
        if y.shape != target.shape or min(y.shape[:2]) <= 2 * BORDER:
            raise UnfoldError(
                f"{blurred} is {width_x_height(y.shape)} and {reference} {width_x_height(target.shape)}; they are "
                f"of one size, and more than {2 * BORDER} pixels"
            )
        height, width = y.shape[:2]
        full = np.iinfo(y.dtype).max if y.dtype.kind == "u" else 1
        rows, columns = (-(-(n + 3 * max(kernel.shape)) // 8) * 8 for n in (height, width))
        continued = wrap_boundary(y.repeat(3, axis=2) / full, (rows, columns)).astype(np.float32)
        inputs = {"y": continued, "kernel": kernel.astype(np.float32), "scale": 1, "sigma": self.sigma / 255}
        return Sample(inputs, target, (slice(0, height), slice(0, width)))

    def finish(self, result: Image) -> Image:
        return to_uint8(result.mean(axis=2, keepdims=True))

    def score(self, result: Image, target: Image) -> dict[str, float]:
        moved, _ = undo_shift(result, target, BORDER, REACH)
        return {"psnr": psnr(moved, target / 255, BORDER), "ssim": ssim(moved, target / 255, BORDER)}


def read_kernel(path: Path, number: int) -> Kernel:
    """Read a kernel file of the set for convolution, with sum 1."""
    (kernel,) = read_kernels(path)
    return normalised(kernel if number in CONVOLVED else np.ascontiguousarray(kernel[::-1, ::-1]))


def _case(path: Path) -> Case:
    match = NAME.fullmatch(path.stem)
    if not match:
        raise UnfoldError(f"{path} is not called as an image of this set, im1_kernel1_img.png to im4_kernel8_img.png")
    image, kernel = (int(number) for number in match.groups())
    files = (path, path.parent / "gt" / f"im{image}.png", path.parent / "gt" / f"kernel{kernel}.png")
    for file in files[1:]:
        if not file.is_file():
            raise UnfoldError(f"there is no {file}, which belongs to {path.name}")
    return Case(f"im{image}_kernel{kernel}", files, {"image": image, "kernel": kernel})
