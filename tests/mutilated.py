"""Damaged and odd image files, as data sets collect them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tests.synthetic import scene


def encoded(picture: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def truncated(rng: np.random.Generator) -> tuple[str, bytes]:
    kind, extension = [("PNG", "png"), ("JPEG", "jpg"), ("BMP", "bmp"), ("TIFF", "tif"), ("WEBP", "webp")][
        rng.integers(5)
    ]
    data = encoded(rng.integers(0, 256, (40, 50, 3)).astype(np.uint8), kind)
    return extension, data[: int(len(data) * rng.uniform(0.2, 0.8))]


def broken(rng: np.random.Generator) -> tuple[str, bytes]:
    """Bytes in the middle of a PNG are changed: its checksums show it."""
    data = bytearray(encoded(rng.integers(0, 256, (40, 50, 3)).astype(np.uint8), "PNG"))
    place = len(data) // 2
    data[place : place + 8] = bytes(byte ^ 255 for byte in data[place : place + 8])
    return "png", bytes(data)


def words(rng: np.random.Generator) -> tuple[str, bytes]:
    return "jpg", b"<html>Sign in to download</html>" + rng.bytes(5).hex().encode()


def empty(rng: np.random.Generator) -> tuple[str, bytes]:
    return ["png", "jpg", "tif"][rng.integers(3)], b""


def zeros(rng: np.random.Generator) -> tuple[str, bytes]:
    """What is left after a crash: the length is right, the content never reached the disk."""
    return "png", bytes(int(rng.integers(100, 5000)))


def tiny(rng: np.random.Generator) -> tuple[str, bytes]:
    return "png", encoded(rng.integers(0, 256, (1, 1, 3)).astype(np.uint8), "PNG")


def cmyk(rng: np.random.Generator) -> tuple[str, bytes]:
    file = io.BytesIO()
    Image.fromarray(scene(seed=int(rng.integers(99)))).convert("CMYK").save(file, "JPEG")
    return "jpg", file.getvalue()


def animated(rng: np.random.Generator) -> tuple[str, bytes]:
    kind = ["png", "webp", "tif"][rng.integers(3)]
    more = [Image.fromarray(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)) for _ in range(2)]
    return kind, encoded(scene(), {"tif": "TIFF"}.get(kind, kind.upper()), save_all=True, append_images=more)


def transparent(rng: np.random.Generator) -> tuple[str, bytes]:
    return "png", encoded(rng.integers(0, 256, (64, 64, 4)).astype(np.uint8), "PNG")


def huge(rng: np.random.Generator) -> tuple[str, bytes]:
    """A header that promises 3.6 gigapixels, and next to no data."""
    side = int(rng.integers(50000, 60000))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return "png", b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def deep(rng: np.random.Generator) -> tuple[str, bytes]:
    picture = rng.integers(0, 65536, (64, 64, 3)).astype(np.uint16)
    return "png", cv2.imencode(".png", picture)[1].tobytes()


def called_wrongly(rng: np.random.Generator) -> tuple[str, bytes]:
    return "png", encoded(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8), "JPEG")


# Kind -> (whether it is an error, a part of the reason that the doctor gives).
KINDS: dict[Callable[[np.random.Generator], tuple[str, bytes]], tuple[bool, str]] = {
    truncated: (True, "cannot be read: |is not an image"),
    broken: (True, "cannot be read: "),
    words: (True, "is not an image that can be read"),
    empty: (True, r"is empty \(0 bytes\)"),
    zeros: (True, "is not an image that can be read"),
    tiny: (True, "is 1x1 pixels, and at least 8x8 are needed"),
    cmyk: (True, "is of kind CMYK"),
    animated: (True, "holds 3 pictures"),
    transparent: (True, r"is transparent in places \(RGBA\)"),
    huge: (True, "says that it has more than 89 million pixels"),
    deep: (False, "is RGB 16 bits, and most of"),
    called_wrongly: (False, "is JPEG by its content"),
}


def write_mutilated(folder: Path, count: int) -> dict[Path, tuple[bool, str]]:
    """Write so many files, of all kinds in turn, each of other content: path -> what the doctor has to say."""
    folder.mkdir(parents=True)
    expected = {}
    kinds = list(KINDS)
    for i in range(count):
        kind = kinds[i % len(kinds)]
        extension, data = kind(np.random.default_rng(i))
        path = folder / f"{i:03d}_{kind.__name__}.{extension}"
        path.write_bytes(data)
        expected[path] = KINDS[kind]
    return expected
