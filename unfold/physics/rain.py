"""Rain streaks from the physics of falling drops, for training where there are no pairs of images. A model of our own.

A cubic metre of rain of R mm/h holds N_0 exp(-L D) dD drops of diameter D mm, with N_0 = 8000 per m^3 and mm and
L = 4.1 R^-0.21 per mm (Marshall, Palmer 1948). They fall at 9.65 - 10.3 exp(-0.6 D) m/s (Atlas, Srivastava, Sekhon
1973, after Gunn, Kinzer 1949). A pinhole camera sees a drop at distance z as a streak: f D / z pixels wide and as long
as it falls during the exposure. Every pixel of a streak is covered for a part of that time only, and then shows the
drop instead of the scene (Garg, Nayar 2007): fast drops are long and faint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unfold.physics.rng import Rng

DENSITY = 8000.0  # N_0
DIAMETERS = 0.5, 6.0  # mm: the speed's formula holds between them, and larger drops break
NEAREST = 0.5  # m
FINEST = 0.4  # pixels: narrower streaks are left out; together they are an even veil
SHARPNESS = 0.5  # pixels: standard deviation of what lens and pixel make of a point

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rain:
    """Weather and camera.

    rate in mm/h (2 is light, 10 moderate, 50 violent); exposure in s; wind across the picture in m/s, to the right
    where positive, and the standard deviation of its gusts; focal length in pixels (about a whole picture's width).
    ValueError where one of them cannot be.
    """

    rate: float = 30.0
    exposure: float = 1 / 100
    wind: float = 1.0
    gusts: float = 0.3
    focal: float = 1000.0

    def __post_init__(self) -> None:
        if not self.rate > 0 or not self.exposure > 0 or not self.gusts >= 0 or not self.focal > 0:
            raise ValueError(f"rate, exposure and focal must be positive, and gusts not negative: {self}")

    @property
    def slope(self) -> float:
        """L, per mm."""
        return 4.1 * self.rate**-0.21

    @property
    def extinction(self) -> float:
        """The part of light lost per metre: twice the cross-section of all drops, as they far exceed a wavelength."""
        return np.pi * DENSITY / self.slope**3 * 1e-6


@dataclass(frozen=True)
class Streaks:
    """N streaks.

    centre (N,2) and extent (N,2) as (row, column), and width (N,), in pixels; light (N,): what is left of a drop's
    light after its way to the camera, in (0,1].
    """

    centre: Array
    extent: Array
    width: Array
    light: Array


def random_streaks(size: tuple[int, int], rain: Rain, rng: Rng) -> Streaks:
    """The drops in front of a camera with (H,W) pixels, and as far beyond its border as a streak may reach."""
    low, high = DIAMETERS
    fastest = fall_speed(high) + abs(rain.wind) + 3 * rain.gusts
    margin = 0.5 * fastest * rain.exposure * rain.focal / NEAREST
    height, width = (n + 2 * margin for n in size)
    # A drop is seen as far as z = f D / FINEST, in a volume (area / f^2) z^3 / 3. Integrated over all diameters:
    expected = height * width * rain.focal / (3 * FINEST**3) * DENSITY * 6 / rain.slope**4 * 1e-9
    n = int(rng.poisson(expected))
    diameter = np.clip(rng.gamma(4, 1 / rain.slope, n), low, high)
    distance = rain.focal * diameter / 1000 / FINEST * rng.uniform(size=n) ** (1 / 3)
    velocity = np.stack([fall_speed(diameter), rng.normal(rain.wind, rain.gusts, n)], axis=1)
    centre = rng.uniform(size=(n, 2)) * (height, width) - margin
    seen = distance > NEAREST
    pixels = rain.focal / distance[seen]
    return Streaks(
        centre=centre[seen],
        extent=velocity[seen] * rain.exposure * pixels[:, None],
        width=diameter[seen] / 1000 * pixels,
        light=np.exp(-rain.extinction * distance[seen]),
    )


def fall_speed(diameter: float | Array) -> Array:
    """m/s of a drop of that diameter in mm, from 0.5 to 6."""
    return 9.65 - 10.3 * np.exp(-0.6 * np.asarray(diameter))


def coverage(streaks: Streaks, size: tuple[int, int]) -> Array:
    """(H,W): the part of the exposure during which drops cover each pixel, with a Gaussian profile across a streak.

    A streak holds the cross-section of its drop, in pixels, however long it is; ``light`` weighs it.
    """
    from scipy import ndimage

    # A disc of that width has the variance width^2 / 16 along each axis. Classes a half octave apart.
    spread = np.hypot(SHARPNESS, streaks.width / 4)
    classes = np.round(2 * np.log2(spread / SHARPNESS)).astype(int)
    total = np.zeros(size)
    for k in np.unique(classes):
        sigma = SHARPNESS * 2 ** (k / 2)
        pad = int(4 * sigma) + 2
        points = _points(streaks, classes == k, (size[0] + 2 * pad, size[1] + 2 * pad), pad)
        total += ndimage.gaussian_filter(points, sigma, mode="constant")[pad:-pad, pad:-pad]
    return total


def _points(streaks: Streaks, chosen: NDArray[np.bool_], size: tuple[int, int], pad: int) -> Array:
    """Streaks without width: two points per pixel of length, each shared by the four pixels around it."""
    centre, extent = streaks.centre[chosen] + pad, streaks.extent[chosen]
    count = np.ceil(2 * np.hypot(*extent.T)).astype(int) + 1
    weight = np.repeat(np.pi / 4 * streaks.width[chosen] ** 2 * streaks.light[chosen] / count, count)
    index = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    along = (index + 0.5) / np.repeat(count, count) - 0.5
    place = np.repeat(centre, count, axis=0) + along[:, None] * np.repeat(extent, count, axis=0)
    inside = ((place >= 0) & (place < np.array(size) - 1)).all(axis=1)
    place, weight = place[inside], weight[inside]
    row, column = corner = np.floor(place).T.astype(int)
    below, right = place.T - corner
    canvas = np.zeros(size[0] * size[1])
    for down, beside in np.ndindex(2, 2):
        share = (below if down else 1 - below) * (right if beside else 1 - right)
        flat = (row + down) * size[1] + column + beside
        canvas += np.bincount(flat, weight * share, canvas.size)
    return canvas.reshape(size)


def add_rain(x: NDArray[np.float32], cover: Array, brightness: float = 10.0) -> NDArray[np.float32]:
    """x (H,W,C) in [0,1] seen through drops: x + cover (brightness - x), not above 1. Never darker than x.

    cover (H,W); brightness: of a drop, at least 1, where 1 is white. A drop gathers light from all around, also from
    the sky and lamps, so that it may be many times as bright as what a picture shows as white.
    ValueError where brightness is below 1.
    """
    if brightness < 1:
        raise ValueError(f"brightness is {brightness}, and drops that never darken need at least 1")
    covered = np.minimum(cover, 1)[..., None]
    return np.minimum(x + covered * (brightness - x), 1).astype(np.float32)
