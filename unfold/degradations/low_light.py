"""Low light and its noise on clean images, with our own parameters."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from unfold.data.images import read_uint8, to_float
from unfold.data.patches import Images
from unfold.degradations.degradation import Degradation, Rng


class LowLight(Degradation):
    """Low light: y = gain x^gamma + n in linear light, converted back to sRGB and rounded to 8 bits.

    gain: uniform in ``gains``; gamma: uniform in ``gammas``; n: normal with variance a gain x^gamma + b^2 (photon and
    read noise), a and b log-uniform in ``photons`` and ``readings``, for a white of 1.
    """

    gains: ClassVar = (0.05, 0.4)
    gammas: ClassVar = (1.0, 1.6)
    photons: ClassVar = (1e-4, 1e-3)
    readings: ClassVar = (3e-4, 2e-3)

    def read(self, source: Any) -> Images:
        return {"target": read_uint8(source, self.channels)}

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        target = images["target"]
        gain, gamma = rng.uniform(*self.gains), rng.uniform(*self.gammas)
        a, b = (np.exp(rng.uniform(*np.log(ends))) for ends in (self.photons, self.readings))
        dark = gain * to_linear(to_float(target)) ** gamma
        seen = dark + np.sqrt(a * dark + b**2) * rng.standard_normal(target.shape, dtype=np.float32)
        return {"target": target, "y": np.rint(255 * to_srgb(seen.clip(0, 1))).astype(np.uint8)}


def to_linear(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB in [0,1] -> light in [0,1] (IEC 61966-2-1)."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of :func:`to_linear`."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)
