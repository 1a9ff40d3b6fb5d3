"""Maps of the noise's standard deviation over an image: NRL-GDN's non-uniform noise. In NumPy."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unfold.physics.rng import Rng

SIDE = 256  # side of a map before resizing
CELLS = 8  # of the mixture along each side

MapKind = Literal["peaks", "gauss", "gauss_mix"]


def sigma_map(
    kind: MapKind, size: tuple[int, int], rng: Rng, lowest: float = 5, highest: float = 25
) -> NDArray[np.floating]:
    """A map (H,W) of standard deviations in [0,1] units, from lowest/255 to highest/255.

    kind: "peaks", "gauss" (not a Gaussian: see waves) or "gauss_mix", as the published tables call them; only the last
    draws from rng. Made at 256x256, scaled, then resized bilinearly.
    """
    import cv2

    raw = gaussian_mixture(rng) if kind == "gauss_mix" else {"peaks": peaks, "gauss": waves}[kind]()
    scaled = lowest / 255 + _stretched(raw) * (highest - lowest) / 255
    return np.asarray(cv2.resize(scaled, size[::-1], interpolation=cv2.INTER_LINEAR))


def peaks() -> NDArray[np.float64]:
    """MATLAB's function of that name on [-3,3]^2, (SIDE,SIDE); x runs along the columns, y along the rows."""
    x = np.linspace(-3, 3, SIDE)
    y = x[:, None]
    return (
        3 * (1 - x) ** 2 * np.exp(-(x**2) - (y + 1) ** 2)
        - 10 * (x / 5 - x**3 - y**5) * np.exp(-(x**2) - y**2)
        - np.exp(-((x + 1) ** 2) - y**2) / 3
    )


def waves() -> NDArray[np.float64]:
    """sin x + cos y, (SIDE,SIDE), x from 1 to 10 along the columns, y from 1 to 20 along the rows.

    The published code and tables call it "gauss".
    """
    return np.sin(np.linspace(1, 10, SIDE)) + np.cos(np.linspace(1, 20, SIDE))[:, None]


def gaussian_mixture(rng: Rng) -> NDArray[np.float32]:
    """The mean of 64 Gaussian densities, one centred at random in each of 8x8 cells, (SIDE,SIDE).

    Draws: columns of the centres within their cells, rows, standard deviations in [16,32] pixels.
    """
    width = SIDE // CELLS
    corner = width * np.arange(CELLS)
    column = corner + rng.uniform(0, width, (CELLS, CELLS))
    row = corner[:, None] + rng.uniform(0, width, (CELLS, CELLS))
    scale = rng.uniform(width / 2, width, (CELLS, CELLS))[..., None]
    pixels = np.arange(SIDE)
    across = np.exp(-0.5 * ((pixels - column[..., None]) / scale) ** 2) / scale
    down = np.exp(-0.5 * ((pixels - row[..., None]) / scale) ** 2) / scale
    mixture = np.einsum("ijy,ijx->yx", down, across) / (2 * np.pi * CELLS**2)
    return mixture.astype(np.float32)


def _stretched(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rescale linearly to [0,1]."""
    return (values - values.min()) / (values.max() - values.min())
