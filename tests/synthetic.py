"""Images that are equal on every machine."""

from __future__ import annotations

import numpy as np


def scene(height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth coloured picture with edges, (H,W,3) uint8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / 16.0
    waves = [np.sin(rows * rng.uniform(0.5, 2) + columns * rng.uniform(0.5, 2) + rng.uniform(0, 6)) for _ in range(3)]
    picture = 0.5 + 0.3 * np.stack(waves, axis=-1)
    picture[height // 4 : height // 2, width // 4 : width // 2] = rng.uniform(0, 1, 3)
    return np.rint(255 * picture).astype(np.uint8)
