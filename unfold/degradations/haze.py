"""Haze on clean images by the usual scattering model, with our own parameters."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from unfold.data.images import read_uint8, to_float
from unfold.data.patches import Images
from unfold.degradations.degradation import Degradation, Rng

SCENE = 320  # pixels: a smaller patch is part of a scene of this size, with a part of its depths
GRID = 5  # number of points across the scene, between which the relief is smooth
RELIEF = 0.2  # its standard deviation


class Haze(Degradation):
    """Haze: I = J t + A (1 - t), t = exp(-beta d), rounded to 8 bits as hazy pictures are.

    J: the clean image; d in [0,1]: the depth, which grows towards the top, with a smooth random relief. beta: uniform
    in ``betas``; A: the air's light, uniform in ``lights``, its channels equal up to ``tint``.
    """

    betas: ClassVar = (0.6, 1.8)
    lights: ClassVar = (0.8, 1.0)
    tint: ClassVar = 0.03

    def read(self, source: Any) -> Images:
        return {"target": read_uint8(source, self.channels)}

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        target = images["target"]
        through = np.exp(-rng.uniform(*self.betas) * random_depth(target.shape[:2], rng))[..., None]
        air = rng.uniform(*self.lights) * (1 + rng.uniform(-self.tint, self.tint, target.shape[2]) / 2)
        y = to_float(target) * through + np.minimum(air, 1).astype(np.float32) * (1 - through)
        return {"target": target, "y": np.rint(255 * y).astype(np.uint8)}


def random_depth(size: tuple[int, int], rng: Rng) -> NDArray[np.float32]:
    """(H,W) in [0,1]: from 0 at the bottom of a scene to 1 at its top, with a smooth relief."""
    import cv2

    scene = [max(n, SCENE) for n in size]
    points = rng.standard_normal((GRID, GRID)).astype(np.float32)
    relief = cv2.resize(points, (scene[1], scene[0]), interpolation=cv2.INTER_CUBIC)
    depth = np.linspace(1, 0, scene[0], dtype=np.float32)[:, None] + np.float32(RELIEF) * relief
    row, column = (int(rng.integers(whole - n, endpoint=True)) for whole, n in zip(scene, size, strict=True))
    return depth[row : row + size[0], column : column + size[1]].clip(0, 1)
