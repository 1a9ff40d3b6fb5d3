"""Read DND's files, MATLAB's version 7.3 (HDF5), with reversed axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.data.formats.mat_files import reading, stored, transposed
from unfold.errors import UnfoldError
from unfold.util.arrays import Array

BOXES = "info/boundingboxes"
IMAGE = "InoisySRGB"


def count_images(info: Path) -> int:
    """The number of images with boxes in info.mat. UnfoldError where it is missing or damaged."""
    import h5py

    with reading(info), h5py.File(info) as file:
        return int(stored(file, BOXES, info).size)


def read_crops(path: Path, info: Path, index: int) -> list[NDArray[np.float32]]:
    """The boxes of info.mat for image ``index`` (from 0), cut out of it: (h,w,3) float32 in [0,1], in order.

    Boxes are rows of first row, first column, last row, last column, counted from 1, the last included. UnfoldError
    if a file is missing, damaged, or has a box beyond its image.
    """
    import h5py

    with reading(info), h5py.File(info) as file:
        boxes = transposed(file[stored(file, BOXES, info)[()].ravel()[index]])
    if boxes.ndim != 2 or boxes.shape[1] != 4 or len(boxes) == 0:
        raise UnfoldError(f"{info}: the boxes of image {index + 1} are {list(boxes.shape)}, not [20, 4]")
    with reading(path), h5py.File(path) as file:
        image = stored(file, IMAGE, path)
        if image.ndim != 3 or image.shape[0] != 3 or image.dtype.kind != "f":
            raise UnfoldError(
                f"{path}: {IMAGE} is {image.dtype} {list(image.shape[::-1])}, and a colour image of floats is wanted"
            )
        return [_crop(image, box, path) for box in boxes]


def _crop(image: Any, box: Array, path: Path) -> NDArray[np.float32]:
    top, left, bottom, right = (int(value) for value in box)
    width, height = image.shape[1:]
    if not (1 <= top <= bottom <= height and 1 <= left <= right <= width):
        raise UnfoldError(f"{path} is {width}x{height}, and its box {[top, left, bottom, right]} is not inside")
    pixels = image[:, left - 1 : right, top - 1 : bottom].T.astype(np.float32)
    if not np.isfinite(pixels).all():
        raise UnfoldError(f"{path} is damaged: it has values that are not finite")
    return np.ascontiguousarray(pixels)
