"""Pictures as files, with what a photograph brings along: alpha, 16 bits, orientation, colour profile, EXIF."""

from __future__ import annotations

import stat
import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from unfold.data.images import read_deep, turned
from unfold.errors import UnfoldError
from unfold.files import whole_file

Pixels = NDArray[Any]
DEEP, ALPHA, PROFILE = "16 bits per channel", "an alpha channel", "a colour profile"
# What each format keeps of a picture.
KEEPS = {
    ".png": {DEEP, ALPHA, PROFILE},
    ".tif": {DEEP, ALPHA, PROFILE},
    ".tiff": {DEEP, ALPHA, PROFILE},
    ".webp": {ALPHA, PROFILE},
    ".jpg": {PROFILE},
    ".jpeg": {PROFILE},
    ".bmp": set(),
}
OPTIONS: dict[str, dict[str, Any]] = {
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"lossless": True, "exact": True},
    ".tif": {"compression": "tiff_adobe_deflate"},
    ".tiff": {"compression": "tiff_adobe_deflate"},
}
PLAIN = {"1", "L", "LA", "RGB", "RGBA", "P", "PA", "I;16", "I;16B", "I;16L", "I"}
# Of a TIFF's tags, what is told of the picture and not of the file.
TOLD = {270, 271, 272, 305, 306, 315, 33432, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}
STALE = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)


@dataclass(frozen=True)
class Picture:
    """pixels (H,W,3), or (H,W,1) of a grey one, uint8 or uint16, upright; alpha (H,W) of the same kind; ICC profile;
    EXIF with the orientation "upright".
    """

    pixels: Pixels
    alpha: Pixels | None = None
    profile: bytes | None = None
    exif: bytes | None = None

    @property
    def grey(self) -> bool:
        return self.pixels.shape[2] == 1

    def holds(self) -> list[str]:
        """What not every format keeps."""
        there = {DEEP: self.pixels.dtype == np.uint16, ALPHA: self.alpha is not None, PROFILE: self.profile is not None}
        return [what for what, is_there in there.items() if is_there]


def read_picture(path: Path, largest: float = float("inf")) -> Picture:
    """Read PNG, JPEG, TIFF, WebP or BMP, whatever its name says.

    Palettes are expanded, orientation by EXIF is applied. Kept: alpha, ICC profile, EXIF (without its thumbnail; of a
    TIFF what tells about the picture), 16 bits. largest: bytes that the pixels may take; a larger picture is refused by
    its header. UnfoldError for what is missing, damaged, animated, or of another kind (CMYK, 32 bits, ...).
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnfoldError(f"{path} is a folder or a device, and no picture")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of broken EXIF, and of pictures that Pillow takes to be large
            with Image.open(path, formats=("PNG", "JPEG", "TIFF", "WEBP", "BMP")) as image:
                return _read(path, image, largest)
    except UnfoldError:
        raise
    except FileNotFoundError:
        raise UnfoldError(f"there is no picture {path}") from None
    except UnidentifiedImageError:
        raise UnfoldError(f"{path} is no picture that can be read") from None
    except MemoryError:
        raise UnfoldError(f"{path} does not fit into memory") from None
    except Exception as error:  # decoders meet damage with errors of any kind
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnfoldError(f"{path} cannot be read: {reason}") from None


def _read(path: Path, image: Image.Image, largest: float) -> Picture:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # phones put a preview or depth behind the picture
        raise UnfoldError(f"{path} holds {frames} pictures (an animation, or pages), and one is wanted")
    if image.mode not in PLAIN:
        raise UnfoldError(f"{path} is of kind {image.mode}; convert it to RGB or grey first")
    deep = _is_deep(path, image)
    width, height = image.size
    if (size := width * height * len(image.getbands()) * (2 if deep else 1)) > largest:
        raise UnfoldError(f"{path} is {height}x{width}, {size / 1e9:.1f} GB: more than memory allows here")
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    simple = _simple(image)
    if image.format != "TIFF" or not deep:  # a TIFF has been turned by Pillow; a PNG may tell at its end
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    told, profile = _told(image.getexif(), image.format), image.info.get("icc_profile")
    array = _read_deep(path) if deep else np.asarray(simple)
    array = turned(array.reshape(*array.shape[:2], -1), orientation)
    alpha = array[..., -1] if array.shape[2] in (2, 4) else None
    pixels = array if alpha is None else array[..., :-1]
    return Picture(np.ascontiguousarray(pixels), alpha, profile, told)


def _is_deep(path: Path, image: Image.Image) -> bool:
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24] == 16
    bits = set(image.tag_v2.get(258, (1,))) if image.format == "TIFF" else {8}  # type: ignore[attr-defined]
    if max(bits) > 8 and bits != {16}:
        raise UnfoldError(f"{path} has {'/'.join(map(str, sorted(bits)))} bits per channel; 8 and 16 are taken")
    return bits == {16}


def _simple(image: Image.Image) -> Image.Image:
    """In one of the modes L, LA, RGB, RGBA, loaded."""
    image.load()
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    if "transparency" in image.info and image.mode in ("1", "L", "RGB"):
        return image.convert("RGBA" if image.mode == "RGB" else "LA")
    return image.convert("L") if image.mode == "1" else image


def _read_deep(path: Path) -> Pixels:
    """16 bits per channel in the file's orientation; of grey with alpha, two channels."""
    array = read_deep(path)
    if array.ndim == 2:
        return array
    grey = (array[..., :1] == array[..., 1:3]).all() and _grey_by_header(path)
    return array[..., [0, 3]] if grey else array


