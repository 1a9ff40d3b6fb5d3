"""TIFF of bands: channels that are neither grey nor colour with alpha."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from unfold.data.formats.array_files import checked_numbers
from unfold.errors import UnfoldError
from unfold.util.arrays import Array

MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GREY, COLOUR = (0, 1), 2
ALPHA = (1, 2)


class Bands(NamedTuple):
    """pixels (H,W,C) as stored, uint8 or uint16; their EXIF orientation, 1 to 8; colour profile."""

    pixels: Array
    orientation: int
    profile: bytes | None


def read_bands(path: Path, largest: float, wanted: int | None = None) -> Bands | None:
    """Read the bands of a TIFF; None for other files, and for grey or RGB, with or without alpha.

    Bands are several grey channels whose last one is not marked as alpha, or two or more channels besides RGB.
    largest: bytes that the pixels may take. wanted: number of channels of the network, for data: so many channels count
    as bands also where they are marked as colour with alpha, or stored as pages; and floats in [0,1] are accepted.
    UnfoldError for several pages, for numbers that are not unsigned 8 or 16 bits, and for too large files; damaged
    files raise any error.
    """
    with path.open("rb") as file:
        if file.read(4) not in MARKS:
            return None
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        photometric, extra = int(page.photometric), [int(one) for one in page.extrasamples]
        if photometric in GREY:
            bands = page.samplesperpixel > 1 and not (page.samplesperpixel == 2 and extra and extra[0] in ALPHA)
        else:
            bands = photometric == COLOUR and page.samplesperpixel > 4
        if wanted is not None and photometric in (*GREY, COLOUR):
            bands = (
                bands
                or page.samplesperpixel == wanted not in (1, 3)
                or (page.dtype is not None and page.dtype.kind == "f")
            )
            if len(tiff.pages) > 1 and wanted not in (1, 3):
                stack = _stacked(tiff, wanted, largest)
                if stack is not None:
                    return Bands(checked_numbers(stack, path), 1, None)
        if not bands:
            return None
        if len(tiff.pages) > 1:
            raise UnfoldError(f"{path} holds {len(tiff.pages)} pictures (pages), and one is wanted")
        floats = wanted is not None and page.dtype in (np.float16, np.float32, np.float64)
        if not (floats or page.dtype in (np.uint8, np.uint16)) or photometric == 0:
            kind = "white as zero" if photometric == 0 else f"numbers of kind {page.dtype}"
            raise UnfoldError(f"{path} has {page.samplesperpixel} channels of {kind}; 8 and 16 bits are taken")
        height, width = page.imagelength, page.imagewidth
        size = page.samplesperpixel * height * width * page.dtype.itemsize
        if size > largest or height * width > 2 * (Image.MAX_IMAGE_PIXELS or np.inf):
            raise UnfoldError(f"{path} is {width}x{height}, {size / 1e9:.1f} GB: more than memory allows here")
        pixels = page.asarray()
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, 2)
        if pixels.shape != (height, width, page.samplesperpixel):
            raise UnfoldError(f"{path} has channels in a layout that is not read here")
        orientation, profile = page.tags.valueof(274, 1), page.tags.valueof(34675)
        pixels = checked_numbers(pixels, path)
        return Bands(np.ascontiguousarray(pixels), int(orientation), profile if isinstance(profile, bytes) else None)


def _stacked(tiff: Any, wanted: int, largest: float) -> Array | None:
    """Stack grey pages that are the bands, or arrays (H,W,C) that tifffile wrote row by row; None for other pages."""
    series = tiff.series
    if len(series) != 1 or len(series[0].shape) != 3:
        return None
    shape = series[0].shape
    limit = 2 * (Image.MAX_IMAGE_PIXELS or np.inf)
    if wanted not in (shape[0], shape[2]) or series[0].nbytes > largest or np.prod(shape) / wanted > limit:
        return None
    stack: Array = series[0].asarray()
    return np.ascontiguousarray(np.moveaxis(stack, 0, 2) if shape[0] == wanted else stack)
