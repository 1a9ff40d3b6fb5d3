"""Which picture files are read, for training and for restoring alike, and how one is opened."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from unfold.errors import UnfoldError, reason_of

# No others: for some, Pillow starts programs. TGA has no mark to be known by, and is tried where the name says so.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF", "JPEG2000", "AVIF", "HEIF", "TGA")
# The endings of their names, by which folders are searched.
EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".gif", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".tga"),
)
INSTALL = 'pip install "unfold-restoration[formats]"'
# Files that begin so are pictures, and not of ours.
FOREIGN = {
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"%PDF": "a PDF",
    b"<svg": "SVG",
    b"DDS ": "DDS",
    b"qoif": "QOI",
    b"\0\0\1\0": "an icon",
    b"IIRO": "a camera's raw file",
    b"IIU\0": "a camera's raw file",
    b"FUJIFILMCCD-RAW": "a camera's raw file",
}
BITS = 65_536  # bytes of an AVIF in which its depth is looked for
SUBFILE, DNG = 254, 50706  # tags of a TIFF: what its first picture is to the others; that it is a raw file


class MissingReader(UnfoldError):
    """A picture that would be read if another package were installed."""


@contextmanager
def open_picture(path: Path, noun: str = "picture", *, bombs: bool = False) -> Iterator[Any]:
    """A picture file by Pillow, whose header is read and whose pixels are not; its content counts, and not its name.

    What goes wrong inside, too, becomes one UnfoldError that says ``noun`` for the file; MissingReader for HEIC and
    AVIF where nothing reads them. bombs: also take what Pillow warns of as too large, up to twice its limit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on metadata; a damaged picture raises as well
            if not bombs:
                warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Of a path, Pillow maps uncompressed files, and in 13.0 jumbles a grey TIFF that is to be turned.
            with path.open("rb") as file:
                start = file.read(64)
                file.seek(0)
                with Image.open(file, formats=_formats(path, start)) as image:
                    _check_kind(path, image)
                    yield image
    except UnfoldError:
        raise
    except FileNotFoundError:
        raise UnfoldError(f"there is no {noun} {path}") from None
    except UnidentifiedImageError:
        raise UnfoldError(f"{path} is {_what_else(start, noun)}") from None
    except MemoryError:
        raise UnfoldError(f"{path} does not fit into memory") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        if bombs:
            raise UnfoldError(f"{path} cannot be read: {reason_of(error)}") from None
        million = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise UnfoldError(f"{path} says that it has more than {million} million pixels: too large to be read") from None
    except Exception as error:  # decoders meet damage with errors of any kind
        raise UnfoldError(f"{path} cannot be read: {reason_of(error)}") from None


def _formats(path: Path, start: bytes) -> list[str]:
    """Pillow's names of what may be tried. MissingReader where the file is of a kind that nothing here reads."""
    Image.init()
    kind = _newer_kind(start)
    if kind == "HEIF" and kind not in Image.OPEN:
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            raise MissingReader(f"{path} is HEIC: {INSTALL} lets it be read") from None
    if kind == "AVIF" and not _reads_avif():
        raise MissingReader(f"{path} is AVIF, which this Pillow does not read: {INSTALL} lets it be read")
    return [name for name in FORMATS if name in Image.OPEN and (name != "TGA" or path.suffix.lower() == ".tga")]


def _newer_kind(start: bytes) -> str:
    """HEIF or AVIF, by the brands that such a file begins with, or nothing."""
    if start[4:8] != b"ftyp":
        return ""
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = {start[8:12], *(start[i : i + 4] for i in range(16, end, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"} else ""


def _reads_avif() -> bool:
    from PIL import features

    return "avif" in features.modules and bool(features.check("avif"))


def _check_kind(path: Path, image: Any) -> None:
    """UnfoldError for what Pillow would show other than it is: a raw file by its thumbnail, 10 bits cut to 8."""
    if image.format == "TIFF":
        tags = image.tag_v2
        if DNG in tags or tags.get(SUBFILE, 0) == 1:
            raise UnfoldError(
                f"{path} is a camera's raw file, or begins with a thumbnail: develop it and save it as PNG"
            )
    bits = 8
    if image.format == "HEIF":
        bits = image.info.get("bit_depth", 8)
    elif image.format == "AVIF":
        with path.open("rb") as file:
            start = file.read(BITS)
        at = start.find(b"av1C") + 6  # the byte that tells it
        if 6 <= at < len(start) and start[at] & 0x40:
            bits = 12 if start[at] & 0x20 else 10
    if bits > 8:
        raise UnfoldError(
            f"{path} has {bits} bits per channel; {image.format} of 8 is taken: save it as PNG of 16 bits"
        )


def _what_else(start: bytes, noun: str) -> str:
    """What a file is, by its first bytes, that is not read."""
    if not start:
        return "empty (0 bytes)"
    for mark, name in FOREIGN.items():
        if start.startswith(mark):
            return f"{name}, which is not read here: save it as PNG"
    if start[4:12] == b"ftypcrx ":
        return "a camera's raw file, which is not read here: develop it and save it as PNG"
    article = "not an" if noun[0] in "aeiou" else "no"
    return f"{article} {noun} that can be read ({', '.join(FORMATS)})"
