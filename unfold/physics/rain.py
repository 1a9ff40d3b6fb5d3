"""Rain streaks from the physics of falling drops, for training without pairs of images. Our own model.

A cubic metre of rain of R mm/h holds N_0 exp(-L D) dD drops of diameter D mm, with N_0 = 8000 per m^3 and mm and
L = 4.1 R^-0.21 per mm (Marshall, Palmer 1948). They fall at 9.65 - 10.3 exp(-0.6 D) m/s (Atlas, Srivastava, Sekhon
1973, after Gunn, Kinzer 1949). In a pinhole camera, a drop at distance z is a streak f D / z pixels wide, with the
length of its fall during the exposure. Each pixel of a streak is covered for only a part of that time, in which it
shows the drop instead of the scene (Garg, Nayar 2007). So fast drops are long and faint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unfold.physics.rng import Rng

DENSITY = 8000.0  # N_0
DIAMETERS = 0.5, 6.0  # mm: validity of the speed formula; larger drops break up
NEAREST = 0.5  # m
FINEST = 0.4  # pixels: narrower streaks are left out; they form a uniform veil
SHARPNESS = 0.5  # pixels: standard deviation of the blur by lens and pixel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rain:
    """Weather and camera.

    rate in mm/h (2 is light, 10 moderate, 50 violent); exposure in s; wind across the picture in m/s, to the right
    where positive, and the standard deviation of its gusts; focal length in pixels (about a whole picture's width).
    ValueError for invalid values.
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
        """Extinction per metre: twice the cross-section of all drops, as they are much larger than a wavelength."""
        return np.pi * DENSITY / self.slope**3 * 1e-6


@dataclass(frozen=True)
class Streaks:
    """N streaks.

    centre (N,2) and extent (N,2) as (row, column), and width (N,), in pixels; light (N,): the share of a drop's light
    that reaches the camera, in (0,1].
    """

    centre: Array
    extent: Array
    width: Array
    light: Array


def random_streaks(size: tuple[int, int], rain: Rain, rng: Rng) -> Streaks:
    """The drops in front of a camera with (H,W) pixels, including those whose streaks reach in from outside."""
    low, high = DIAMETERS
    fastest = fall_speed(high) + abs(rain.wind) + 3 * rain.gusts
    margin = 0.5 * fastest * rain.exposure * rain.focal / NEAREST
    height, width = (n + 2 * margin for n in size)
    # A drop is visible up to z = f D / FINEST, in a volume (area / f^2) z^3 / 3. Integrated over all diameters:
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
    """Fall speed in m/s of a drop with that diameter in mm, from 0.5 to 6."""
    return 9.65 - 10.3 * np.exp(-0.6 * np.asarray(diameter))


def coverage(streaks: Streaks, size: tuple[int, int]) -> Array:
    """(H,W): the share of the exposure in which drops cover each pixel, with a Gaussian profile across a streak.

    The sum over a streak is the cross-section of its drop in pixels, for any length, weighted by ``light``.
    """
    from scipy import ndimage

    # A disc of that width has the variance width^2 / 16 along each axis. Width classes are half an octave apart.
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
    """Draw streaks without width: two points per pixel of length, each distributed to the four pixels around it."""
    centre, extent = streaks.centre[chosen] + pad, streaks.extent[chosen]
    count = np.ceil(2 * np.hypot(*extent.T)).astype(int) + 1
    weight = np.repeat(np.pi / 4 * streaks.width[chosen] ** 2 * streaks.light[chosen] / count, count)
    index = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    along = (index + 0.5) / np.repeat(count, count) - 0.5
    place = np.repeat(centre, count, axis=0) + along[:, None] * np.repeat(extent, count, axis=0)
    return spread(place, weight, size)


def spread(place: Array, weight: Array, size: tuple[int, int]) -> Array:
    """(H,W): points at place (N,2), row and column, with weight (N,), each distributed to the four pixels around it.

    Points beyond the centres of the outermost pixels are left out.
    """
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

    cover (H,W); brightness: of a drop, at least 1, where 1 is white. A drop collects light from all directions, also
    from the sky and lamps, so it may be many times as bright as white.
    ValueError if brightness is below 1.
    """
    if brightness < 1:
        raise ValueError(f"brightness is {brightness}, and drops that never darken need at least 1")
    covered = np.minimum(cover, 1)[..., None]
    return np.minimum(x + covered * (brightness - x), 1).astype(np.float32)
