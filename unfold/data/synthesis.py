"""Training samples of USRNet and NRL-GDN: a clean patch, blurred by a random kernel, decimated, with noise.

Where the work is done. Training draws everything in the workers: crop, kernel, noise level and the noise itself are the
sample, a pure function of (seed, epoch, number) to the bit. What it costs (blur in NumPy: 90 % and more of the time) is
left to the training device, which renders a whole batch by Fourier transforms. That step draws nothing, and its results
do not depend on how samples are batched or on the device (see :func:`unfold.physics.batched_degrade.blur_levels`): so
runs of any number of workers and processes see the same samples. :func:`synthesise_usrnet` and
:func:`synthesise_nrl_gdn` also draw on the device, for a benchmark or a loop of one's own: there, a sample depends on
the batches before it and on the kind of device, and training does not use them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfold.data.patches import Images, dihedral
from unfold.data.samples import Rng, SampleKind, unit
from unfold.physics.batched_degrade import degrade
from unfold.physics.batched_kernels import random_kernels
from unfold.physics.batched_noise import quadrant_map, random_levels, random_quadrant_levels
from unfold.physics.kernels import random_gaussian, random_sharp
from unfold.physics.motion import random_motion_kernel
from unfold.physics.noise import random_level
from unfold.physics.noise import random_quadrant_levels as random_quadrants

USRNET_MOTION, NRL_GDN_MOTION = 0.5, 0.65  # shares of motion kernels


@dataclass(frozen=True)
class USRNetSynthesis(SampleKind):
    """USRNet's training: crops of 96x96, turned or mirrored in one of 8 ways, for every scale.

    Half of the kernels are motion kernels, half Gaussians. highest: the noise is 0 with chance 1/9, else a whole number
    from 0 to highest - 1, in 255 units. The blurred crop is cut off to 8 bits. y is neither clamped nor rounded.
    sharp: share of samples whose kernels blur little (:func:`unfold.physics.kernels.random_sharp`), 0 in the paper.
    They are rounded to 8 bits, as what software makes small, and noise is left out of half of them.
    """

    highest: int = 25
    sharp: float = 0.0
    inputs: ClassVar = ("y", "kernel", "scale", "sigma")

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        target = images["target"]
        sharp = self.sharp > 0 and rng.uniform() < self.sharp  # without a share no draw: the paper's samples stay
        kernel = random_sharp(rng, scale)[..., None].astype(np.float32) if sharp else random_kernel(rng, USRNET_MOTION)
        rounding = np.array(0.5 if sharp else 0.0, np.float32)
        sample = {"target": target, "kernel": kernel, "scale": scale, "rounding": rounding}
        sigma = random_level(np.random.RandomState(rng.bit_generator), _pick(rng), self.highest)
        if sharp and rng.uniform() < 0.5:
            sigma = 0
        shape = (target.shape[0] // scale, target.shape[1] // scale, target.shape[2])
        noise = rng.standard_normal(shape, dtype=np.float32)
        return {**sample, "sigma": np.array(sigma, np.float32), "noise": noise}

    def render(self, batch: dict[str, Any]) -> dict[str, Any]:
        sigma, rounding = (batch[name][:, None, None, None] for name in ("sigma", "rounding"))
        y = degrade(batch["target"], batch["kernel"], sigma, batch["noise"], batch["scale"], rounding)
        return {**batch, "target": unit(batch["target"]), "y": y}


@dataclass(frozen=True)
class NRLGDNSynthesis(SampleKind):
    """NRL-GDN's training: crops of 256x256, turned or mirrored in one of 8 ways; 65 % motion kernels, 35 % Gaussians.

    highest: standard deviations of the noise are uniform up to it, in 255 units; with chance 2/3 one for the whole
    crop, else one for each quadrant. 25 is what the network is evaluated on, 12.75 what the published code trains with.
    The blurred crop is cut off to 8 bits. y is neither clamped nor rounded.
    """

    highest: float = 25.0
    inputs: ClassVar = ("y", "kernel")

    def make(self, images: Images, rng: Rng, scale: int) -> dict[str, Any]:
        target = images["target"]
        sample = {"target": target, "kernel": random_kernel(rng, NRL_GDN_MOTION)}
        levels = np.array(random_quadrants(rng, self.highest), np.float32)
        return {**sample, "levels": levels, "noise": rng.standard_normal(target.shape, dtype=np.float32)}

    def render(self, batch: dict[str, Any]) -> dict[str, Any]:
        sigma = quadrant_map(batch["levels"], batch["target"].shape[-2:])
        y = degrade(batch["target"], batch["kernel"], sigma, batch["noise"])
        return {**batch, "target": unit(batch["target"]), "y": y}


def random_kernel(rng: Rng, motion_share: float) -> NDArray[np.float32]:
    """(25,25,1), sum 1: with the chance motion_share a motion kernel, else a Gaussian in one of its 8 views."""
    motion = rng.uniform() < motion_share
    if motion:
        kernel = random_motion_kernel(np.random.RandomState(rng.bit_generator), _pick(rng))[..., None]
    else:
        gaussian = random_gaussian(rng, int(rng.integers(1, 4, endpoint=True)))
        kernel = dihedral(gaussian[..., None], int(rng.integers(8)))
    return kernel.astype(np.float32)


def _pick(rng: Rng) -> random.Random:
    """Python's generator, which the published draws need besides NumPy's."""
    return random.Random(int(rng.integers(2**63)))  # noqa: S311  (no secrets)


def synthesise_usrnet(
    target: Tensor, scale: int, generator: torch.Generator, highest: int = 25
) -> dict[str, Tensor | int]:
    """Inputs of USRNet for crops (B,3,H,W) uint8, all drawn and computed on the generator's device.

    The distribution of :class:`USRNetSynthesis`, none of them sharp; H and W multiples of scale.
    """
    kernel = random_kernels(len(target), USRNET_MOTION, generator)
    sigma = random_levels(len(target), generator, highest)
    noise = _noise(target[..., ::scale, ::scale], generator)
    y = degrade(target, kernel, sigma[:, None, None, None], noise, scale)
    return {"y": y, "kernel": kernel, "scale": scale, "sigma": sigma}


def synthesise_nrl_gdn(target: Tensor, generator: torch.Generator, highest: float = 25.0) -> dict[str, Tensor]:
    """Inputs of NRL-GDN for crops (B,3,H,W) uint8, all drawn and computed on the generator's device.

    The distribution of :class:`NRLGDNSynthesis`.
    """
    kernel = random_kernels(len(target), NRL_GDN_MOTION, generator)
    levels = random_quadrant_levels(len(target), generator, highest)
    sigma = quadrant_map(levels, (target.shape[-2], target.shape[-1]))
    return {"y": degrade(target, kernel, sigma, _noise(target, generator)), "kernel": kernel}


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=generator.device)
