"""The compared channels of a colour image: all, or its luma by one of three definitions.

"rgb"      all channels as they are, one or more. USRNet, NRL-GDN, DGUNet's deblurring and denoising.
"y"        MATLAB's rgb2ycbcr of an 8-bit image, its result rounded to 8 bits: 16..235 for a peak of 255. Floats are
           rounded to 8 bits first. DGUNet's deraining, USRNet's Y columns.
"y_float"  the same formula without rounding. None of the three papers; common in super-resolution.
"luma"     0.299 R + 0.587 G + 0.114 B, not rounded. NRL-GDN's grey sets.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.util.device import doubled

Channel = Literal["rgb", "y", "y_float", "luma"]
CHANNELS: tuple[str, ...] = get_args(Channel)


def to_levels(image: Tensor) -> Tensor:
    """The levels 0..255 of an 8-bit file, in float64: clamped to [0,1], times 255, rounded half to even.

    The product is computed in the image's own precision, as in published code before saving.
    """
    if image.dtype == torch.uint8:
        return doubled(image)
    return doubled((image.clamp(0, 1) * 255).round())


def to_unit(image: Tensor) -> Tensor:
    """uint8 -> [0,1] in float64; floats keep their values."""
    return doubled(image) / 255 if image.dtype == torch.uint8 else doubled(image)


def convert(image: Tensor, channel: Channel, round8: bool = False) -> Tensor:
    """(B,C,H,W) uint8 or float in [0,1] -> float64 for a peak of 1: (B,C,H,W) for "rgb", else (B,1,H,W).

    round8: round the colours to 8 bits first, see :func:`to_levels`; "y" always does. Its formula, 16 + (65.481 R +
    128.553 G + 24.966 B) / 255, gives an exact half for 194 of the 2^24 colours; halves go up, as MATLAB rounds them.
    UnfoldError if luma is requested from an image without three channels (as in MATLAB).
    """
    if channel == "rgb":
        return to_levels(image) / 255 if round8 else to_unit(image)
    if image.shape[1] != 3:
        raise UnfoldError(
            f'channel "{channel}" is made of R, G and B, and the image has {image.shape[1]} channels; '
            'compare a grey image with channel "rgb", which takes it as it is'
        )
    if channel == "y":  # in integers, so that ties are exact
        return torch.floor((_weigh(to_levels(image), 65481, 128553, 24966) + 127500) / 255000 + 16) / 255
    colours = to_levels(image) / 255 if round8 else to_unit(image)
    if channel == "y_float":
        return (_weigh(colours, 65.481, 128.553, 24.966) + 16) / 255
    return _weigh(colours, 0.299, 0.587, 0.114)


def _weigh(image: Tensor, red: float, green: float, blue: float) -> Tensor:
    return red * image[:, :1] + green * image[:, 1:2] + blue * image[:, 2:]
