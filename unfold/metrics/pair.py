"""Two images checked and brought into one form before they are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfold.errors import UnfoldError, check_choice
from unfold.metrics.colour import CHANNELS, Channel, convert

Image = Tensor | NDArray[Any]


def as_pair(a: Image, b: Image, border: int, channel: Channel, round8: bool) -> tuple[Tensor, Tensor]:
    """Both images as float64 tensors (B,C,H,W) for a peak of 1, without their border, in the channel asked for.

    a, b: two arrays (H,W[,C]) or two tensors (B,C,H,W), uint8 or float in [0,1]. Floats beyond [0,1] are let pass, as
    results that are not clamped have them. UnfoldError says what does not fit.
    """
    check_choice("channel", channel, CHANNELS)
    if isinstance(a, Tensor) != isinstance(b, Tensor):
        raise UnfoldError("one image is a tensor and the other is not: give two arrays or two tensors")
    if a.shape != b.shape:
        raise UnfoldError(f"the images differ in shape: {tuple(a.shape)} and {tuple(b.shape)}")
    batches = _batch(a), _batch(b)
    height, width = batches[0].shape[-2:]
    if border < 0:
        raise UnfoldError(f"a border is a number of pixels, 0 or more, not {border}")
    if 2 * border >= min(height, width):
        raise UnfoldError(f"a border of {border} pixels leaves nothing of an image of {height}x{width}")
    inside = (..., slice(border, height - border), slice(border, width - border))
    x, y = (convert(batch[inside], channel, round8) for batch in batches)
    return x, y


def _batch(image: Image) -> Tensor:
    """An image as (B,C,H,W) in uint8, float32 or float64."""
    if isinstance(image, Tensor):
        if image.ndim != 4:
            raise UnfoldError(f"tensors of images have shape (B,C,H,W), and this one {tuple(image.shape)}")
        if image.dtype != torch.uint8 and not image.is_floating_point():
            raise UnfoldError(f"images are uint8 or float in [0,1], not {image.dtype}")
        return image.float() if image.dtype in (torch.float16, torch.bfloat16) else image
    if image.ndim not in (2, 3):
        raise UnfoldError(f"arrays of images have shape (H,W) or (H,W,C), and this one {image.shape}")
    if image.dtype != np.uint8 and not np.issubdtype(image.dtype, np.floating):
        raise UnfoldError(f"images are uint8 or float in [0,1], not {image.dtype}")
    dtype = {1: np.uint8, 2: np.float32, 4: np.float32}.get(image.dtype.itemsize, np.float64)
    pixels = torch.from_numpy(np.array(image, dtype, order="C"))  # a copy: torch wants it writable, strides positive
    return (pixels if image.ndim == 3 else pixels[..., None]).permute(2, 0, 1)[None]
