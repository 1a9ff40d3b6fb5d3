"""ISTA-Net's two evaluations (Zhang, Ghanem, CVPR 2018): compressive sensing of grey images by blocks, and MRI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unfold.data.images import read_grey, to_float
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.models.run_on_arrays import Image
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.protocol import Case, Protocol, Sample
from unfold.steps.block_sampling import measurements_of
from unfold.steps.frequency_checks import check_mask
from unfold.util.arrays import width_x_height
from unfold.util.matrix_files import read_mask


class _Grey(Protocol):
    """Grey unchanged, colour as cv2's full-range Y; clamped, not rounded; SSIM by scikit-image's defaults."""

    def score(self, result: Image, target: Image) -> dict[str, float]:
        return {"psnr": psnr(result, target), "ssim": ssim(result, target, kind="skimage")}


@dataclass(frozen=True)
class ISTANetCS(_Grey):
    """ISTA-Net's compressive sensing table: Set11 at 1, 4, 10, 25, 30, 40 and 50 per cent.

    ratio: measurements per pixel in per cent; block: side of the blocks in pixels. Networks bring their own sampling
    matrix, so these only have to match: another network is refused.

    - Grey images unchanged, colour ones as cv2's full-range Y, rounded; 8 bits divided by 255 (16 by 65535).
    - The image is padded with zeros to whole blocks. (The published script adds at least one row and column of zeros,
      33 to a multiple of 33: separate blocks, which change no pixel and are not computed here.)
    - The result is clamped and not rounded; PSNR and SSIM (scikit-image's defaults) of the whole image, no border.
    """

    ratio: float = 25.0
    block: int = 33
    name: ClassVar = "ista_net_cs"
    inputs: ClassVar = ("image",)

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 100:
            raise UnfoldError(f"ratio is per cent of the pixels, above 0 and at most 100, not {self.ratio:g}")
        if self.block < 1:
            raise UnfoldError(f"block is the side of a block in pixels, at least 1, not {self.block}")

    def check(self, net: UnfoldingNetwork) -> None:
        own, side = getattr(net, "measurements", None), net.size_multiple
        if own is None:
            raise UnfoldError(f"{type(net).__name__} does not say how many measurements of a block it takes")
        asked = measurements_of(self.ratio, self.block**2)
        if (own, side) != (asked, self.block):
            raise UnfoldError(
                f"this network takes {own} measurements of {side}x{side} pixels, ratio {getattr(net, 'ratio', 0):g} %, "
                f"and {self.name}:ratio={self.ratio:g},block={self.block} means {asked} of {self.block}x{self.block}"
            )

    def sample(self, case: Case) -> Sample:
        target = read_grey(case.files[0])[..., None]
        image = to_float(target)
        return Sample({"image": image}, target if target.dtype == np.uint8 else image)


@dataclass(frozen=True)
class ISTANetMRI(_Grey):
    """ISTA-Net's magnetic resonance imaging: 50 brain images of 256x256, from 20, 30, ... per cent of the frequencies.

    ratio: which of the published masks, ista_net/mask_RATIO.mat below UNFOLD_DATA; mask: another file instead
    (.mat, .npy, or a picture), as it is or below UNFOLD_DATA. It has the size of the images, zero frequency at [0,0].

    - Grey images unchanged, colour ones as cv2's full-range Y, rounded. No noise.
    - For methods that take a picture, y is the zero-filled image, Re IFFT2(mask . FFT2(x)).
    - The result is clamped and not rounded; PSNR and SSIM (scikit-image's defaults) of the whole image, no border.
    """

    ratio: float = 20.0
    mask: str = ""
    name: ClassVar = "ista_net_mri"
    inputs: ClassVar = ("image", "mask", "y")

    def check(self, net: UnfoldingNetwork) -> None:
        own = getattr(net, "ratio", None)
        if own is not None and not self.mask and own != self.ratio:
            raise UnfoldError(f"these weights are for {own:g} % of the frequencies: give {self.name}:ratio={own:g}")

    def sample(self, case: Case) -> Sample:
        target, mask = read_grey(case.files[0])[..., None], self._mask()
        if mask.shape != target.shape[:2]:
            raise UnfoldError(
                f"{case.files[0]} is {width_x_height(target.shape)}, and the mask {width_x_height(mask.shape)}"
            )
        image = to_float(target)
        filled = np.fft.ifft2(mask * np.fft.fft2(image[..., 0].astype(np.float64))).real[..., None]
        inputs = {"image": image, "mask": mask[..., None], "y": filled.astype(np.float32)}
        return Sample(inputs, target if target.dtype == np.uint8 else image)

    def _mask(self) -> NDArray[np.float32]:
        name = self.mask or f"ista_net/mask_{self.ratio:g}.mat"
        mask = read_mask(name)
        check_mask(f"the mask {name}", mask)
        return mask
