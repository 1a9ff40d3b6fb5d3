"""Compressive sensing of grey images by blocks of 32x32: the evaluation of DGUNet (Mou, Wang, Zhang, CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unfold.data.images import read_grey, to_float
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.models.dgunet_cs import BLOCK, measurements_of
from unfold.models.run_on_arrays import Image, Method
from unfold.models.unfolding import UnfoldingNetwork
from unfold.protocols.protocol import Case, Protocol, Sample


@dataclass(frozen=True)
class CompressiveSensing(Protocol):
    """DGUNet's compressive sensing table: Set11 and BSD68 at 1, 4, 10, 25 and 50 per cent.

    ratio: measurements per pixel in per cent. Networks bring their own sampling matrix, so the ratio only has to match:
    another network is refused. tile: side of the squares that are restored independently, a multiple of 32; 128 in the
    table, 0 for the whole image at once (ours: no seams every 128 pixels), 32 for the published networks before their
    deblocking.

    - Grey images are used unchanged, colour ones as cv2's full-range Y; 8 bits divided by 255 (16 by 65535, which
      the published code does not take).
    - The image is padded with zeros to whole tiles. (The published script adds one more row and column of tiles even
      where none is needed; they are cropped again.)
    - No noise, no self-ensemble. The result is clamped and not rounded.
    - PSNR and SSIM of the whole image without a border, SSIM by scikit-image's defaults (kind "skimage").
    - Pictures are saved rounded; the published script truncates.
    """

    ratio: float = 25.0
    tile: int = 128
    name: ClassVar = "compressive_sensing"
    inputs: ClassVar = ("image",)

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 100:
            raise UnfoldError(f"ratio is per cent of the pixels, above 0 and at most 100, not {self.ratio}")
        if self.tile < 0 or self.tile % BLOCK:
            raise UnfoldError(f"tile is a multiple of {BLOCK}, or 0 for the whole image, not {self.tile}")

    def check(self, net: UnfoldingNetwork) -> None:
        own, asked = getattr(net, "measurements", None), measurements_of(self.ratio)
        if own is None:
            raise UnfoldError(f"{type(net).__name__} does not say how many measurements of a block it takes")
        if own != asked:
            ratio = next((r for r in range(1, 101) if measurements_of(r) == own), 100 * own / BLOCK**2)
            raise UnfoldError(
                f"these weights take {own} measurements of a block, and ratio={self.ratio:g} means {asked}: "
                f"give {self.name}:ratio={ratio}"
            )

    def sample(self, case: Case) -> Sample:
        target = read_grey(case.files[0])[..., None]
        image = to_float(target)
        return Sample({"image": image}, target if target.dtype == np.uint8 else image)

    def restore(self, method: Method, sample: Sample) -> Image:
        side = self.tile
        if not side:
            return super().restore(method, sample)
        image = sample.inputs["image"]
        height, width, _ = image.shape
        padded = np.pad(image, ((0, -height % side), (0, -width % side), (0, 0)))
        result = np.empty_like(padded)
        for top in range(0, len(padded), side):
            for left in range(0, padded.shape[1], side):
                window = slice(top, top + side), slice(left, left + side)
                result[window] = method({"image": padded[window]})
        return self.finish(result[:height, :width])

    def finish(self, result: Image) -> Image:
        return result.clip(0, 1)

    def score(self, result: Image, target: Image) -> dict[str, float]:
        return {"psnr": psnr(result, target), "ssim": ssim(result, target, kind="skimage")}
