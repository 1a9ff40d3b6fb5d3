"""Blur and noise of varying level, as in NRL-GDN's training. Division of work: see blur_downscale.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from unfold.data.images import read_uint8
from unfold.data.patches import Images
from unfold.degradations import random_kernels
from unfold.degradations.degradation import Degradation, Rng, unit
from unfold.degradations.grey_share import with_grey
from unfold.degradations.random_kernels import random_kernel
from unfold.errors import UnfoldError, check_share
from unfold.physics.batched_degrade import degrade, quadrant_map
from unfold.physics.noise import random_quadrant_levels
from unfold.util.arrays import Named

NRL_GDN_MOTION = 0.65  # share of motion kernels


class BlurNoise(Degradation):
    """NRL-GDN's training: crops of 256x256 with one of 8 rotations and reflections; 65 % motion kernels, 35 %
    Gaussians.

    sigma: the noise's standard deviation is uniform up to it, in 255 units; with probability 2/3 one for the whole
    crop, else one per quadrant. The evaluation uses 25, the published training code 12.75. The blurred crop is
    truncated to 8 bits. y is neither clamped nor rounded. (Kong, Wang, Han, Feng, JVCI 2025.)

    grey: share of samples that are grey (:func:`unfold.degradations.grey_share.with_grey`), 0 in the paper.
    """

    inputs = ("y", "kernel")
    blends = False

    def __init__(self, sigma: float = 25.0, grey: float = 0.0) -> None:
        if sigma <= 0:
            raise UnfoldError(f"sigma must be greater than 0, not {sigma:g}")
        check_share("grey", grey)
        self.sigma, self.grey = sigma, grey

    def check_patch(self, patch: int) -> None:
        random_kernels.check_patch(patch)

    def protocol(self, net: nn.Module) -> str:
        return "nrl_gdn_nonuniform:kernel=8,map=gauss_mix"

    def read(self, source: Any) -> Images:
        return {"target": read_uint8(source, self.channels)}

    def make(self, images: Images, rng: Rng, scale: int) -> Named:
        target = images["target"]
        kernel = random_kernel(rng, NRL_GDN_MOTION)
        levels = np.array(random_quadrant_levels(rng, self.sigma), np.float32)
        noise = rng.standard_normal(target.shape, dtype=np.float32)
        target, noise = with_grey(self.grey, target, noise, rng)
        return {"target": target, "kernel": kernel, "levels": levels, "noise": noise}

    def render(self, batch: Named) -> Named:
        sigma = quadrant_map(batch["levels"], batch["target"].shape[-2:])
        y = degrade(batch["target"], batch["kernel"], sigma, batch["noise"])
        return {**batch, "target": unit(batch["target"]), "y": y}
