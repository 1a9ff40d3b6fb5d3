"""The random kernels of USRNet's and NRL-GDN's training samples."""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from unfold.data.patches import dihedral
from unfold.degradations.degradation import Rng
from unfold.errors import UnfoldError
from unfold.physics.kernels import SIDE, random_gaussian
from unfold.physics.motion import random_motion_kernel


def random_kernel(rng: Rng, motion_share: float) -> NDArray[np.float32]:
    """(25,25,1), sum 1: with probability motion_share a motion kernel, else a Gaussian in one of 8 orientations."""
    motion = rng.uniform() < motion_share
    if motion:
        kernel = random_motion_kernel(np.random.RandomState(rng.bit_generator), pick(rng))[..., None]
    else:
        gaussian = random_gaussian(rng, int(rng.integers(1, 4, endpoint=True)))
        kernel = dihedral(gaussian[..., None], int(rng.integers(8)))
    return kernel.astype(np.float32)


def pick(rng: Rng) -> random.Random:
    """Python's generator, needed for the published draws besides NumPy's."""
    return random.Random(int(rng.integers(2**63)))  # noqa: S311  (no secrets)


def check_patch(patch: int) -> None:
    """UnfoldError for a patch smaller than the kernels."""
    if patch < SIDE:
        raise UnfoldError(f"must be at least {SIDE}, the side of the kernels of training, and is {patch}")
