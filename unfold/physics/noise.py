"""Noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def add_gaussian(x: NDArray[np.float32], sigma: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Add white Gaussian noise: x any shape in [0,1], sigma its standard deviation in [0,1] units. Not clamped."""
    return x + np.float32(sigma) * rng.standard_normal(x.shape, dtype=np.float32)
