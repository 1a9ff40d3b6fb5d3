"""Blur, decimation and noise, as in USRNet's training: a clean patch, blurred by a random kernel, downscaled, with
noise.

Division of work. Workers draw everything: crop, kernel, noise level and the noise itself form the sample, an exact pure
function of (seed, epoch, number). The expensive part (blur in NumPy: at least 90 % of the time) is left to the training
device, which renders a whole batch by Fourier transforms. That step draws nothing, and its results do not depend on
batching or device (see :func:`unfold.physics.batched_degrade.blur_levels`). So runs with any number of workers and
processes see the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from unfold.data.images import read_uint8
from unfold.data.patches import Images
from unfold.degradations import random_kernels
from unfold.degradations.degradation import Degradation, Rng, unit
from unfold.degradations.grey_share import with_grey
from unfold.degradations.random_kernels import pick, random_kernel
from unfold.errors import UnfoldError, check_share
from unfold.physics.batched_degrade import degrade
from unfold.physics.kernels import random_sharp
from unfold.physics.noise import random_level
from unfold.util.arrays import Named

USRNET_MOTION = 0.5  # share of motion kernels


class BlurDownscale(Degradation):
    """USRNet's training: 96x96 crops with one of 8 rotations and reflections, at every scale (Zhang et al., CVPR 2020).

    Half of the kernels are motion kernels, half Gaussians. sigma: the noise is 0 with probability 1/9, else a whole
    number from 0 to sigma - 1, in 255 units. The blurred crop is truncated to 8 bits. y is neither clamped nor rounded.
    scales: whole numbers from 1 to 4, one of them per step. sharp: share of samples with weakly blurring kernels
    (:func:`unfold.physics.kernels.random_sharp`), 0 in the paper. These are rounded to 8 bits, as by software that
    reduces images, and half of them get no noise. grey: share of samples that are grey
    (:func:`unfold.degradations.grey_share.with_grey`), 0 in the paper.
    """

    inputs = ("y", "kernel", "scale", "sigma")
    blends = False  # a blend of two blurred images has no single kernel

    def __init__(
        self, scales: Sequence[int] = (1, 2, 3, 4), sigma: float = 25.0, sharp: float = 0.0, grey: float = 0.0
    ) -> None:
        if not scales or not all(1 <= scale <= 4 for scale in scales):
            raise UnfoldError(f"scales is a list of whole numbers from 1 to 4, not {list(scales)}")
        if sigma <= 0 or sigma % 1:
            raise UnfoldError(f"sigma must be a whole number above 0 for DATA.KIND usrnet, and is {sigma:g}")
        check_share("sharp", sharp)
        check_share("grey", grey)
        self.scales, self.sigma, self.sharp, self.grey = tuple(scales), sigma, sharp, grey

    def check_patch(self, patch: int) -> None:
        random_kernels.check_patch(patch)
        if any(patch % scale for scale in self.scales):
            raise UnfoldError(f"must be a multiple of all DATA.ARGS.scales, {list(self.scales)}, and is {patch}")

    def protocol(self, net: nn.Module) -> str:
        return "usrnet_table1:scale=3,kernel=1"

    def read(self, source: Any) -> Images:
        return {"target": read_uint8(source, self.channels)}

    def make(self, images: Images, rng: Rng, scale: int) -> Named:
        target = images["target"]
        sharp = self.sharp > 0 and rng.uniform() < self.sharp  # no share, no draw: the paper's samples stay
        kernel = random_sharp(rng, scale)[..., None].astype(np.float32) if sharp else random_kernel(rng, USRNET_MOTION)
        rounding = np.array(0.5 if sharp else 0.0, np.float32)
        sample = {"kernel": kernel, "scale": scale, "rounding": rounding}
        sigma = random_level(np.random.RandomState(rng.bit_generator), pick(rng), int(self.sigma))
        if sharp and rng.uniform() < 0.5:
            sigma = 0
        shape = (target.shape[0] // scale, target.shape[1] // scale, target.shape[2])
        noise = rng.standard_normal(shape, dtype=np.float32)
        target, noise = with_grey(self.grey, target, noise, rng)
        return {**sample, "target": target, "sigma": np.array(sigma, np.float32), "noise": noise}

    def render(self, batch: Named) -> Named:
        sigma, rounding = (batch[name][:, None, None, None] for name in ("sigma", "rounding"))
        y = degrade(batch["target"], batch["kernel"], sigma, batch["noise"], batch["scale"], rounding)
        return {**batch, "target": unit(batch["target"]), "y": y}
