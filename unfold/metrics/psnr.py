"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import overload

import torch
from torch import Tensor

from unfold.metrics.colour import Channel
from unfold.metrics.pair import Image, as_pair
from unfold.util.arrays import Array


@overload
def psnr(
    a: Tensor,
    b: Tensor,
    border: int = 0,
    channel: Channel = "rgb",
    *,
    round8: bool = False,
    peak: float | None = None,
    channels: int | None = None,
) -> Tensor: ...
@overload
def psnr(
    a: Array,
    b: Array,
    border: int = 0,
    channel: Channel = "rgb",
    *,
    round8: bool = False,
    peak: float | None = None,
    channels: int | None = None,
) -> float: ...
def psnr(
    a: Image,
    b: Image,
    border: int = 0,
    channel: Channel = "rgb",
    *,
    round8: bool = False,
    peak: float | None = None,
    channels: int | None = None,
) -> float | Tensor:
    """PSNR in dB for a peak of 1, over all channels together: -10 log10(mean((a - b)^2)); infinite for equal images.

    a, b: estimate and target: arrays (H,W[,C]), uint8, uint16 or float in [0,1] -> float; or tensors (B,C,H,W) on any
    device -> (B,) tensor in float64, one value per image. An estimate may lie in [-2,3]: it is not clamped.
    border: pixels left out on each side. channel: "rgb" (everything), "y", "y_float" or "luma", see
    :mod:`unfold.metrics.colour`. round8: clamp both images to [0,1] and round them to 8 bits first, as in papers that
    score saved files; without it only "y" clamps and rounds. peak: the value of white that both images are divided by,
    such as 255 for floats of 0 to 255; None: 1 for floats, the type's maximum for integers. channels: C, required if
    it is neither 1 nor 3 (because an alpha channel would count).
    UnfoldError if shapes differ, no pixel is left, values are outside these ranges or not finite, channels are on
    another axis, integers are neither uint8 nor uint16 and peak is not given, or the channel is unknown.

    USRNet and DGUNet's deblurring and deraining round to 8 bits; NRL-GDN and DGUNet's denoising and compressive sensing
    do not.
    """
    x, y = as_pair(a, b, border, channel, round8, peak, channels)
    values = -10 * torch.log10((x - y).square().mean(dim=(1, 2, 3)))
    return values if isinstance(a, Tensor) else values.item()
