"""Picture files with all that a photograph holds: alpha, 16 bits, orientation, colour profile, EXIF."""

from __future__ import annotations

import stat
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from unfold.data.formats.array_files import read_array_image
from unfold.data.formats.open_picture import open_picture
from unfold.data.formats.sixteen_bit import read_deep
from unfold.data.formats.tiff_bands import read_bands
from unfold.data.images import bit_depth, turned
from unfold.errors import UnfoldError, one_line, reason_of
from unfold.inference.encode_picture import encode
from unfold.util.arrays import Array
from unfold.util.atomic_files import whole_file

Pixels = Array
DEEP, ALPHA, PROFILE = "16 bits per channel", "an alpha channel", "a colour profile"
FLOATS = "numbers with a point"
BANDS = "channels that are neither grey nor RGB"
# What each format keeps of a picture.
KEEPS = {
    ".png": {DEEP, ALPHA, PROFILE},
    ".tif": {DEEP, ALPHA, PROFILE, BANDS},
    ".tiff": {DEEP, ALPHA, PROFILE, BANDS},
    ".webp": {ALPHA, PROFILE},
    ".jpg": {PROFILE},
    ".jpeg": {PROFILE},
    ".jfif": {PROFILE},
    ".bmp": set(),
    ".npy": {DEEP, BANDS, FLOATS},
}
LARGEST = {".jpg": 65_500, ".jpeg": 65_500, ".jfif": 65_500, ".webp": 16_383}  # pixels on a side; others: no limit
PLAIN = {"1", "L", "LA", "RGB", "RGBA", "P", "PA", "I;16", "I;16B", "I;16L", "I"}
# Advice for pictures of other Pillow modes.
INSTEAD = {
    "CMYK": "convert it to RGB with its colour profile first",
    "F": "floating point is not taken: scale it to 16 bits first, or give the array in [0,1] to unfold.restore",
}
# The tags of a TIFF that describe the picture, not the file.
PICTURE_TAGS = {270, 271, 272, 305, 306, 315, 33432, ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo}
STALE = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)


@dataclass(frozen=True)
class Picture:
    """pixels (H,W,3), (H,W,1) of a grey one, or (H,W,C) of a TIFF or an array of C bands, uint8 or uint16, of an array
    also float32 in [0,1], with noise in [-2,3], upright; alpha (H,W) of the same kind; ICC profile; EXIF with the
    orientation "upright"; flat: of an array without an axis of channels, which its result has not, either.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    profile: bytes | None = None
    exif: bytes | None = None
    flat: bool = False

    @property
    def grey(self) -> bool:
        return self.pixels.shape[2] == 1

    def holds(self) -> list[str]:
        """The properties that some formats cannot keep."""
        there = {
            DEEP: self.pixels.dtype == np.uint16,
            ALPHA: self.alpha is not None,
            PROFILE: self.profile is not None,
            BANDS: self.pixels.shape[2] not in (1, 3),
            FLOATS: self.pixels.dtype.kind == "f",
        }
        return [what for what, is_there in there.items() if is_there]


def read_picture(path: Path, largest: float = float("inf")) -> Picture:
    """Read a still picture of a format of unfold.data.formats.open_picture, recognised by content, or a .npy array.

    Palettes are expanded, the EXIF orientation is applied. Kept: alpha, ICC profile, EXIF (without its thumbnail; from
    a TIFF the tags that describe the picture), 16 bits, the bands of a TIFF. largest: bytes that the pixels may take; a
    larger picture is refused by its header. UnfoldError for a file that is missing, damaged, animated, or of another
    kind (CMYK, 32 bits, ...).
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnfoldError(f"{path} is a folder or a device, and no picture")
    except FileNotFoundError:
        raise UnfoldError(f"there is no picture {path}") from None
    except (OSError, ValueError) as error:
        raise UnfoldError(f"{one_line(str(path))} cannot be read: {reason_of(error)}") from None
    if path.suffix.lower() == ".npy":
        array = read_array_image(path, largest, noisy=True)
        return Picture(array, flat=np.load(path, mmap_mode="r").ndim == 2)
    try:
        bands = read_bands(path, largest)
    except UnfoldError:
        raise
    except MemoryError:
        raise UnfoldError(f"{path} does not fit into memory") from None
    except Exception:  # Pillow's error, which follows, says more about damage
        bands = None
    if bands is not None:
        return Picture(np.ascontiguousarray(turned(bands.pixels, bands.orientation)), None, bands.profile)
    with open_picture(path, bombs=True) as image:
        return _read(path, image, largest)


