"""White Gaussian noise on clean colour images of 8 or 16 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from unfold.data.patches import Images
from unfold.degradations.degradation import Degradation, Rng
from unfold.degradations.grey_share import with_grey
from unfold.errors import UnfoldError, check_share
from unfold.physics.noise import add_gaussian
from unfold.util.arrays import Named


class GaussianNoise(Degradation):
    """White Gaussian noise: y = x + n, neither clamped nor rounded.

    sigma: standard deviation of n in 255 units; blind: draw the standard deviation anew for each sample, uniform from 0
    to sigma. Tests and validation use sigma. grey: share of samples that are grey, for networks in colour
    (:func:`unfold.degradations.grey_share.with_grey`), 0 in the papers. It takes y - x for the noise, so a subclass
    whose y has another size or range must leave it at 0.
    """

    inputs = ("y", "sigma")
    own_test = True
    grey: float = 0.0  # for subclasses whose constructor sets only what it needs

    def __init__(self, sigma: float = 25.0, blind: bool = False, grey: float = 0.0) -> None:
        if sigma <= 0:
            raise UnfoldError(f"sigma must be greater than 0, not {sigma:g}")
        check_share("grey", grey)
        self.sigma, self.blind, self.grey = sigma, blind, grey

    def protocol(self, net: nn.Module) -> str:
        return f"gaussian_denoise:sigma={self.sigma!r}" + (",grey=true" if self.channels == 1 else "")

    def degrade(self, target: NDArray[np.float32], rng: Rng) -> Named:
        sigma = (rng.uniform(0, self.sigma) if self.blind else self.sigma) / 255
        level = {"sigma": np.array(sigma, np.float32)} if "sigma" in self.asked else {}
        return {"y": add_gaussian(target, sigma, rng), **level}

    def make(self, images: Images, rng: Rng, scale: int) -> Named:
        sample = super().make(images, rng, scale)
        if self.grey > 0:
            target, noise = with_grey(self.grey, sample["target"], sample["y"] - sample["target"], rng)
            sample |= {"target": target, "y": target + noise}
        return sample
