"""Check two images and convert them to one form for comparison."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unfold.errors import UnfoldError, check_choice
from unfold.metrics.colour import CHANNELS, Channel, convert
from unfold.util.arrays import Array
from unfold.util.device import doubled
from unfold.util.value_checks import check_dense, checking, found_range, in_range

Image = Tensor | Array
ROUNDING = 1e-3  # tolerance of a target beyond [0,1]
_PEAKS = {"uint8": 255, "uint16": 65535}


def as_pair(
    a: Image,
    b: Image,
    border: int,
    channel: Channel,
    round8: bool,
    peak: float | None = None,
    channels: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Both images as float64 tensors (B,C,H,W) for a peak of 1, without their border, in the requested channel.

    a, b: estimate and target, two arrays (H,W[,C]) or two tensors (B,C,H,W), uint8, uint16 or float in [0,1]. The
    estimate may be in [-2,3], as unclamped results are. peak: divisor of all values; None: the type's maximum for
    integers, 1 for floats. channels: C where it is neither 1 nor 3; 0: any number. UnfoldError for images that do not
    fit. Inside the package, values and channels are not checked, see :mod:`unfold.util.value_checks`.
    """
    check_choice("channel", channel, CHANNELS)
    for image in (a, b):
        if not isinstance(image, Tensor | np.ndarray):
            raise UnfoldError(f"images are arrays or tensors, not {type(image).__name__}: np.asarray(...) makes one")
    if isinstance(a, Tensor) != isinstance(b, Tensor):
        raise UnfoldError("one image is a tensor and the other is not: give two arrays or two tensors")
    if a.shape != b.shape:
        raise UnfoldError(f"the images differ in shape: {tuple(a.shape)} and {tuple(b.shape)}")
    number = isinstance(peak, (int, float, np.integer, np.floating)) and not isinstance(peak, bool)
    if peak is not None and not (number and math.isfinite(peak) and peak > 0):
        raise UnfoldError(f"peak is the value of white, such as 255, not {peak!r}")
    batches = _batch(a, peak), _batch(b, peak)
    if checking():
        if channels != 0:
            _check_channels(a, channels)
        _check_values(*batches, peak)
    height, width = batches[0].shape[-2:]
    border = _whole(border)
    if 2 * border >= min(height, width):
        raise UnfoldError(f"a border of {border} pixels leaves nothing of an image of {width}x{height}")
    inside = (..., slice(border, height - border), slice(border, width - border))
    x, y = (convert(batch[inside], channel, round8) for batch in batches)
    return x, y


def _whole(border: object) -> int:
    try:
        if not isinstance(border, str) and int(border) == border >= 0:  # type: ignore[call-overload, operator]
            return int(border)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):  # None, a list, NaN, infinity
        pass
    raise UnfoldError(f"a border is a whole number of pixels, 0 or more, not {border!r}")


def _batch(image: Image, peak: float | None) -> Tensor:
    """An image as (B,C,H,W) in uint8, float32 or float64, floats for a peak of 1."""
    name = str(image.dtype).removeprefix("torch.")
    floating = image.is_floating_point() if isinstance(image, Tensor) else image.dtype.kind == "f"
    if isinstance(image, Tensor):
        check_dense("an image", image)
        if image.ndim != 4:
            hint = ": image[None] is a batch of one" if image.ndim == 3 else ""
            raise UnfoldError(f"tensors of images have shape (B,C,H,W), and this one {tuple(image.shape)}{hint}")
    elif image.ndim not in (2, 3):
        raise UnfoldError(f"arrays of images have shape (H,W) or (H,W,C), and this one {image.shape}")
    whole = not floating and name != "bool" and "complex" not in name and "int" in name
    if not floating and (not whole or (peak is None and name not in _PEAKS)):
        hint = "; with peak=255, or what their white is, other integers are taken" if whole else ""
        raise UnfoldError(f"images are uint16, uint8 or float in [0,1], not {image.dtype}{hint}")
    if peak is None and name == "uint16":
        peak = _PEAKS[name]
    if isinstance(image, Tensor):
        pixels = image.float() if image.dtype in (torch.float16, torch.bfloat16) else image
    else:
        dtype: Any = {1: np.uint8, 2: np.float32, 4: np.float32}.get(image.dtype.itemsize, np.float64)
        # A copy: torch needs it writable, with positive strides.
        array = np.array(image, dtype if peak is None else np.float64, order="C")
        pixels = torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)[None]
    return pixels if peak is None else doubled(pixels) / peak


def _check_channels(image: Image, channels: int | None) -> None:
    """UnfoldError for an unexpected number of channels, and for channels on another axis."""
    if image.ndim == 2:
        return
    axis, other = (1, -1) if isinstance(image, Tensor) else (-1, 0)
    wanted = (1, 3) if channels is None else (channels,)
    if (count := image.shape[axis]) in wanted:
        return
    if image.shape[other] in wanted:
        form, turn = ("(B,C,H,W)", "permute(0, 3, 1, 2)") if axis == 1 else ("(H,W,C)", "transpose(1, 2, 0)")
        raise UnfoldError(
            f"images are {form}, and this one is {tuple(image.shape)}, its channels on another axis: give image.{turn}"
        )
    if channels is not None:
        raise UnfoldError(f"the image has {count} channels, and channels={channels} was asked for")
    part = "image[:, :3]" if axis == 1 else "image[..., :3]"
    raise UnfoldError(
        f"the image has {count} channels; say channels={count} where all of them count, or leave out alpha: {part}"
    )


def _check_values(estimate: Tensor, target: Tensor, peak: float | None) -> None:
    """UnfoldError for values outside the range of images with a peak of 1."""
    over = "" if peak is None else f" over the peak of {peak:g}"
    hint = "say peak=255 for values of 0 to 255 (peak=65535 for 16 bits)"
    for what, image in (("estimate, the first image,", estimate), ("target, the second image,", target)):
        if not image.is_floating_point() or not image.numel() or image.is_meta:
            continue
        least, most = torch.stack(image.detach().aminmax()).tolist()
        problem = f"the {what} has {found_range(least, most)}{over}"
        if not in_range(least, most):
            raise UnfoldError(f"{problem}; images are in [0,1], and an estimate may reach to [-2,3]: {hint}")
        if image is target and not (least >= -ROUNDING and most <= 1 + ROUNDING):
            raise UnfoldError(
                f"{problem}, and a target is in [0,1]: {hint}, (x + 1) / 2 makes [0,1] of [-1,1], and an estimate "
                "that is not clamped comes first"
            )