def _grey_by_header(path: Path) -> bool:
    """Whether a PNG is grey with alpha, which OpenCV expands."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:4] == b"\x89PNG" and head[25] == 4


def _told(exif: Image.Exif, kind: str | None) -> bytes | None:
    """EXIF to be written again: upright, and without the sizes of before."""
    if kind == "TIFF":
        for tag in [tag for tag in exif if tag not in TOLD]:
            del exif[tag]
    if not exif:
        return None
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    for tag in STALE:
        inner.pop(tag, None)
    if ExifTags.Base.Orientation in exif:
        exif[ExifTags.Base.Orientation] = 1
    return exif.tobytes()


def check_format(path: Path, picture: Picture) -> None:
    """UnfoldError where a file of this name cannot keep what the picture holds."""
    if path.suffix.lower() not in KEEPS:
        raise UnfoldError(f"{path.name}: pictures are written as {', '.join(KEEPS)}")
    lost = [what for what in picture.holds() if what not in KEEPS[path.suffix.lower()]]
    if lost:
        raise UnfoldError(f"the picture has {' and '.join(lost)}, which {path.suffix} cannot keep: write it as .png")


def write_picture(path: Path, picture: Picture) -> None:
    """Write the file whole or not at all, in the format of its name, with all that the picture holds.

    JPEG at quality 95 without subsampling, everything else without loss; grey with alpha in 16 bits becomes colour.
    """
    check_format(path, picture)
    pixels, suffix = picture.pixels, path.suffix.lower()
    array = pixels if picture.alpha is None else np.concatenate([pixels, picture.alpha[..., None]], axis=2)
    with whole_file(path) as file:
        if array.dtype == np.uint8:
            told = {"icc_profile": picture.profile, "exif": picture.exif}
            mode = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
            kept = {key: value for key, value in told.items() if value is not None}
            mode.save(file, format=Image.registered_extensions()[suffix], **OPTIONS.get(suffix, {}), **kept)
        elif suffix == ".png":
            file.write(_deep_png(_expanded(array), picture))
        else:
            file.write(_deep_tiff(_expanded(array), picture))


def _expanded(array: Pixels) -> Pixels:
    """Grey with alpha as colours with alpha: OpenCV knows no other."""
    return array[..., [0, 0, 0, 1]] if array.shape[2] == 2 else array


def _deep_png(array: NDArray[np.uint16], picture: Picture) -> bytes:
    """16 bits by OpenCV, which writes no profile and no EXIF: their chunks follow the header."""
    import cv2

    order = [2, 1, 0, 3][: array.shape[2]] if array.shape[2] > 1 else [0]
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(array[..., order]))
    png = encoded.tobytes()
    chunks = b""
    if picture.profile is not None:
        chunks += _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(picture.profile))
    if picture.exif is not None:
        chunks += _chunk(b"eXIf", picture.exif.removeprefix(b"Exif\0\0"))
    return png[:33] + chunks + png[33:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _deep_tiff(array: NDArray[np.uint16], picture: Picture) -> bytes:
    import tifffile

    whole = BytesIO()
    tifffile.imwrite(
        whole,
        array[..., 0] if array.shape[2] == 1 else array,
        photometric="rgb" if array.shape[2] > 2 else "minisblack",
        planarconfig=None if array.shape[2] == 1 else "contig",
        extrasamples=None if picture.alpha is None else ["unassalpha"],
        iccprofile=picture.profile,
        metadata=None,
    )
    return whole.getvalue()


def enlarge_alpha(alpha: Pixels, scale: int) -> Pixels:
    """Alpha for a result that is scale times as large, by cubic interpolation."""
    import cv2

    height, width = alpha.shape
    if scale == 1:
        return alpha
    return cv2.resize(np.ascontiguousarray(alpha), (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
