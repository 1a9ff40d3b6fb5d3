"""The picture formats that are read, for training and restoring, and how a file is opened."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from unfold.errors import UnfoldError, reason_of

# No others, as Pillow starts programs for some. TGA has no signature; it is tried by file name.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF", "JPEG2000", "AVIF", "HEIF", "TGA")
# Their file extensions, by which folders are searched.
EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(".gif", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".tga"),
)
INSTALL = 'pip install "unfold-restoration[formats]"'
# Signatures of picture formats that are not read.
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
BITS = 65_536  # bytes of an AVIF that are searched for its depth
SUBFILE, DNG = 254, 50706  # tags of a TIFF: the role of its first picture; the mark of a raw file


class MissingReaderError(UnfoldError):
    """A picture that needs another package to be read."""


@contextmanager
def open_picture(path: Path, noun: str = "picture", *, bombs: bool = False) -> Iterator[Any]:
    """Open a picture file with Pillow and read only its header; the content decides the format, not the name.

    Errors inside the context, too, become one UnfoldError that calls the file ``noun``; MissingReaderError for HEIC and
    AVIF without a reader. bombs: also accept what Pillow warns of as too large, up to twice its limit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on metadata; a damaged picture raises an error anyway
            if not bombs:
                warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Given a path, Pillow maps uncompressed files, and version 13.0 garbles a grey TIFF that must be turned.
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
    except Exception as error:  # decoders raise any error for damaged files
        raise UnfoldError(f"{path} cannot be read: {reason_of(error)}") from None


def _formats(path: Path, start: bytes) -> list[str]:
    """Pillow's names of the formats to try. MissingReaderError where nothing installed reads the file's format."""
    Image.init()
    kind = _newer_kind(start)
    if kind == "HEIF" and kind not in Image.OPEN:
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            raise MissingReaderError(f"{path} is HEIC: {INSTALL} lets it be read") from None
    if kind == "AVIF" and not _reads_avif():
        raise MissingReaderError(f"{path} is AVIF, which this Pillow does not read: {INSTALL} lets it be read")
    return [name for name in FORMATS if name in Image.OPEN and (name != "TGA" or path.suffix.lower() == ".tga")]


def _newer_kind(start: bytes) -> str:
    """HEIF or AVIF, by the brands at the start of the file, or ""."""
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
    """UnfoldError for files that Pillow would misread: a raw file as its thumbnail, 10 bits cut to 8."""
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
        at = start.find(b"av1C") + 6  # the byte that holds it
        if 6 <= at < len(start) and start[at] & 0x40:
            bits = 12 if start[at] & 0x20 else 10
    if bits > 8:
        raise UnfoldError(
            f"{path} has {bits} bits per channel; {image.format} of 8 is taken: save it as PNG of 16 bits"
        )


def _what_else(start: bytes, noun: str) -> str:
    """Describe an unreadable file by its first bytes."""
    if not start:
        return "empty (0 bytes)"
    for mark, name in FOREIGN.items():
        if start.startswith(mark):
            return f"{name}, which is not read here: save it as PNG"
    if start[4:12] == b"ftypcrx ":
        return "a camera's raw file, which is not read here: develop it and save it as PNG"
    article = "not an" if noun[0] in "aeiou" else "no"
    return f"{article} {noun} that can be read ({', '.join(FORMATS)})"
