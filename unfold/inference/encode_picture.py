"""Encode pixels as the bytes of a picture file, with colour profile and EXIF."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unfold.util.arrays import Array

JPEG: dict[str, object] = {"quality": 95, "subsampling": 0}
OPTIONS: dict[str, dict[str, object]] = {
    **dict.fromkeys((".jpg", ".jpeg", ".jfif"), JPEG),
    ".webp": {"lossless": True, "exact": True},
}


def encode(
    pixels: Array,
    alpha: Array | None,
    suffix: str,
    profile: bytes | None,
    exif: bytes | None,
    quality: int | None = None,
) -> bytes:
    """Encode an image (H,W,C), grey or RGB, uint8 (.png and .tif also uint16), with alpha (H,W) or without; .tif takes
    any number of channels. quality, 1 to 100: for JPEG, and for WebP, which is lossless without it.

    TIFF is not compressed: with compression, Pillow fails for EXIF of cameras. Encoders raise errors of any kind.
    """
    if pixels.shape[2] not in (1, 3):
        return _plain_tiff(pixels, "minisblack", profile)
    array = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    if array.dtype == np.uint16:
        expanded = array[..., [0, 0, 0, 1]] if array.shape[2] == 2 else array  # OpenCV cannot write grey with alpha
        if suffix == ".png":
            return _deep_png(expanded, profile, exif)
        return _plain_tiff(expanded, "rgb" if expanded.shape[2] > 2 else "minisblack", profile)
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    metadata = {key: value for key, value in (("icc_profile", profile), ("exif", exif)) if value is not None}
    options = OPTIONS.get(suffix, {})
    if quality is not None and options:
        options = {**options, "quality": quality, **({"lossless": False} if suffix == ".webp" else {})}
    whole = BytesIO()
    image.save(whole, format=Image.registered_extensions()[suffix], **options, **metadata)
    return whole.getvalue()


def _deep_png(array: NDArray[np.uint16], profile: bytes | None, exif: bytes | None) -> bytes:
    """A PNG of 16 bits by OpenCV. It writes no profile and no EXIF, so their chunks are put after the header."""
    import cv2

    order = [2, 1, 0, 3][: array.shape[2]] if array.shape[2] > 1 else [0]
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(array[..., order]))
    png = encoded.tobytes()
    chunks = b""
    if profile is not None:
        chunks += _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(profile))
    if exif is not None:
        chunks += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return png[:33] + chunks + png[33:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _plain_tiff(array: Array, photometric: str, profile: bytes | None) -> bytes:
    import tifffile

    whole = BytesIO()
    tifffile.imwrite(
        whole,
        array[..., 0] if array.shape[2] == 1 else array,
        photometric=photometric,
        planarconfig=None if array.shape[2] == 1 else "contig",
        extrasamples=["unassalpha"] if photometric == "rgb" and array.shape[2] == 4 else None,
        iccprofile=profile,
        metadata=None,
    )
    return whole.getvalue()
