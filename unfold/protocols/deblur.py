"""Removing blur of unknown kind: the evaluations of DGUNet (Mou, Wang, Zhang, CVPR 2022), which follows MPRNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unfold.metrics import psnr, ssim
from unfold.metrics.aligned import aligned_scores
from unfold.models.run_on_arrays import Image
from unfold.protocols.given_pairs import PairProtocol


@dataclass(frozen=True)
class Deblur(PairProtocol):
    """The deblurring table: GoPro and HIDE.

    - The published code pads nothing (1280x720 is made of multiples of 8). Our DGUNet pads other sizes inside.
    - The result is clamped and rounded to 8 bits, half to even.
    - psnr is MATLAB's of the 8-bit images: peak 255, over pixels and channels together. ssim is MATLAB's of the colour
      images as if they were volumes, kind "matlab3d" of :func:`unfold.metrics.ssim`.
    """

    name: ClassVar = "deblur_rgb"

    def score(self, result: Image, target: Image) -> dict[str, float]:
        bands = target.shape[2]
        quality = ssim(result, target, kind="matlab3d", channels=bands)
        return {"psnr": psnr(result, target, channels=bands), "ssim": quality}


@dataclass(frozen=True)
class RealBlur(PairProtocol):
    """RealBlur-J and RealBlur-R (Rim et al., ECCV 2020), by the code beside DGUNet's. Its paper has no such table.

    - The published code pads at the right and the bottom to multiples of 8, by reflection, and crops the result.
      Our DGUNet does just that inside.
    - The result is clamped and rounded to 8 bits, half to even.
    - psnr and ssim are computed after the result's brightness and position are fitted to the target's, in float32:
      :func:`unfold.metrics.aligned.aligned_scores`.
    """

    name: ClassVar = "realblur_aligned"

    def score(self, result: Image, target: Image) -> dict[str, float]:
        fitted_psnr, fitted_ssim = aligned_scores(result, target)
        return {"psnr": fitted_psnr, "ssim": fitted_ssim}
