"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import Any, overload

import torch
from numpy.typing import NDArray
from torch import Tensor

from unfold.metrics.colour import Channel
from unfold.metrics.pair import Image, as_pair


@overload
def psnr(a: Tensor, b: Tensor, border: int = 0, channel: Channel = "rgb", *, round8: bool = False) -> Tensor: ...
@overload
def psnr(
    a: NDArray[Any], b: NDArray[Any], border: int = 0, channel: Channel = "rgb", *, round8: bool = False
) -> float: ...
def psnr(a: Image, b: Image, border: int = 0, channel: Channel = "rgb", *, round8: bool = False) -> float | Tensor:
    """PSNR in dB for a peak of 1, over all channels together: -10 log10(mean((a - b)^2)); infinite for equal images.

    a, b: arrays (H,W[,C]), uint8 or float in [0,1] -> float; or tensors (B,C,H,W) on any device, uint8 or float in
    [0,1] -> (B,) tensor in float64, one value per image.
    border: pixels left out on each side. channel: "rgb" (everything), "y", "y_float" or "luma", see
    :mod:`unfold.metrics.colour`. round8: clamp both images to [0,1] and round them to 8 bits first, as papers do that
    score saved files; without it only "y" clamps and rounds.
    UnfoldError where shapes differ, no pixel is left, integers are not uint8, or there is no such channel.

    USRNet and DGUNet's deblurring and deraining round to 8 bits; NRL-GDN and DGUNet's denoising and compressive sensing
    do not.
    """
    x, y = as_pair(a, b, border, channel, round8)
    values = -10 * torch.log10((x - y).square().mean(dim=(1, 2, 3)))
    return values if isinstance(a, Tensor) else values.item()
