"""Check pictures and the other inputs of a network before restoring."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from unfold.errors import UnfoldError
from unfold.facts import Input
from unfold.inference.picture_kinds import as_array
from unfold.models.check_call import check_precision, checked_number
from unfold.models.unfolding import UnfoldingNetwork
from unfold.physics.kernels import centred_in_odd_square
from unfold.util.arrays import Array, Named, is_grey
from unfold.util.value_checks import MOST, found_range, in_range

logger = logging.getLogger("unfold")


def check_measurement(image: Array, net: UnfoldingNetwork) -> None:
    """UnfoldError if :func:`restore` does not take this array for the network, or the network as it is."""
    if net.not_for_pictures:
        raise UnfoldError(net.not_for_pictures)
    check_precision(net)
    check_image(image, net.measured_channels)
    count = 1 if image.ndim == 2 else image.shape[2]
    if net.measured_channels == 1 < net.channels and count > 1 and not is_grey(image):
        raise UnfoldError(
            f"{type(net).__name__} takes a grey picture (one channel) and makes {net.channels} of it; this one is of "
            f"{count} channels"
        )


def check_image(image: Array, channels: int = 3) -> None:
    """UnfoldError if an array is not a picture for a network of so many channels."""
    allowed = (1, 3, channels)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in allowed) or image.size == 0:
        more = "" if channels in (1, 3) else f" or (H,W,{channels})"
        first = image.ndim == 3 and image.shape[0] in allowed
        hint = ": channels come last, image.transpose(1, 2, 0)" if first else ""
        raise UnfoldError(f"an image is (H,W), (H,W,1) or (H,W,3){more}, not {image.shape}{hint}")
    if image.dtype in (np.uint8, np.uint16):
        return
    if image.dtype.kind != "f":
        raise UnfoldError(f"an image is uint8, uint16 or floating-point in [0,1], not {image.dtype}")
    least, most = float(image.min()), float(image.max())
    if not in_range(least, most):
        how = ": divide by 255 what is in 0..255" if most > MOST else ""
        raise UnfoldError(f"a floating-point image is in [0,1]; this one has {found_range(least, most)}{how}")
    if least < 0 and np.count_nonzero(image < 0) > image.size / 2:  # noise alone brings half of a black one below 0
        logger.warning(
            "note: most of the picture is below 0, it has %s: it is taken as one in [0,1] with noise, and cut off at "
            "0; (x + 1) / 2 makes [0,1] of [-1,1]",
            found_range(least, most),
        )


def check_inputs(net: UnfoldingNetwork, given: Named, size: tuple[int, ...] | None = None) -> Named:
    """The inputs besides the picture in the form that the network takes; UnfoldError for an unknown, missing or bad
    one.

    size: height and width of the picture, which image inputs must match.
    """
    name = type(net).__name__
    known = {key: one for key, one in net.inputs.items() if key != net.picture}
    if wrong := sorted(set(given) - set(known)):
        raise UnfoldError(f"{name} does not take {', '.join(wrong)}")
    if missing := sorted(set(net.required) - {net.picture} - set(given)):
        raise UnfoldError(f"{name} also takes {', '.join(missing)}: give {'it' if len(missing) == 1 else 'them'}")
    return {key: _checked(key, known[key], value, size) for key, value in given.items()}


def _checked(name: str, one: Input, value: object, size: tuple[int, ...] | None) -> object:
    value = as_array(value)
    if one.kind == "kernel":
        try:
            kernel = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise UnfoldError(f"{name} is a matrix of numbers, not {type(value).__name__}") from None
        while kernel.ndim > 2 and len(kernel) == 1:  # a batch or channel axis, as networks take it
            kernel = kernel[0]
        if kernel.ndim != 2 or not np.isfinite(kernel).all() or not kernel.sum() > 0:
            raise UnfoldError(f"{name} is a matrix of finite numbers with a positive sum, not of shape {kernel.shape}")
        return centred_in_odd_square(kernel / kernel.sum()).astype(np.float32)
    if one.kind == "image":
        return _image_input(name, one, _turned(value, size), size)
    return checked_number(name, one, value)


def _turned(value: object, size: tuple[int, ...] | None) -> Array:
    """An image input with channels last, from a tensor (1,C,H,W) or (C,H,W) or an array."""
    image = np.asarray(value)
    image = image[0] if image.ndim == 4 and len(image) == 1 else image
    first = size is not None and image.ndim == 3 and image.shape[:2] != size[:2] and image.shape[1:] == size[:2]
    return image.transpose(1, 2, 0) if first else image


def _image_input(name: str, one: Input, value: Array, size: tuple[int, ...] | None) -> NDArray[np.float32]:
    """(H,W,C) float32 in [0,1], as large as the picture."""
    image = value[..., None] if value.ndim == 2 else value
    if image.ndim != 3 or image.shape[2] not in (1, one.channels) or (size is not None and image.shape[:2] != size[:2]):
        wanted = f"({size[0]},{size[1]},{one.channels})" if size is not None else f"(H,W,{one.channels})"
        raise UnfoldError(f"{name} is as large as the picture, {wanted}, and this one is {value.shape}")
    if (
        image.dtype in (np.uint8, np.uint16) and image.size and image.max() == 1
    ):  # else the values would be 1/255 of what is meant
        raise UnfoldError(f"{name} holds whole numbers 0 and 1, and 1 is nearly 0: give 0 and 255, bool or floats")
    if image.dtype == bool or image.dtype in (np.uint8, np.uint16):
        image = image.astype(np.float32) / np.float32(1 if image.dtype == bool else np.iinfo(image.dtype).max)
    elif image.dtype.kind != "f":
        raise UnfoldError(f"{name} is uint8, uint16, bool or floating-point, not {image.dtype}")
    if not in_range(least := float(image.min()), most := float(image.max())):
        raise UnfoldError(f"{name} is in [0,1], and this one has {found_range(least, most)}")
    if one.check is not None:
        for channel in range(image.shape[2]):
            one.check(name, image[..., channel])
    return np.repeat(image, one.channels // image.shape[2], axis=2).astype(np.float32)
