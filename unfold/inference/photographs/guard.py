"""Is a result plausible? Checks without ground truth: overshoot, ringing, and the size of the change."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.inference.photographs.noise_and_blur import blocks_of, luma_in_255
from unfold.util.arrays import white

# OVERSHOOT was set on 330 results of enlarging photographs of BSDS500's val: it refuses all 51 that were 1 dB or more
# below bicubic interpolation, 2 of 9 that were 0.3 to 1 dB below, and 2 of 264 that were at most 0.1 dB below.
OVERSHOOT = 0.10  # share of the local contrast, for enlarging what a reduction without a lens made small
# Undoing a blur raises pixels between two edges, the more the wider the blur. The limits lie between results with the
# true Gaussian and with one 1.3 times as wide, of the astronaut and five photographs of BSDS500's val, with blurs of
# 0.8, 1.2 and 1.6 pixels of the result, noise of 2.55, at scale 1 and 2: per pixel of width (of the small picture), and
# at width 0. They refuse none of the 36 right ones. At scale 1 they refuse 16 of the 18 that are too wide (missed: -1.2
# and -1.8 dB), at scale 2 12 of 17 that lose by 1.3 or 1.7 times the width (missed: -0.4 to -3.0, and one -5.4 dB).
BY_WIDTH, AT_ZERO, AT_ZERO_ENLARGED, LEAST_LIMIT = 0.55, -0.18, -0.02, 0.15
# MOVED and EXPLAINED are choices: no harmful results of these kinds were available.
MOVED = 1.3  # times the assumed noise and JPEG error: a larger change removes picture content
EXPLAINED = 2.5  # times the assumed noise: the largest distance of the reduced result from the picture
# Measured on 4 photographs with synthetic rain and without: darkening made 1.00 of the energy of the change with rain,
# 0.58 to 1.00 without; the change was 15 of 255 with, 0.3 to 3.6 without.
TAKEN, LEAST_RAIN = 0.9, 1.0
LEAST = 3.0  # of 255: smaller distances are ignored


def implausible(
    picture: NDArray[Any], result: NDArray[Any], scale: int, level: float, width: float = 0.0
) -> str | None:
    """Why a result is implausible, in a few words; None where no check fails.

    picture (h,w,C), result (scale h, scale w, C): unsigned integers or floats in [0,1]; level: the noise assumed, of
    255; width: the standard deviation of the Gaussian that was assumed, in pixels of the picture, 0 for none.
    """
    small, large = luma_in_255(picture), luma_in_255(result)
    if (over := overshoot(small, large, scale)) > most_overshoot(scale, width):
        return f"it overshoots by {100 * over:.0f} % of the contrast"
    if scale > 1 and (apart := _apart_reduced(small, large, scale, width)) > max(2 * LEAST, EXPLAINED * level):
        return f"made small again it lies {apart:.1f} (of 255) from the picture"
    return None


def _apart_reduced(small: NDArray[np.float32], large: NDArray[np.float32], scale: int, width: float) -> float:
    """Root mean square distance of the result, made small again, from the picture."""
    from scipy.ndimage import gaussian_filter

    if width:  # as wide as the Gaussian together with the means that follow
        large = gaussian_filter(large, np.sqrt(max(0.0, (scale * width) ** 2 - (scale**2 - 1) / 12)))
    height, across = small.shape
    again = large.reshape(height, scale, across, scale).mean(axis=(1, 3))
    return float(np.sqrt(np.mean((again - small) ** 2)))


def most_overshoot(scale: int, width: float) -> float:
    """The largest plausible overshoot, as a share of the contrast. width: as in :func:`implausible`."""
    if scale == 1:
        return max(LEAST_LIMIT, BY_WIDTH * width + AT_ZERO)
    return max(OVERSHOOT, BY_WIDTH * width + AT_ZERO_ENLARGED) if width else OVERSHOOT


def overshoot(small: NDArray[np.float32], large: NDArray[np.float32], scale: int) -> float:
    """By how much the result leaves the range of the 3x3 pixels around each, over that range; root mean squares.

    Ringing, halos and worm artefacts leave this range; detail of the picture does not.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    least, most = minimum_filter(small, 3), maximum_filter(small, 3)
    height, width = small.shape
    blocks = large.reshape(height, scale, width, scale)
    over = (blocks - most[:, None, :, None]).clip(0) + (least[:, None, :, None] - blocks).clip(0)
    contrast = float(np.sqrt(np.mean((most - least) ** 2)))
    return float(np.sqrt(np.mean(over**2))) / max(contrast, LEAST)


def share_to_keep(picture: NDArray[Any], result: NDArray[Any], level: float) -> float:
    """The share of the change to keep, 0 to 1: 0 without assumed noise, below 1 where the change exceeds it."""
    if level <= 0:
        return 0.0
    change = luma_in_255(result) - luma_in_255(picture)
    return min(1.0, MOVED * level / max(float(np.sqrt(np.mean(change**2))), 1e-6))


def size_of_change(picture: NDArray[Any], result: NDArray[Any]) -> float:
    """Root mean square over pixels and channels, of 255; by rows, for memory."""
    total = 0.0
    for first in range(0, len(picture), 256):
        rows = slice(first, first + 256)
        total += float(np.sum((result[rows].astype(np.float32) - picture[rows]) ** 2, dtype=np.float64))
    return float(np.sqrt(total / picture.size)) * 255 / white(picture.dtype)


def evenness(picture: NDArray[Any], result: NDArray[Any]) -> float:
    """The change of luma in the smoothest quarter of 8x8 blocks of the result over that in all, root mean squares.

    About 1 for noise, which is everywhere; less where texture was removed. 1 where there are no blocks to compare;
    blocks that are nearly black or white are left out.
    """
    luma = luma_in_255(result)
    after, change = blocks_of(luma), blocks_of(luma - luma_in_255(picture))
    means = after.mean(axis=(1, 2))
    inside = (means > 16) & (means < 239)
    energy, spread = (change[inside] ** 2).mean(axis=(1, 2)), after[inside].std(axis=(1, 2))
    if len(energy) < 4 or not energy.any():
        return 1.0
    smooth = spread <= np.percentile(spread, 25)
    return float(np.sqrt(energy[smooth].mean() / energy.mean()))


def takes_rain(picture: NDArray[Any], result: NDArray[Any]) -> bool:
    """Whether a change may be removed rain: it is large enough, and nearly all of it darkens, as streaks are bright."""
    change = luma_in_255(picture) - luma_in_255(result)
    taken, all_of_it = float(np.sum(change.clip(0) ** 2)), float(np.sum(change**2))
    return taken >= TAKEN * all_of_it > TAKEN * LEAST_RAIN**2 * change.size
