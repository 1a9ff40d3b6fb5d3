"""Rain as pictures are rendered with it: layers of line streaks, blended, with a veil. Our own model, for training.

Falling drops (:mod:`unfold.physics.rain`) give streaks of many widths that lean alike. Rendered rain has sharp lines of
equal length, in several layers of other sizes and directions. Layers that accumulate, and a veil by distant rain, are
the idea of Yang et al. (CVPR 2017); that the veil lies behind the streaks, the blends and all ranges are ours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from unfold.physics.rain import spread

Image = NDArray[np.float32]
BLENDS = ("add", "screen", "cover")


class Layer(NamedTuple):
    """Streaks of one kind.

    length, width: in pixels, above 0; lean: in degrees from the vertical, the lower end to the right where positive, as
    in wind to the right; covered: share of the picture in [0,1], if none overlapped; opacity: in [0,1]. The brightness
    of a streak is uniform from 0.3 to 1 of the opacity.
    """

    length: float
    width: float
    lean: float
    covered: float
    opacity: float


def random_layers(rng: Generator) -> list[Layer]:
    """One to five layers. Most lean alike, as in one wind; in three pictures of ten each leans as it likes."""
    wind = rng.uniform(-45, 45)
    alike = rng.uniform() < 0.7
    layers = []
    for _ in range(int(rng.integers(1, 5, endpoint=True))):
        lean = wind + 6 * rng.standard_normal() if alike else rng.uniform(-60, 60)
        length, covered = np.exp(rng.uniform(*np.log((8, 60)))), np.exp(rng.uniform(*np.log((0.02, 0.5))))
        layers.append(Layer(length, rng.uniform(1, 3), lean, covered, rng.uniform(0.2, 1)))
    return layers


def line(length: float, lean: float) -> Image:
    """(N,N), N odd: a line through the middle, one pixel wide and nearly 1 along its middle."""
    half = int(np.ceil(length / 2)) + 1
    along = np.linspace(-length / 2, length / 2, 4 * int(np.ceil(length)) + 1)
    place = half + along[:, None] * (np.cos(np.radians(lean)), np.sin(np.radians(lean)))
    side = 2 * half + 1
    return spread(place, np.full(len(along), length / len(along)), (side, side)).astype(np.float32)


def streaks(size: tuple[int, int], layer: Layer, rng: Generator) -> Image:
    """(H,W) in [0, opacity]: random streaks of a layer, each of its own brightness, also those that reach in.

    ValueError for a layer of invalid values.
    """
    import cv2

    if not (layer.length > 0 and layer.width > 0 and 0 <= layer.covered <= 1 and 0 <= layer.opacity <= 1):
        raise ValueError(f"length and width must be positive, covered and opacity from 0 to 1: {layer}")
    length = layer.length / layer.width  # drawn one pixel wide, then enlarged
    kernel = line(length, layer.lean)
    margin = len(kernel)
    height, width = (int(np.ceil(n / layer.width)) + 2 * margin for n in size)
    begun = rng.uniform(size=(height, width)) < layer.covered / length
    points = np.where(begun, rng.uniform(0.3, 1, (height, width)), 0).astype(np.float32)
    drawn = cv2.filter2D(points, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    whole = (round(width * layer.width), round(height * layer.width))
    large = cv2.resize(drawn, whole, interpolation=cv2.INTER_LINEAR)
    first = round(margin * layer.width)
    seen = large[first : first + size[0], first : first + size[1]].astype(np.float32)
    return seen.clip(0, 1) * np.float32(layer.opacity)


def blend(x: Image, s: Image, how: str, light: float = 1.0) -> Image:
    """x (H,W,C) in [0,1] with streaks s (H,W) in [0,1], each of the colour ``light`` in [0,1], clipped to [0,1].

    add: x + light s; screen: 1 - (1 - x)(1 - light s); cover: x (1 - s) + light s. ValueError for another ``how``.
    """
    s = s[..., None]
    if how == "add":
        mixed = x + light * s
    elif how == "screen":
        mixed = 1 - (1 - x) * (1 - light * s)
    elif how == "cover":
        mixed = x * (1 - s) + light * s
    else:
        raise ValueError(f"blends are {', '.join(BLENDS)}, not {how}")
    return mixed.clip(0, 1).astype(np.float32)


def rendered_rain(x: Image, rng: Generator) -> Image:
    """x (H,W,C) in [0,1] -> the same with random layers, blended in a random way, four in ten behind a veil."""
    size = (x.shape[0], x.shape[1])
    light = rng.uniform(0.7, 1)
    if rng.uniform() < 0.4:
        through = rng.uniform(0.6, 1)
        x = (x * through + light * (1 - through)).astype(np.float32)
    total = np.zeros(size, np.float32)
    for layer in random_layers(rng):
        total += streaks(size, layer, rng)
    return blend(x, total.clip(0, 1), BLENDS[int(rng.integers(len(BLENDS)))], light)
