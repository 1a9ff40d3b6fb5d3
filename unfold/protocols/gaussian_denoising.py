"""Denoising of colour images with white Gaussian noise of one known strength.

This project's protocol, close to the usual one of colour denoising papers, which differ in rounding and in their noise:
- noise is added to the image in [0,1] as float32, neither clamped nor rounded, and drawn per image from a generator
  seeded with the file's name, so that every method and every run sees the same noise on the same picture;
- the result is clamped to [0,1] and not rounded;
- PSNR over the three RGB channels together, SSIM per channel and averaged, both without a border.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from unfold.data.images import find_images, read_image, to_float
from unfold.metrics import psnr, ssim
from unfold.physics.noise import add_gaussian

Image = NDArray[np.float32]


@dataclass(frozen=True)
class GaussianDenoising:
    """sigma: noise standard deviation in 255 units."""

    sigma: float
    inputs: ClassVar = ("y",)  # what a network is given

    def images(self, source: str, split: str) -> list[Path]:
        """The files of a set, see :func:`unfold.data.images.find_images`."""
        return find_images(source, split)

    def degrade(self, target: Image, rng: np.random.Generator) -> dict[str, Image]:
        """target (H,W,3) in [0,1] -> the network's inputs: y, the noisy image."""
        return {"y": add_gaussian(target, self.sigma / 255, rng)}

    def sample(self, path: Path) -> dict[str, Image]:
        """Read a test image and degrade it: {"target", "y"}."""
        target = to_float(read_image(path))
        rng = np.random.default_rng(zlib.crc32(path.name.encode()))
        return {"target": target, **self.degrade(target, rng)}

    def score(self, result: Image, target: Image) -> tuple[float, float]:
        """PSNR in dB and SSIM of a result (H,W,3), which is clamped first."""
        result = result.clip(0, 1)
        return psnr(result, target), ssim(result, target)