def _read(path: Path, image: Image.Image, largest: float) -> Picture:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # phones append a preview or depth map
        raise UnfoldError(f"{path} holds {frames} pictures (an animation, or pages), and one is wanted")
    if image.mode not in PLAIN:
        how = INSTEAD.get(image.mode, "convert it to RGB or grey first")
        raise UnfoldError(f"{path} is of kind {image.mode}; {how}")
    deep = _is_deep(path, image)
    width, height = image.size
    if (size := width * height * len(image.getbands()) * (2 if deep else 1)) > largest:
        raise UnfoldError(f"{path} is {width}x{height}, {size / 1e9:.1f} GB: more than memory allows here")
    simple = _simple(image)
    array = _read_deep(path, image.info.get("transparency")) if deep else np.asarray(simple)
    exif = _exif(image)  # after loading: a PNG may hold it at its end
    # Pillow and OpenCV turn the pixels of a TIFF while reading.
    orientation = 1 if image.format == "TIFF" else exif.get(ExifTags.Base.Orientation, 1)
    array = turned(array.reshape(*array.shape[:2], -1), orientation)
    alpha = array[..., -1] if array.shape[2] in (2, 4) else None
    pixels = array if alpha is None else array[..., :-1]
    return Picture(np.ascontiguousarray(pixels), alpha, image.info.get("icc_profile"), _exif_bytes(exif, image.format))


def _is_deep(path: Path, image: Image.Image) -> bool:
    if image.format != "TIFF":
        return bit_depth(image) == 16
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, formats = set(tags.get(258, (1,))), set(tags.get(339, (1,)))
    if (max(bits) > 8 and bits != {16}) or formats != {1}:
        signs = "" if formats == {1} else " with a sign or a point"
        raise UnfoldError(f"{path} has {'/'.join(map(str, sorted(bits)))} bits per channel{signs}; 8 and 16 are taken")
    if bits == {8} and tags.get(262) == 2 and 0 in tags.get(338, ()):  # as for 16 bits
        raise UnfoldError(f"{path} has a channel of no stated meaning beside RGB; save it as PNG")
    return bits == {16}


def _simple(image: Image.Image) -> Image.Image:
    """Load the image and convert it to mode L, LA, RGB or RGBA."""
    image.load()
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    if "transparency" in image.info and image.mode in ("1", "L", "RGB"):
        return image.convert("RGBA" if image.mode == "RGB" else "LA")
    return image.convert("L") if image.mode == "1" else image


def _read_deep(path: Path, transparent: object) -> Pixels:
    """Read 16 bits per channel; grey with alpha, or with one transparent value, gives two channels."""
    array = read_deep(path, transparent)
    if array.ndim == 2 or array.shape[2] == 2:
        return array
    grey = (array[..., :1] == array[..., 1:3]).all() and _grey_by_header(path)
    return array[..., [0, 3]] if grey else array


def _grey_by_header(path: Path) -> bool:
    """Whether a PNG is grey with alpha, which OpenCV expands to four channels."""
    with path.open("rb") as file:
        head = file.read(26)
    return head[:4] == b"\x89PNG" and head[25] == 4


def _exif(image: Image.Image) -> Image.Exif:
    """The EXIF data, as far as it can be read."""
    try:
        exif = image.getexif()
        exif.tobytes()
    except Exception:  # damaged; the picture is used without EXIF
        return Image.Exif()
    return exif


def _exif_bytes(exif: Image.Exif, kind: str | None) -> bytes | None:
    """EXIF for the result: orientation upright, old sizes removed."""
    if kind == "TIFF":
        exif = _about_the_picture(exif)
    if not exif:
        return None
    if ExifTags.IFD.Exif in exif:
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        for tag in STALE:
            inner.pop(tag, None)
    if ExifTags.Base.Orientation in exif:
        exif[ExifTags.Base.Orientation] = 1
    return exif.tobytes()


def _about_the_picture(exif: Image.Exif) -> Image.Exif:
    """The tags of a TIFF that describe the picture, as a new EXIF block. The EXIF of a BigTIFF would be written in its
    own layout, which readers of other formats do not know.
    """
    kept, alone = Image.Exif(), Image.Exif()
    try:
        for tag in exif:
            if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                kept[tag] = inner = dict(exif.get_ifd(tag))
                if ExifTags.IFD.Interop in inner:
                    inner[ExifTags.IFD.Interop] = exif.get_ifd(ExifTags.IFD.Interop)
            elif tag in PICTURE_TAGS:
                kept[tag] = exif[tag]
        if kept:
            alone.load(kept.tobytes())
    except Exception:  # values of types that EXIF does not have
        return Image.Exif()
    return alone


