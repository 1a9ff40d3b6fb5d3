"""Removing rain: DGUNet's Table 1 (Mou, Wang, Zhang, CVPR 2022), which follows MPRNet (Zamir et al., CVPR 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unfold.data.images import find_images, read_uint8, to_float
from unfold.data.pairs import marked_inputs
from unfold.degradations.synthetic_rain import SyntheticRain
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.models.run_on_arrays import Image
from unfold.protocols.given_pairs import PairProtocol, middle
from unfold.protocols.protocol import Case, Sample, generator_of


@dataclass(frozen=True)
class Derain(PairProtocol):
    """Table 1: Test100, Rain100H, Rain100L, Test2800, Test1200. Its last column is the unweighted mean of the five.

    - The published code pads nothing: its sets are MPRNet's, cropped at the bottom and the right to multiples of 8
      (480x320 for Rain100H and Rain100L). Our DGUNet pads other sizes inside, so that they run, too.
    - The result is clamped and rounded to 8 bits, half to even.
    - psnr and ssim are of Y, MATLAB's rgb2ycbcr of the 8-bit images, rounded to 8 bits, for a peak of 255; SSIM is that
      of Wang et al. (11x11 Gaussian window, inside the image). No border is removed. psnr_rgb is ours.
    """

    name: ClassVar = "derain_y"

    def score(self, result: Image, target: Image) -> dict[str, float]:
        return {
            "psnr": psnr(result, target, channel="y"),
            "ssim": ssim(result, target, channel="y"),
            "psnr_rgb": psnr(result, target),
        }


@dataclass(frozen=True)
class DerainSynthetic(Derain):
    """Clean images with rain of our own models (degradations/synthetic_rain.py), scored as Table 1 is.

    No published table: it validates trainings on the same synthetic rain. Rain is drawn per image from a generator
    seeded with the file's name.

    rendered: share of the images with rendered streaks, in [0,1].
    """

    name: ClassVar = "derain_synthetic"
    rendered: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        SyntheticRain(self.rendered)  # refuses what is no share

    def cases(self, source: str, split: str = "test") -> list[Case]:
        paths = find_images(source, split)
        if rainy := marked_inputs(paths):
            raise UnfoldError(f"{rainy[0]} is the degraded side of a pair: derain_synthetic takes clean images")
        return [Case(path.stem, (path,)) for path in paths]

    def sample(self, case: Case) -> Sample:
        (path,) = case.files
        target = middle(read_uint8(path, self.bands), self.crop)
        drawn = SyntheticRain(self.rendered).make({"target": target}, generator_of(path), 1)
        return Sample({"y": to_float(drawn["y"])}, target)
