"""Images in NumPy's .npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from unfold.errors import UnfoldError, reason_of
from unfold.util.arrays import Array


def read_array_image(path: Path) -> Array:
    """Read a .npy file of (H,W) or (H,W,C) as (H,W,C): uint8, uint16, or float32 in [0,1].

    UnfoldError where it is missing, damaged, or has objects, other shapes or other numbers; the header is read first.
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
        raise UnfoldError(f"{path} says that it has {mapped.shape[0]}x{mapped.shape[1]} pixels: too large to be read")
    try:
        array = np.array(mapped)
    except MemoryError:
        raise UnfoldError(f"{path} does not fit into memory") from None
    return checked_numbers(array if array.ndim == 3 else array[..., None], path)


def checked_numbers(array: Array, path: Path) -> Array:
    """uint8 and uint16 as they are, in the machine's byte order; floats in [0,1] as float32. UnfoldError for others."""
    if array.dtype.kind == "u" and array.itemsize <= 2:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind != "f":
        raise UnfoldError(f"{path} holds numbers of kind {array.dtype}; uint8, uint16 and floats in [0,1] are taken")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):  # also where one is NaN
        raise UnfoldError(
            f"{path} holds floats from {low:g} to {high:g}, and they have to be in [0,1]: divide by the peak"
        )
    return array.astype(np.float32)
