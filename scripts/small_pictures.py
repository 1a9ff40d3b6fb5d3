"""Small pictures from a seed, as the bytes of files."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

Rng = np.random.Generator


class Content(NamedTuple):
    """A file's ending and bytes; whole: the bytes before the damage, where a result must show the same pixels."""

    suffix: str
    data: bytes
    whole: bytes | None = None


def noisy(rng: Rng, height: int = 0, width: int = 0, channels: int = 3, deep: bool = False) -> NDArray[Any]:
    """Smooth colours under noise; between 17 and 40 pixels on a side."""
    height, width = height or int(rng.integers(17, 41)), width or int(rng.integers(17, 41))
    ramp = np.linspace(0.2, 0.8, height * width).reshape(height, width, 1) * rng.uniform(0.6, 1, channels)
    peak = 65535 if deep else 255
    values = (ramp + rng.normal(0, 0.03, ramp.shape)).clip(0, 1) * peak
    array = values.astype(np.uint16 if deep else np.uint8)
    return array[..., 0] if channels == 1 else array


def saved_as(image: Image.Image | NDArray[Any], suffix: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, Image.registered_extensions()[suffix], **options)
    return file.getvalue()


def tiff_of(array: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, metadata=None, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(array: NDArray[Any], extra: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG of 8 or 16 bits written by hand; extra: chunks behind the header."""
    rows = array[..., None] if array.ndim == 2 else array
    height, width, channels = rows.shape
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    raw = b""
    for top, left, down, right in passes:
        part = rows[top::down, left::right].astype(">u2" if array.dtype == np.uint16 else np.uint8)
        raw += b"".join(b"\0" + row.tobytes() for row in part if row.size)
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 8 * array.dtype.itemsize, colour, 0, 0, int(interlaced))
    return SIGNATURE + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
PLAIN = (".png", ".jpg", ".tif", ".webp", ".bmp")


def pick(rng: Rng, *choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def sound(rng: Rng, *suffixes: str) -> Content:
    suffix = pick(rng, *(suffixes or PLAIN))
    return Content(suffix, saved_as(noisy(rng), suffix))
