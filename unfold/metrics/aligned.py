"""PSNR and SSIM after alignment, for pairs from two slightly different cameras: RealBlur's evaluation.

RealBlur (Rim et al., ECCV 2020) took the blurred and the sharp picture with two cameras behind one lens. Its scores,
which DGUNet's code follows, first compensate the remaining difference in brightness and position.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from unfold.errors import UnfoldError
from unfold.metrics.pair import as_pair
from unfold.metrics.ssim import WINDOW, ssim_map
from unfold.util.arrays import Array, width_x_height

STEPS = 100  # of the search for the homography
BLUR = 5  # side in pixels of the Gaussian filter on both images before that search

Pixels = NDArray[np.float32]


def aligned_scores(result: Array, target: Array, *, peak: float | None = None) -> tuple[float, float]:
    """PSNR in dB and SSIM of a result after its brightness and position are fitted to the target's.

    result z, target x: (H,W,3) RGB, uint8, uint16 or float in [0,1]; peak as for :func:`unfold.metrics.psnr`. In
    float32, z is
      1. scaled by sum(x z) / sum(z z), one factor for all channels;
      2. warped by the homography that maximises the enhanced correlation coefficient of the two grey images
         (Evangelidis and Psarakis 2008, by OpenCV; always 100 steps): cubic interpolation, edges reflected.
    The mask m is 1 where the warp samples inside z. PSNR: -10 log10(sum(m (z - x)^2) / sum(m)) over pixels and
    channels. SSIM: the mean over m of the ssim(kind="wang") map of m z and m x. Nothing is clamped or rounded.

    UnfoldError as for :func:`unfold.metrics.ssim`, and where the images cannot be aligned. The search may leave equal
    images some 1e-6 pixels apart: their PSNR is then very high, not infinite.
    """
    shape = tuple(getattr(result, "shape", ()))
    if len(shape) != 3 or shape[2] != 3:
        raise UnfoldError(
            f"aligned scores take colour images of shape (H,W,3), not {shape or 'a ' + type(result).__name__}"
        )
    pair = as_pair(result, target, 0, "rgb", round8=False, peak=peak)
    z, x = (pixels[0].permute(1, 2, 0).float().numpy() for pixels in pair)
    if min(x.shape[:2]) < WINDOW:
        raise UnfoldError(f"SSIM needs at least {WINDOW}x{WINDOW} pixels, not {width_x_height(x.shape)}")
    fitted, mask = _align(_scale(z, x), x)
    return _masked_scores(fitted * mask, x * mask, mask)


def _scale(z: Pixels, x: Pixels) -> Pixels:
    energy = np.sum(z * z, dtype=np.float64)
    if energy == 0:
        raise UnfoldError("a black result cannot be aligned with its target; score it with psnr and ssim")
    return z * np.float32(np.sum(x * z, dtype=np.float64) / energy)


def _align(z: Pixels, x: Pixels) -> tuple[Pixels, Pixels]:
    """z warped onto x, and the mask (H,W,1): 1 where a pixel comes from inside z, else 0."""
    import cv2

    grey_x, grey_z = (cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in (x, z))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, STEPS, 0)
    begin, everywhere = np.eye(3, dtype=np.float32), np.ones(x.shape[:2], np.uint8)
    try:
        _, motion = cv2.findTransformECC(grey_x, grey_z, begin, cv2.MOTION_HOMOGRAPHY, stop, everywhere, BLUR)
    except cv2.error as error:
        reason = " ".join(error.err.split()).rstrip(".")
        raise UnfoldError(
            f"the result cannot be aligned with its target ({reason}); are they the same picture?"
        ) from None
    size, inverse = (x.shape[1], x.shape[0]), cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(z, motion, size, flags=cv2.INTER_CUBIC | inverse, borderMode=cv2.BORDER_REFLECT)
    inside = np.ones(x.shape[:2], np.float32)
    mask = cv2.warpPerspective(inside, motion, size, flags=cv2.INTER_NEAREST | inverse, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(warped, np.float32), np.asarray(mask, np.float32)[..., None]


def _masked_scores(z: Pixels, x: Pixels, mask: Pixels) -> tuple[float, float]:
    """PSNR and SSIM over the mask (H,W,1), of images (H,W,3) that are 0 outside it."""
    a, b, m = (torch.from_numpy(pixels).double().permute(2, 0, 1)[None] for pixels in (z, x, mask))
    margin = WINDOW // 2
    centre = m[..., margin:-margin, margin:-margin]
    if not centre.any():
        raise UnfoldError("nothing of the result lies on its target once aligned; are they the same picture?")
    error = (a - b).square().sum() / (m.sum() * a.shape[1])
    similarity = (ssim_map(a, b) * centre).sum() / (centre.sum() * a.shape[1])
    return float(-10 * torch.log10(error)), float(similarity)
