"""TIFF of bands: channels that are neither grey nor colour with alpha."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unfold.errors import UnfoldError

MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GREY, COLOUR = (0, 1), 2
ALPHA = (1, 2)


class Bands(NamedTuple):
    """pixels (H,W,C) as stored, uint8 or uint16; how they are to be turned, 1 to 8; colour profile."""

    pixels: NDArray[Any]
    orientation: int
    profile: bytes | None


def read_bands(path: Path, largest: float) -> Bands | None:
    """The bands of a TIFF; None for other files, and for one that is grey or RGB, with alpha or without.

    Bands are several channels of grey, of which the last is not said to be alpha, and two or more beside RGB.
    largest: bytes that the pixels may take. UnfoldError for several pages, for numbers that are not of 8 or 16 bits
    without a sign, and for what is too large; errors of any kind for damage.
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
        if not bands:
            return None
        if len(tiff.pages) > 1:
            raise UnfoldError(f"{path} holds {len(tiff.pages)} pictures (pages), and one is wanted")
        if page.dtype not in (np.uint8, np.uint16) or photometric == 0:
            kind = "white as zero" if photometric == 0 else f"numbers of kind {page.dtype}"
            raise UnfoldError(f"{path} has {page.samplesperpixel} channels of {kind}; 8 and 16 bits are taken")
        height, width = page.imagelength, page.imagewidth
        size = page.samplesperpixel * height * width * page.dtype.itemsize
        if size > largest or height * width > 2 * (Image.MAX_IMAGE_PIXELS or np.inf):
            raise UnfoldError(f"{path} is {height}x{width}, {size / 1e9:.1f} GB: more than memory allows here")
        pixels = page.asarray()
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, 2)
        if pixels.shape != (height, width, page.samplesperpixel):
            raise UnfoldError(f"{path} has channels in a layout that is not read here")
        orientation, profile = page.tags.valueof(274, 1), page.tags.valueof(34675)
        return Bands(np.ascontiguousarray(pixels), int(orientation), profile if isinstance(profile, bytes) else None)
