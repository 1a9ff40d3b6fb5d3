"""Pixels of 16 bits per channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unfold.errors import UnfoldError

# Tags of a TIFF: the values that OpenCV heeds, and what others mean. With those it would give other pixels, silently.
HEEDED = {
    262: ({1, 2}, "grey from white to black, or other colours than RGB"),
    284: ({1}, "a plane for each colour"),
    338: ({2}, "alpha that is multiplied in, or a channel of no stated meaning"),
    339: ({1}, "numbers with a sign or a point"),
}


def read_deep(path: Path) -> NDArray[np.uint16]:
    """16 bits per channel, which Pillow would cut to 8, of PNG, TIFF or PPM: (H,W), or (H,W,C) in RGB order, alpha
    last. UnfoldError for what OpenCV does not read, or would read wrongly.
    """
    import cv2

    with Image.open(path, formats=("PNG", "TIFF", "PPM")) as image:
        check_layout(image, path)
    array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.ndim not in (2, 3):
        raise UnfoldError(f"{path} has 16 bits per channel in a layout that cannot be read, or is damaged")
    if array.ndim == 3 and array.shape[2] >= 3:
        array = array[..., [2, 1, 0, *range(3, array.shape[2])]]
    return np.ascontiguousarray(array)


def check_layout(image: Any, path: Path) -> None:
    """UnfoldError for an image of 16 bits per channel, opened by Pillow, whose layout OpenCV does not heed."""
    tags = image.tag_v2 if image.format == "TIFF" else {}
    for tag, (heeded, what) in HEEDED.items():
        if tag == 284 and tags.get(277, 1) == 1:  # grey alone is one plane in any case
            continue
        told = tags.get(tag, ())
        if not set(told if isinstance(told, tuple) else (told,)) <= heeded:
            raise UnfoldError(f"{path} has 16 bits per channel and {what}; save it as PNG")
