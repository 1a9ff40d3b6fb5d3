"""Images in NumPy's .npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from unfold.errors import UnfoldError, reason_of
from unfold.util.arrays import Array, width_x_height
from unfold.util.value_checks import in_range


def read_array_image(path: Path, largest: float = float("inf"), *, noisy: bool = False) -> Array:
    """Read a .npy file of (H,W) or (H,W,C) as (H,W,C): uint8, uint16, or float32 in [0,1], with noise in [-2,3].

    largest: bytes that it may take. UnfoldError where it is missing, damaged, or has objects, other shapes or other
    numbers; the header is read first.
    """
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UnfoldError(f"there is no image {path}") from None
    except Exception as error:  # damage of any kind
        raise UnfoldError(f"{path} is no array that can be read: {reason_of(error)}") from None
    if not isinstance(mapped, np.ndarray) or mapped.ndim not in (2, 3) or mapped.size == 0:
        shape = getattr(mapped, "shape", "several arrays")
        raise UnfoldError(f"{path} is an array of shape {shape}, and an image is (H,W) or (H,W,C)")
    if mapped.shape[0] * mapped.shape[1] > (Image.MAX_IMAGE_PIXELS or np.inf):
        raise UnfoldError(f"{path} says that it has {width_x_height(mapped.shape)} pixels: too large to be read")
    if mapped.nbytes > largest:
        raise UnfoldError(f"{path} takes {mapped.nbytes / 1e9:.1f} GB: more than memory allows here")
    try:
        array = np.array(mapped)
    except MemoryError:
        raise UnfoldError(f"{path} does not fit into memory") from None
    return checked_numbers(array if array.ndim == 3 else array[..., None], path, noisy=noisy)


def checked_numbers(array: Array, path: Path, *, noisy: bool = False) -> Array:
    """uint8 and uint16 as they are, in the machine's byte order; floats in [0,1] as float32, noisy ones in [-2,3].
    UnfoldError for others.
    """
    if array.dtype.kind == "u" and array.itemsize <= 2:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind != "f":
        raise UnfoldError(f"{path} holds numbers of kind {array.dtype}; uint8, uint16 and floats in [0,1] are taken")
    low, high = array.min(), array.max()
    if not (in_range(low, high) if noisy else low >= 0 and high <= 1):  # also where one is NaN
        within = "in [0,1], with noise in [-2,3]" if noisy else "in [0,1]"
        raise UnfoldError(
            f"{path} holds floats from {low:g} to {high:g}, and they have to be {within}: divide by the peak"
        )
    return array.astype(np.float32)
