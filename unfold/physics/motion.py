"""Motion kernels: histograms of a shaking camera's path, as in USRNet's and NRL-GDN's training.

In NumPy, equal to the published code draw by draw.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray

from unfold.physics.kernels import SIDE, Kernel, gaussian_kernel, normalised
from unfold.physics.rng import Rng

STEPS = 250  # in a path
SMALLEST, LARGEST = 5, 27  # bins of a histogram
TURN = 2 * np.pi / STEPS  # scale of the rotation per step
LEAST_SUM = 0.1  # smallest sum of an enlarged kernel after cropping


def random_path(rng: Rng) -> NDArray[np.float64]:
    """The camera_path of normal forces. Draws: (3,STEPS), whose first column is v_0; then n_t and m_t alternately."""
    start = rng.standard_normal((3, STEPS))[:, 0]
    return camera_path(start, rng.standard_normal((STEPS - 1, 2, 3)))


def camera_path(start: NDArray[np.float64], forces: NDArray[np.float64]) -> NDArray[np.float64]:
    """The positions x_0 = 0, x_1, ... of a camera, (3,STEPS), from its initial velocity v_0 (3,) and random forces.

        r_t = r_{t-1} + (2 pi / STEPS) (n_t / (t+1) + r_{t-1})        angles, r_0 = 0
        v_t = v_{t-1} + m_t / (t+1)                                   velocity
        x_t = x_{t-1} + R_z R_y R_x(r_t) v_t

    forces (STEPS-1,2,3): n_t and m_t for t = 1, 2, ...
    """
    from scipy.signal import lfilter

    forces = forces / np.arange(2, STEPS + 1)[:, None, None]
    angles = lfilter([TURN], [1, -(1 + TURN)], forces[:, 0], axis=0)
    velocity = start + np.cumsum(forces[:, 1], axis=0)
    steps = _rotated(angles.T, velocity.T)
    return np.concatenate([np.zeros((3, 1)), np.cumsum(steps, axis=1)], axis=1)


def _rotated(angles: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """R_z R_y R_x v for columns of angles (3,N) about x, y, z and of vectors (3,N)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    x, y, z = v
    y, z = cx * y - sx * z, sx * y + cx * z
    x, z = cy * x + sy * z, cy * z - sy * x
    return np.stack([cz * x - sz * y, sz * x + cz * y, z])


def path_histogram(path: NDArray[np.float64], bins: int) -> Kernel:
    """How often a path (2|3,N) visits each of (bins,bins) cells of its bounding box, smoothed by a Gaussian, sum 1.

    Rows are the first coordinate, columns the second. A cell includes its lower edges, not its upper ones. As
    published, the last row and column stay empty before smoothing, except where rounding gives one more edge. All zero
    where no cell is visited.
    """
    from scipy.signal import convolve2d

    edges = [np.arange(c.min(), c.max(), (c.max() - c.min()) / bins) for c in path[:2]]
    cells = [np.searchsorted(e, c, side="right") - 1 for e, c in zip(edges, path, strict=False)]
    inside = (cells[0] < len(edges[0]) - 1) & (cells[1] < len(edges[1]) - 1)
    counts = np.zeros((bins, bins))
    np.add.at(counts, (cells[0][inside], cells[1][inside]), 1)
    if not inside.any():
        return counts
    return normalised(convolve2d(normalised(counts), gaussian_kernel(3, 1), mode="same"))


def centred(kernel: Kernel) -> Kernel:
    """(SIDE,SIDE): zeros around a smaller kernel, or the upper left part of a larger one (as published)."""
    before = max(SIDE - len(kernel), 0) // 2
    after = max(SIDE - len(kernel) - before, 0)
    return np.pad(kernel, (before, after))[:SIDE, :SIDE]


def enlarged(kernel: Kernel, height: int, width: int) -> Kernel:
    """The middle (SIDE,SIDE) of a kernel resized bilinearly to (height,width), neither below SIDE. Sum not kept."""
    import cv2

    large = cv2.resize(kernel, (width, height), interpolation=cv2.INTER_LINEAR)
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    return np.asarray(large[top : top + SIDE, left : left + SIDE], dtype=np.float64)


def random_motion_kernel(rng: np.random.RandomState, pick: random.Random) -> Kernel:
    """A motion kernel (SIDE,SIDE), sum 1, drawn as published.

    First a path; then the number of bins min(5 - ln(U)/0.15, 27), made odd, again while no cell is visited; with
    probability 1/4 the kernel is enlarged to between SIDE and 5 SIDE on either side and cropped. Where cropping leaves
    a sum below 0.1, it is replaced by a Gaussian of standard deviation 0.1 + 6 U.
    """
    path = random_path(rng)
    kernel = np.zeros((SIDE, SIDE))
    while not kernel.any():
        bins = round(min(SMALLEST - np.log(rng.uniform()) / 0.15, LARGEST))
        kernel = path_histogram(path, bins + 1 - bins % 2)
    kernel = centred(kernel)
    if rng.randint(0, 4) == 1:
        width, height = pick.randint(SIDE, 5 * SIDE), pick.randint(SIDE, 5 * SIDE)
        kernel = enlarged(kernel, height, width)
    if kernel.sum() < LEAST_SUM:
        kernel = gaussian_kernel(SIDE, 0.1 + 6 * rng.uniform())
    return normalised(kernel)
