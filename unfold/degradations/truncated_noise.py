"""White Gaussian noise on images of 8 bits, in 8 bits again, as in the training of all-in-one networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from unfold.data.images import read_uint8
from unfold.data.patches import Images
from unfold.degradations.degradation import Degradation, Rng
from unfold.errors import UnfoldError
from unfold.physics.noise import truncated_gaussian


class TruncatedNoise(Degradation):
    """White noise in 8 bits: y = uint8(clip(x + sigma n, 0, 255)) / 255, truncated, not rounded; after augmentation.

    sigma: standard deviation of n in 255 units. (PromptIR, AdaIR, MoCE-IR, VLU-Net.)
    """

    inputs = ("y", "sigma")
    own_test = True

    def __init__(self, sigma: float = 25.0) -> None:
        if not 0 < sigma <= 255:
            raise UnfoldError(f"sigma must be greater than 0 and at most 255, not {sigma:g}")
        self.sigma = sigma

    def protocol(self, net: nn.Module) -> str:
        return f"aio:sigma={self.sigma!r}"

    def read(self, source: Any) -> Images:
        return {"target": read_uint8(source, self.channels)}

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        target = images["target"]
        y = truncated_gaussian(target, self.sigma, rng.standard_normal(target.shape))
        level = {"sigma": np.array(self.sigma / 255, np.float32)} if "sigma" in self.asked else {}
        return {"target": target, "y": y, **level}
