"""Blur by a shaking camera, on clean images; the network gets y without the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from unfold.data.images import read_uint8
from unfold.data.patches import Images
from unfold.degradations import random_kernels
from unfold.degradations.degradation import Degradation, Rng
from unfold.degradations.random_kernels import random_kernel


class MotionBlur(Degradation):
    """Camera shake: a random motion kernel of 25x25 (unfold/physics/motion.py), the result rounded to 8 bits.

    One kernel for the whole image, with reflection at its border; real shake varies over the image.
    """

    def check_patch(self, patch: int) -> None:
        random_kernels.check_patch(patch)

    def read(self, source: Any) -> Images:
        return {"target": read_uint8(source, self.channels)}

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        import cv2

        target = images["target"]
        kernel = random_kernel(rng, motion_share=1.0)[::-1, ::-1, 0]  # flipped, as OpenCV correlates
        y = cv2.filter2D(target.astype(np.float32), -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        return {"target": target, "y": np.rint(y.reshape(target.shape)).clip(0, 255).astype(np.uint8)}
