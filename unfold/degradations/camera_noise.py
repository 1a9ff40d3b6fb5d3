"""Noise of cameras and JPEG on clean photographs: pictures as from a camera or a phone.

The ranges of gain, read noise and white balance are those of Brooks et al., Unprocessing Images for Learned Raw
Denoising (CVPR 2019); the order of operations is that of Guo et al., CBDNet (CVPR 2019). The processing of the
noise, and the shares of samples without noise, are ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from unfold.data.images import read_uint8, to_float
from unfold.data.patches import Images
from unfold.degradations.degradation import Degradation, Rng
from unfold.errors import UnfoldError
from unfold.physics.camera import Camera, add_camera_noise, colour_matrix, jpeg

SMOOTHED = 0.6  # share of the cameras that smooth


class CameraNoise(Degradation):
    """Noise of cameras: signal-dependent on the mosaic, then demosaicing, white balance, colours, tone curve and JPEG.

    gain: range of the noise's variance per light in [0,1], log-uniform; quality: range of JPEG quality, for three of
    four samples; spared: share of samples without noise, half of which stay unchanged, because a network must learn not
    to change a good picture; white_noise: share of samples with white Gaussian noise instead, sigma up to 50 of 255.
    """

    inputs = ("y",)

    def __init__(
        self,
        gain: tuple[float, float] = (1e-4, 1.2e-2),
        quality: tuple[int, int] = (80, 98),
        spared: float = 0.1,
        white_noise: float = 0.1,
    ) -> None:
        if not 0 < gain[0] <= gain[1] <= 1:
            raise UnfoldError(f"gain is a range within 0 to 1, smaller number first, not {list(gain)}")
        if not 1 <= quality[0] <= quality[1] <= 100:
            raise UnfoldError(f"quality is a range within 1 to 100, smaller number first, not {list(quality)}")
        if min(spared, white_noise) < 0 or spared + white_noise > 1:
            raise UnfoldError(f"spared and white_noise are shares of samples, not {spared:g} and {white_noise:g}")
        self.gain, self.quality, self.spared, self.white_noise = gain, quality, spared, white_noise

    def protocol(self, net: nn.Module) -> str:
        return ""

    def read(self, source: Any) -> Images:
        if self.channels != 3:
            raise UnfoldError(f"DATA.KIND camera_noise makes colour pictures, and the network takes {self.channels}")
        return {"target": read_uint8(source, 3)}

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        target = images["target"]
        kind = rng.uniform()
        if kind < self.spared / 2:
            return {"target": target, "y": target.copy()}
        x = to_float(target)
        if kind < self.spared:
            pass  # only JPEG
        elif kind < self.spared + self.white_noise:
            x = x + rng.uniform(0, 50 / 255) * rng.standard_normal(x.shape, dtype=np.float32)
        else:
            x = add_camera_noise(x, self.camera(rng), rng)
        y = np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8)
        if rng.uniform() < 0.75 or kind < self.spared:
            low, high = self.quality
            y = jpeg(y, int(rng.integers(low, high + 1)), (int(rng.integers(16)), int(rng.integers(16))))
        return {"target": target, "y": y}

    def camera(self, rng: Rng) -> Camera:
        """A random camera."""
        gain = float(np.exp(rng.uniform(*np.log(self.gain))))
        read = float(np.exp(2.18 * np.log(gain) + 1.2 + 0.26 * rng.standard_normal()))
        white = (rng.uniform(1.9, 2.4), 1.0, rng.uniform(1.5, 1.9))
        colours = colour_matrix(rng.uniform(0.1, 0.6))
        malvar = rng.uniform() < 0.5
        if rng.uniform() >= SMOOTHED:
            return Camera(gain, read, white, colours, malvar, (0.0, 0.0))
        # Cameras smooth until the noise no longer disturbs: more where there is more of it. So smoothed noise is not
        # as weak as the blur alone would make it.
        smooth = (rng.uniform(0.4, 2.5), rng.uniform(0.8, 4.0))
        return Camera(gain, read, white, colours, malvar, smooth, rng.uniform(0.3, 1.0))
