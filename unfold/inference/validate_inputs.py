"""What can be restored, and what a network is told beside the picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.errors import UnfoldError
from unfold.facts import Input
from unfold.models.unfolding import UnfoldingNetwork
from unfold.physics.kernels import centred_in_odd_square


def check_measurement(image: NDArray[Any], net: UnfoldingNetwork) -> None:
    """UnfoldError where :func:`restore` does not take this array for the network."""
    check_image(image, net.measured_channels)
    count = 1 if image.ndim == 2 else image.shape[2]
    if net.measured_channels == 1 < net.channels and count > 1 and (image != image[..., :1]).any():
        raise UnfoldError(
            f"{type(net).__name__} takes a grey picture (one channel) and makes {net.channels} of it; this one is of "
            f"{count} channels"
        )


def check_image(image: NDArray[Any], channels: int = 3) -> None:
    """UnfoldError where an array is no picture that a network of so many channels could take."""
    allowed = (1, 3, channels)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in allowed) or image.size == 0:
        more = "" if channels in (1, 3) else f" or (H,W,{channels})"
        raise UnfoldError(f"an image is (H,W), (H,W,1) or (H,W,3){more}, not {image.shape}")
    if image.dtype in (np.uint8, np.uint16):
        return
    if image.dtype.kind != "f":
        raise UnfoldError(f"an image is uint8, uint16 or floating-point in [0,1], not {image.dtype}")
    least, most = float(image.min()), float(image.max())
    if not (least >= -1 and most <= 2):  # noise may reach a little beyond [0,1]
        raise UnfoldError(f"a floating-point image is in [0,1]; this one has values from {least:g} to {most:g}")


def check_inputs(net: UnfoldingNetwork, given: dict[str, Any], size: tuple[int, ...] | None = None) -> dict[str, Any]:
    """The inputs beside the picture in the form that the network takes; UnfoldError for one too many, missing or unfit.

    size: height and width of the picture, which those inputs have that are as large as it.
    """
    name = type(net).__name__
    if net.not_for_pictures:
        raise UnfoldError(net.not_for_pictures)
    known = {key: one for key, one in net.inputs.items() if key != net.picture}
    if wrong := sorted(set(given) - set(known)):
        raise UnfoldError(f"{name} does not take {', '.join(wrong)}")
    if missing := sorted(set(net.required) - {net.picture} - set(given)):
        raise UnfoldError(f"{name} also takes {', '.join(missing)}: give {'it' if len(missing) == 1 else 'them'}")
    return {key: _checked(key, known[key], value, size) for key, value in given.items()}


def _checked(name: str, one: Input, value: Any, size: tuple[int, ...] | None) -> Any:
    if one.kind == "kernel":
        kernel = np.asarray(value, np.float64)
        if kernel.ndim != 2 or not np.isfinite(kernel).all() or not kernel.sum() > 0:
            raise UnfoldError(f"{name} is a matrix of finite numbers with a positive sum, not of shape {kernel.shape}")
        return centred_in_odd_square(kernel / kernel.sum()).astype(np.float32)
    if one.kind == "image":
        return _image_input(name, one, np.asarray(value), size)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.integer | np.floating)
        or not np.isfinite(value)
    ):
        raise UnfoldError(f"{name} is a number, not {value!r}")
    if one.kind == "whole" and (value != int(value) or (one.least is not None and value < one.least)):
        raise UnfoldError(f"{name} is a whole number of at least {one.least or 0:g}, not {value}")
    if one.kind == "level" and not 0 <= value <= 1:
        raise UnfoldError(f"{name} is a standard deviation in [0,1] units, not {value:g}")
    return value


def _image_input(name: str, one: Input, value: NDArray[Any], size: tuple[int, ...] | None) -> NDArray[np.float32]:
    """(H,W,C) float32 in [0,1], as large as the picture."""
    image = value[..., None] if value.ndim == 2 else value
    if image.ndim != 3 or image.shape[2] not in (1, one.channels) or (size is not None and image.shape[:2] != size[:2]):
        wanted = f"({size[0]},{size[1]},{one.channels})" if size is not None else f"(H,W,{one.channels})"
        raise UnfoldError(f"{name} is as large as the picture, {wanted}, and this one is {value.shape}")
    if image.dtype == bool or image.dtype in (np.uint8, np.uint16):
        image = image.astype(np.float32) / np.float32(1 if image.dtype == bool else np.iinfo(image.dtype).max)
    elif image.dtype.kind != "f":
        raise UnfoldError(f"{name} is uint8, uint16, bool or floating-point, not {image.dtype}")
    if not np.isfinite(image).all():
        raise UnfoldError(f"{name} holds numbers that are not finite")
    return np.repeat(image, one.channels // image.shape[2], axis=2).astype(np.float32)
