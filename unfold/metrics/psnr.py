"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def as_float64(image: NDArray[Any]) -> NDArray[np.float64]:
    """uint8 -> [0,1]; floats stay as they are."""
    if image.dtype == np.uint8:
        return image / 255.0
    if not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"images are uint8 or float in [0,1], not {image.dtype}")
    return image.astype(np.float64)


def same_shape(a: Any, b: Any) -> None:
    if a.shape != b.shape:
        raise ValueError(f"the images differ in shape: {tuple(a.shape)} and {tuple(b.shape)}")


@overload
def psnr(a: Tensor, b: Tensor, border: int = 0) -> Tensor: ...
@overload
def psnr(a: NDArray[Any], b: NDArray[Any], border: int = 0) -> float: ...
def psnr(a: Tensor | NDArray[Any], b: Tensor | NDArray[Any], border: int = 0) -> float | Tensor:
    """PSNR in dB for a peak of 1, over all channels together: -10 log10(mean((a - b)^2)); infinite for equal images.

    a, b: arrays (H,W[,C]), uint8 or float in [0,1] -> float; or tensors (B,C,H,W) in [0,1] -> (B,) tensor in float64.
    border: pixels left out on each side. Nothing is clamped or rounded. ValueError where shapes differ.
    """
    same_shape(a, b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        d = (a.double() - b.double())[..., border : a.shape[-2] - border, border : a.shape[-1] - border]
        return -10 * torch.log10(d.square().mean(dim=(1, 2, 3)))
    difference = as_float64(np.asarray(a)) - as_float64(np.asarray(b))
    difference = difference[border : a.shape[0] - border, border : a.shape[1] - border]
    mse = float(np.mean(np.square(difference)))
    return float("inf") if mse == 0 else float(-10 * np.log10(mse))
