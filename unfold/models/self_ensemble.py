"""The geometric self-ensemble: the mean of a method's results on the eight rotated and mirrored images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unfold.errors import UnfoldError
from unfold.models.run_on_arrays import Image, Method
from unfold.util.arrays import Array, Named


def ensembled(method: Method, number: int, picture: str = "y", images: Sequence[str] = ()) -> Method:
    """The mean of a method's results (not clamped) on y, rotated by 0 to 3 quarter turns and mirrored, and turned back.

    number: 8, or 1 for the method itself. A kernel among the inputs is turned with y, see :func:`turned_kernel`, and so
    are images; other inputs are unchanged. picture, images: names of y and of further images.
    """
    if number == 1:
        return method

    def mean(inputs: Named) -> Image:
        total = np.zeros((), np.float32)
        for mirrored in (False, True):
            for quarters in range(4):
                views = {
                    name: np.rot90(inputs[name][:, ::-1] if mirrored else inputs[name], quarters)
                    for name in (picture, *images)
                    if name in inputs
                }
                turned = {**inputs, **views}
                if "kernel" in inputs:
                    turned["kernel"] = turned_kernel(inputs["kernel"], inputs.get("scale", 1), mirrored, quarters)
                result = np.rot90(method(turned), -quarters)
                total = total + (result[:, ::-1] if mirrored else result)
        return total / np.float32(8)

    return mean


def turned_kernel(kernel: Array, scale: int, mirrored: bool, quarters: int) -> Array:
    """The kernel for a mirrored, then rotated picture: odd sides, larger by 2 (scale - 1).

    Decimation keeps the upper left pixel of a block, which mirroring moves: the kernel is shifted to compensate.
    """

    def mirrored_along(axis: int) -> Array:
        return np.roll(np.flip(kernel, axis), 1 - scale, axis)

    kernel = np.pad(kernel, scale - 1)
    if mirrored:
        kernel = mirrored_along(1)
    for _ in range(quarters):
        kernel = kernel.T
        kernel = mirrored_along(0)
    return np.ascontiguousarray(kernel)


def check_number(ensemble: int) -> None:
    """UnfoldError for anything but 1 and 8."""
    if ensemble not in (1, 8):
        raise UnfoldError(f"ensemble is 8, the mean over turned and mirrored images, or 1, without it, not {ensemble}")
