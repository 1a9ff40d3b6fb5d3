"""Denoising of colour images with white Gaussian noise of one known level.

This project's protocol, close to the usual one of colour denoising papers, which differ in rounding and in their noise:
- noise is added to the image in [0,1] as float32, neither clamped nor rounded, and drawn per image from a generator
  seeded with the file's name, so that every method and every run sees the same noise on the same picture;
- the result is clamped to [0,1] and not rounded;
- PSNR over the three RGB channels together, SSIM per channel and averaged, both without a border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unfold.data.images import read_channels, to_float
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.models.run_on_arrays import Image
from unfold.physics.noise import add_gaussian
from unfold.protocols.protocol import Case, Protocol, Sample, generator_of


@dataclass(frozen=True)
class GaussianDenoising(Protocol):
    """White Gaussian noise on clean images.

    sigma: noise standard deviation in 255 units; grey: restore one channel, the luma of colour images.
    """

    sigma: float = 25.0
    grey: bool = False
    name: ClassVar = "gaussian_denoise"
    inputs: ClassVar = ("y", "sigma")

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= 255:
            raise UnfoldError(f"sigma is the noise's standard deviation in 255 units, above 0, not {self.sigma}")

    def options(self) -> dict[str, object]:
        return {"sigma": self.sigma, **({"grey": True} if self.grey else {})}

    def sample(self, case: Case) -> Sample:
        (path,) = case.files
        target = to_float(read_channels(path, 1 if self.grey else self.bands))
        y = add_gaussian(target, self.sigma / 255, generator_of(path))
        return Sample({"y": y, "sigma": self.sigma / 255}, target)

    def finish(self, result: Image) -> Image:
        return result.clip(0, 1)

    def score(self, result: Image, target: Image) -> dict[str, float]:
        bands = target.shape[2]
        return {"psnr": psnr(result, target, channels=bands), "ssim": ssim(result, target, channels=bands)}
