"""Is a result plausible? Checks without ground truth: overshoot, ringing, and the size of the change."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.inference.photographs.noise_and_blur import luma_in_255

# OVERSHOOT was set on 330 results of enlarging photographs of BSDS500's val: it refuses all 51 that were 1 dB or more
# below bicubic interpolation, 2 of 9 that were 0.3 to 1 dB below, and 2 of 264 that were at most 0.1 dB below.
# OVERSHOOT_SHARPENED, MOVED and EXPLAINED are choices: no harmful results of these kinds were available.
OVERSHOOT = 0.10  # share of the local contrast, for enlarging
OVERSHOOT_SHARPENED = 0.35  # for deblurring, which raises pixels between two edges
MOVED = 1.3  # times the assumed noise and JPEG error: a larger change removes picture content
EXPLAINED = 2.5  # times the assumed noise: the largest distance of the reduced result from the picture
# Measured on 4 photographs with synthetic rain and without: darkening made 1.00 of the energy of the change with rain,
# 0.58 to 1.00 without; the change was 15 of 255 with, 0.3 to 3.6 without.
TAKEN, LEAST_RAIN = 0.9, 1.0
LEAST = 3.0  # of 255: smaller distances are ignored


def implausible(picture: NDArray[Any], result: NDArray[Any], scale: int, level: float) -> str | None:
    """Why a result is implausible, in a few words; None where no check fails.

    picture (h,w,C), result (scale h, scale w, C): unsigned integers; level: the noise assumed, of 255.
    """
    small, large = luma_in_255(picture), luma_in_255(result)
    if (over := overshoot(small, large, scale)) > (OVERSHOOT if scale > 1 else OVERSHOOT_SHARPENED):
        return f"it overshoots by {100 * over:.0f} % of the contrast"
    height, width = small.shape
    again = large.reshape(height, scale, width, scale).mean(axis=(1, 3))
    apart = float(np.sqrt(np.mean((again - small) ** 2)))
    if scale > 1 and apart > max(2 * LEAST, EXPLAINED * level):
        return f"made small again it lies {apart:.1f} (of 255) from the picture"
    return None


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


def takes_rain(picture: NDArray[Any], result: NDArray[Any]) -> bool:
    """Whether a change may be removed rain: it is large enough, and nearly all of it darkens, as streaks are bright."""
    change = luma_in_255(picture) - luma_in_255(result)
    taken, all_of_it = float(np.sum(change.clip(0) ** 2)), float(np.sum(change**2))
    return taken >= TAKEN * all_of_it > TAKEN * LEAST_RAIN**2 * change.size
