"""Blur, decimation and noise of training batches on a device; degrade.py does the same for single images."""

from __future__ import annotations

import torch
from torch import Tensor

from unfold.physics.blur import decimate, kernel_spectrum
from unfold.util.device import doubled, for_fourier

# In 255 units. A value this close below a whole number counts as that number, so that rounding errors of Fourier
# transforms, which depend on batch and device, have no effect. (Whether a flat area loses a grey level is decided by
# the sum of the kernel, which in float32 is about 1e-8 off 1: it does for about half of the training kernels, as
# published.)
SLACK = 1e-9


def blur_levels(target: Tensor, kernel: Tensor, rounding: Tensor | float = 0.0) -> Tensor:
    """Circular blur of 8-bit images, truncated (not rounded) to whole grey levels; see degrade.blur_uint8.

    target (B,C,H,W) uint8; kernel (B,1,kh,kw), no larger; rounding: grey levels that are added before (0.5 for
    rounding), a number or (B,1,1,1) -> (B,C,H,W) float32, whole numbers from 0 to 255. Computed in float64 by Fourier
    transforms: equal to blur_uint8 with the same kernel, except where the exact value is within 1e-9 below a whole
    number; there it is one grey level more. Otherwise the result does not depend on batch size and device.
    """
    size = (target.shape[-2], target.shape[-1])
    levels, weights = for_fourier(doubled(target)), doubled(kernel)
    blurred = torch.fft.irfft2(torch.fft.rfft2(levels) * kernel_spectrum(weights, size), s=size)
    rounding = rounding.to(blurred.device) if isinstance(rounding, Tensor) else rounding
    return torch.trunc(blurred + SLACK + rounding).clamp_(0, 255).float().to(target.device)


def degrade(
    target: Tensor, kernel: Tensor, sigma: Tensor, noise: Tensor, scale: int = 1, rounding: Tensor | float = 0.0
) -> Tensor:
    """y = S(k * x) + sigma noise in [0,1] units, the blurred image truncated to 8 bits, y neither clamped nor rounded.

    target (B,C,H,W) uint8, H and W multiples of scale; kernel (B,1,kh,kw); noise (B,C,H/scale,W/scale), normal of
    standard deviation 1; sigma (B,1,1,1) or (B,1,H/scale,W/scale) in [0,1] units; rounding as in :func:`blur_levels`
    -> (B,C,H/scale,W/scale) float32.
    """
    return decimate(blur_levels(target, kernel, rounding), scale) / 255 + sigma * noise


def quadrant_map(levels: Tensor, size: tuple[int, int]) -> Tensor:
    """(B,1,H,W) from levels (B,4): upper left, upper right, lower left, lower right, split at H//2 and W//2."""
    lower, right = (torch.arange(n, device=levels.device) >= n // 2 for n in size)
    return levels[:, 2 * lower[:, None].long() + right.long()][:, None]
