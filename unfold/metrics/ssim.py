"""Structural similarity, in the three definitions that the papers' numbers come from."""

from __future__ import annotations

import math
from typing import Literal, get_args, overload

import torch
from torch import Tensor

from unfold.errors import UnfoldError, check_choice
from unfold.metrics.colour import Channel
from unfold.metrics.pair import Image, as_pair
from unfold.util.arrays import Array

Kind = Literal["wang", "matlab3d", "skimage"]
KINDS: tuple[str, ...] = get_args(Kind)

WINDOW = 11  # of the Gaussian kinds
_BELL = [math.exp(-((r - WINDOW // 2) ** 2) / (2 * 1.5**2)) for r in range(WINDOW)]
GAUSSIAN = [value / sum(_BELL) for value in _BELL]
UNIFORM = [1 / 7] * 7


@overload
def ssim(
    a: Tensor,
    b: Tensor,
    border: int = 0,
    channel: Channel = "rgb",
    kind: Kind = "wang",
    *,
    round8: bool = False,
    peak: float | None = None,
    channels: int | None = None,
) -> Tensor: ...
@overload
def ssim(
    a: Array,
    b: Array,
    border: int = 0,
    channel: Channel = "rgb",
    kind: Kind = "wang",
    *,
    round8: bool = False,
    peak: float | None = None,
    channels: int | None = None,
) -> float: ...
def ssim(
    a: Image,
    b: Image,
    border: int = 0,
    channel: Channel = "rgb",
    kind: Kind = "wang",
    *,
    round8: bool = False,
    peak: float | None = None,
    channels: int | None = None,
) -> float | Tensor:
    """SSIM for a peak of 1 with K1 0.01 and K2 0.03: the mean of the map over pixels and channels.

    a, b, border, channel, round8, peak, channels, results and errors as for :func:`unfold.metrics.psnr`; the border is
    removed first.

    kind:
      "wang"      Wang et al. 2004: an 11x11 Gaussian window of width 1.5, only where it lies inside the image, each
                  channel separately. USRNet and NRL-GDN on RGB; DGUNet deraining with channel "y".
        "matlab3d"  MATLAB's ssim() of a colour image, which it treats as a volume: an 11x11x11 Gaussian window of width
                    1.5 that also extends across the channels, with replicated edges; every pixel counts. DGUNet
                    deblurring, on uint8 images. For one channel it is MATLAB's ssim() of a grey image. Written from
                    MATLAB's documentation; it could not be compared with MATLAB itself.
      "skimage"   scikit-image's structural_similarity with its defaults: a 7x7 uniform window inside the image, sample
                  covariance, each channel separately. DGUNet compressive sensing, on the grey image.
    UnfoldError also if the image without its border is smaller than the window ("matlab3d" takes any
    size).
    """
    check_choice("kind", kind, KINDS)
    values = ssim_map(*as_pair(a, b, border, channel, round8, peak, channels), kind).mean(dim=(1, 2, 3))
    return values if isinstance(a, Tensor) else values.item()


def ssim_map(x: Tensor, y: Tensor, kind: Kind = "wang") -> Tensor:
    """The SSIM of every window: x, y (B,C,H,W), float64 for a peak of 1 -> (B,C,H-n,W-n), n 10, 6 or (matlab3d) 0."""
    window = UNIFORM if kind == "skimage" else GAUSSIAN
    height, width = x.shape[-2:]
    whole = kind == "matlab3d"
    if min(height, width) < len(window) and not whole:
        raise UnfoldError(f"SSIM needs at least {len(window)}x{len(window)} pixels, not {width}x{height}")

    def mean(values: Tensor) -> Tensor:
        for dim in (1, 2, 3) if whole else (2, 3):
            if whole:
                values = _extend(values, dim, len(window) // 2)
            values = _average(values, dim, window)
        return values

    pixels = len(window) ** 2
    unbiased = pixels / (pixels - 1) if kind == "skimage" else 1.0
    mean_x, mean_y = mean(x), mean(y)
    variances = unbiased * (mean(x * x) + mean(y * y) - mean_x**2 - mean_y**2)
    covariance = unbiased * (mean(x * y) - mean_x * mean_y)
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))


def _average(values: Tensor, dim: int, window: list[float]) -> Tensor:
    """Weighted means along one axis, where the window is inside. Ten times as fast as conv2d in float64 on a CPU."""
    size = values.shape[dim] - len(window) + 1
    total = window[0] * values.narrow(dim, 0, size)
    for i, weight in enumerate(window[1:], start=1):
        total.add_(values.narrow(dim, i, size), alpha=weight)
    return total


def _extend(values: Tensor, dim: int, margin: int) -> Tensor:
    """Repeat the first and the last entry of an axis ``margin`` times."""
    size = values.shape[dim]
    return values.index_select(dim, torch.arange(-margin, size + margin, device=values.device).clamp(0, size - 1))
