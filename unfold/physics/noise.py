"""Noise on images (H,W,C), in NumPy."""

from __future__ import annotations

import random
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unfold.physics.rng import Rng
from unfold.util.arrays import Array


def add_gaussian(x: NDArray[np.float32], sigma: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Add white Gaussian noise: x any shape in [0,1], sigma its standard deviation in [0,1] units. Not clamped."""
    return x + np.float32(sigma) * rng.standard_normal(x.shape, dtype=np.float32)


def gaussian_noise(shape: tuple[int, ...], sigma: float | Array, rng: Rng) -> NDArray[np.float64]:
    """Gaussian noise as in published protocols: float64, in the order of the array.

    sigma: standard deviation in [0,1] units, a number or a map (H,W,1).
    """
    return sigma * rng.standard_normal(shape)


def truncated_gaussian(x: NDArray[np.uint8], sigma: float, normal: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Add noise to 8 bits, in 8 bits again: clamped to 0 and 255, and truncated, not rounded.

    sigma: standard deviation in 255 units; normal: of the size of x, white, standard deviation 1. Truncation darkens by
    half a level, as in the data of all-in-one restoration.
    """
    return np.clip(x + sigma * normal, 0, 255).astype(np.uint8)


def quadrant_noise(
    shape: tuple[int, int, int], sigmas: tuple[float, float, float, float], rng: Rng
) -> NDArray[np.float64]:
    """Gaussian noise (H,W,C) with one sigma for each quadrant: upper left, upper right, lower left, lower right.

    Split at H//2 and W//2. Drawn quadrant by quadrant and channel by channel, also where all sigmas are equal, as in
    NRL-GDN's training data.
    """
    height, width, channels = shape
    noise = np.empty((channels, height, width))
    halves = [(slice(n // 2), slice(n // 2, None)) for n in (height, width)]
    for (rows, columns), sigma in zip(product(*halves), sigmas, strict=True):
        quadrant = noise[:, rows, columns]
        quadrant[:] = sigma * rng.standard_normal(quadrant.shape)
    return noise.transpose(1, 2, 0)


def random_level(rng: np.random.RandomState, pick: random.Random, highest: int = 25) -> float:
    """A sigma in [0,1] units as in USRNet's training: 0 with probability 1/9, else 0, ..., highest - 1 over 255."""
    return 0.0 if pick.randint(0, 8) == 1 else rng.randint(0, highest) / 255


def random_quadrant_levels(rng: Rng, highest: float = 12.75) -> tuple[float, float, float, float]:
    """Four sigmas in [0,1] units for quadrant_noise, uniform up to highest/255, as in NRL-GDN's training.

    With probability 2/3 all are equal. The order of the draws is not the published one.
    """
    a, b, c, d = (float(sigma) for sigma in rng.uniform(0, highest / 255, 4))
    return (a, a, a, a) if rng.uniform() < 2 / 3 else (a, b, c, d)


def poisson_gaussian(x: Array, peak: float, sigma: float, rng: Rng) -> NDArray[np.float64]:
    """Photon and sensor noise: Poisson(peak x) / peak + N(0, sigma^2), clipped to [0,1]. x in [0,1], any shape."""
    return np.clip(rng.poisson(peak * x) / peak + gaussian_noise(x.shape, sigma, rng), 0, 1)


def impulse_noise(x: Array, share: float, kind: Literal["rd", "sp"], rng: Rng) -> NDArray[np.float64]:
    """Replace a share of the pixels of x (H,W,C) in [0,1], all channels of a pixel together.

    "sp", salt and pepper: half of them 0, half 1; "rd": every channel uniform in [0,1]. As in NRL-GDN's protocol, which
    uses 255 units.
    """
    chance = rng.uniform(size=x.shape[:2])
    noisy = x.astype(np.float64)
    for value, chosen in enumerate((chance <= share / 2, chance >= 1 - share / 2)):
        noisy[chosen] = value if kind == "sp" else rng.uniform(size=(chosen.sum(), x.shape[2]))
    return noisy