def in_integers(pixels: Pixels) -> Pixels:
    """Pixels of an array with a point, cut off at 0 and 1, in 16 bits; others as they are."""
    return np.rint(pixels.clip(0, 1) * np.float32(65535)).astype(np.uint16) if pixels.dtype.kind == "f" else pixels


def reduced(picture: Picture, suffix: str) -> tuple[Picture, list[str]]:
    """The picture as a format can keep it, and the properties it loses: floats are rounded to 16 bits, 16 bits to 8,
    alpha is composited on white, a profile is dropped.
    """
    lost = [what for what in picture.holds() if what not in KEEPS[suffix] | {BANDS}]
    if FLOATS in lost:
        rest, more = reduced(replace(picture, pixels=in_integers(picture.pixels)), suffix)
        return rest, [FLOATS, *more]
    if ALPHA in lost and picture.alpha is not None:
        peak = np.iinfo(picture.pixels.dtype).max
        alpha = picture.alpha[..., None] / np.float32(peak)
        laid = np.rint(peak - alpha * (peak - picture.pixels.astype(np.float32)))
        picture = replace(picture, pixels=laid.astype(picture.pixels.dtype), alpha=None)
    if DEEP in lost:
        alpha8 = None if picture.alpha is None else np.rint(picture.alpha / 257).astype(np.uint8)
        picture = replace(picture, pixels=np.rint(picture.pixels / 257).astype(np.uint8), alpha=alpha8)
    return replace(picture, profile=None) if PROFILE in lost else picture, lost


def check_format(path: Path, picture: Picture, scale: int = 1, *, reduce: bool = False) -> None:
    """UnfoldError if a file of this name cannot keep what the picture holds, or its size times scale.

    reduce: the picture is going to be :func:`reduced`.
    """
    suffix = path.suffix.lower()
    if suffix not in KEEPS:
        raise UnfoldError(f"{path.name}: pictures are written as {', '.join(KEEPS)}")
    lost = [what for what in picture.holds() if what not in KEEPS[suffix]]
    if BANDS in lost:
        raise UnfoldError(f"the picture has {picture.pixels.shape[2]} channels, which {suffix} cannot keep: write .tif")
    if FLOATS in lost and not reduce:
        raise UnfoldError(f"the picture has {FLOATS}, which {suffix} cannot keep: write .npy, or round it by --format")
    if lost and not reduce:
        raise UnfoldError(f"the picture has {' and '.join(lost)}, which {suffix} cannot keep: write it as .png")
    if (side := scale * max(picture.pixels.shape[:2])) > LARGEST.get(suffix, side):
        raise UnfoldError(f"{side} pixels on a side are more than {suffix} can hold: write it as .png")


def write_picture(path: Path, picture: Picture, quality: int | None = None) -> None:
    """Write the file whole or not at all, in the format of its name, with all that the picture holds.

    quality: of JPEG and WebP, from 1 to 100. Without it JPEG has 95, and everything else no loss; JPEG is written
    without subsampling. Grey with alpha in 16 bits becomes colour, and TIFF of 16 bits or of bands holds no EXIF.
    UnfoldError for what the format does not hold; OSError if the disk refuses.
    """
    check_format(path, picture)
    if path.suffix.lower() == ".npy":
        with whole_file(path) as file:
            np.save(file, picture.pixels[..., 0] if picture.flat and picture.grey else picture.pixels)
        return
    try:  # in memory first: when Pillow writes the file itself, a full disk raises an error without a file name
        encoded = encode(picture.pixels, picture.alpha, path.suffix.lower(), picture.profile, picture.exif, quality)
    except MemoryError:
        raise
    except Exception as error:  # such as EXIF too long for the format
        raise UnfoldError(f"{path} cannot be written: {reason_of(error)}") from None
    with whole_file(path) as file:
        file.write(encoded)


def enlarge_alpha(alpha: Pixels, scale: int) -> Pixels:
    """Enlarge alpha by the scale with cubic interpolation."""
    import cv2

    height, width = alpha.shape
    if scale == 1:
        return alpha
    return cv2.resize(np.ascontiguousarray(alpha), (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
