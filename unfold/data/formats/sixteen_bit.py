"""Read pixels of 16 bits per channel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unfold.errors import UnfoldError
from unfold.util.arrays import Array

# TIFF tags: the values that OpenCV supports, and the meaning of others, for which it silently returns wrong pixels.
SUPPORTED = {
    262: ({1, 2}, "grey from white to black, or other colours than RGB"),
    284: ({1}, "a plane for each colour"),
    338: ({2}, "alpha that is multiplied in, or a channel of no stated meaning"),
    339: ({1}, "numbers with a sign or a point"),
}
HEAD = 1 << 20  # bytes of a JPEG 2000 file within which its codestream starts


def read_deep(path: Path, transparent: object = None) -> NDArray[np.uint16]:
    """Read 16 bits per channel, which Pillow would cut to 8, from PNG, TIFF, PPM or JPEG 2000: (H,W), or (H,W,C) in RGB
    order, alpha last. The maximum value stated by a PPM, or of JPEG 2000 with 9 to 15 bits, becomes 65535. transparent:
    the transparent grey value or colour of a PNG, which becomes an alpha channel. UnfoldError for files that OpenCV
    does not read, or would read wrongly.
    """
    import cv2

    peak = 65535
    with Image.open(path, formats=("PNG", "TIFF", "PPM", "JPEG2000")) as image:
        check_layout(image, path)
        if image.format == "PPM":
            return _deep_ppm(image, path)
        if image.format == "JPEG2000":
            peak = 2 ** jpeg2000_bits(image) - 1
    array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.ndim not in (2, 3):
        raise UnfoldError(f"{path} has 16 bits per channel in a layout that cannot be read, or is damaged")
    if array.ndim == 3 and array.shape[2] >= 3:
        array = array[..., [2, 1, 0, *range(3, array.shape[2])]]
    if transparent is not None and (array.ndim == 2 or array.shape[2] == 3):  # OpenCV makes alpha of some itself
        colours = np.atleast_3d(array)
        alpha = np.where((colours == np.asarray(transparent)).all(axis=2), 0, 65535)
        array = np.dstack([colours, alpha.astype(np.uint16)])
    return np.ascontiguousarray(array if peak == 65535 else _stretched(array, peak))


def _stretched(array: Array, peak: int) -> NDArray[np.uint16]:
    """Integers from 0 to peak as integers from 0 to 65535."""
    return np.rint(array.clip(0, peak) * (65535 / peak)).astype(np.uint16)


def _deep_ppm(image: Any, path: Path) -> NDArray[np.uint16]:
    """A PPM or PGM, binary or in decimals: OpenCV ignores the maximum value, and does not read every variant."""
    codec, (_, _, width, height), offset, given = image.tile[0]
    peak = next((value for value in given if isinstance(value, int)), 65535) if isinstance(given, tuple) else 65535
    shape = (height, width) if image.mode in ("I", "I;16B", "I;16", "L") else (height, width, 3)
    count = int(np.prod(shape))
    data = path.read_bytes()[offset:]
    if codec == "ppm_plain":
        words = re.sub(rb"#[^\n]*", b"", data).split()[:count]
        values = np.array([int(word) for word in words], np.int64)
    else:
        values = np.frombuffer(data, ">u2", min(count, len(data) // 2))
    if len(values) < count:
        raise UnfoldError(f"{path} cannot be read: it is cut off")
    return _stretched(values.reshape(shape), peak)


def jpeg2000_bits(image: Any) -> int:
    """Bits per channel of a JPEG 2000 file that is opened but not loaded, from its codestream header."""
    place = image.fp.tell()
    image.fp.seek(0)
    start = image.fp.read(HEAD)
    image.fp.seek(place)
    at = start.find(b"\xff\x4f\xff\x51") + 42
    if not 42 <= at < len(start):
        raise UnfoldError("the head of the JPEG 2000 codestream is missing")
    if start[at] & 0x80:
        raise UnfoldError("JPEG 2000 with signed numbers is not read: save it as PNG")
    return start[at] + 1


def check_layout(image: Any, path: Path) -> None:
    """UnfoldError for an image of 16 bits per channel, opened by Pillow, whose layout OpenCV does not support."""
    tags = image.tag_v2 if image.format == "TIFF" else {}
    for tag, (supported, what) in SUPPORTED.items():
        if tag == 284 and tags.get(277, 1) == 1:  # grey is one plane in any case
            continue
        given = tags.get(tag, ())
        if not set(given if isinstance(given, tuple) else (given,)) <= supported:
            raise UnfoldError(f"{path} has 16 bits per channel and {what}; save it as PNG")
