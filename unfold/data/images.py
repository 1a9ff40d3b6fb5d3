"""Find image files and read them.

Rules for turning files into arrays, for every set and every use:

- formats: those of unfold.data.formats.open_picture, recognised by content, not by name; 8 or 16 bits per channel,
  which stay (PPM and JPEG 2000 of 9 to 15 bits become 16).
- colour palettes are expanded to RGB, black and white to grey.
- a network of three channels gets a grey image as three equal channels; a network of one channel gets a grey image as
  it is and a colour image as its luma (:func:`as_channels`). For networks of other numbers of channels the data are
  TIFF files with that many bands, or .npy files (H,W,C) of uint8, uint16 or floats in [0,1].
- an alpha channel that is opaque everywhere is dropped; a picture that is transparent anywhere is refused, as its
  background is unknown.
- pictures are turned as their EXIF orientation says, of 8 bits and of 16.
- files whose names begin with a dot are ignored in folders: macOS puts such a file beside each image.
- refused: CMYK and other colour spaces, floating point of other files, animations and files of several pages, and
  more pixels than Pillow's limit (PIL.Image.MAX_IMAGE_PIXELS, 89 million), by the header, before memory is spent.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray
from PIL import ExifTags, ImageOps

from unfold.data.formats import open_picture as pictures
from unfold.data.formats.array_files import read_array_image
from unfold.data.formats.open_picture import open_picture
from unfold.data.formats.sixteen_bit import jpeg2000_bits, read_deep
from unfold.data.formats.tiff_bands import read_bands
from unfold.errors import UnfoldError, reason_of
from unfold.util.arrays import Array
from unfold.util.log_once import say_once
from unfold.util.paths import as_path, expanded
from unfold.util.progress import progress

EXTENSIONS = (*pictures.EXTENSIONS, ".npy")
LISTS = (".txt", ".lst", ".csv", ".tsv")  # endings of text files that list images or pairs

_SLICE = re.compile(r"(.*[^\[])\[(-?\d+)?:(-?\d+)?\]")  # such as photos[:-8]
Item = TypeVar("Item")

# Colour photographs inside the scikit-image package, by split. The motorcycle pair is one scene seen by two cameras.
PHOTOGRAPHS = {
    "train": (
        "coffee.png",
        "motorcycle_left.png",
        "motorcycle_right.png",
        "hubble_deep_field.jpg",
        "ihc.png",
        "retina.jpg",
    ),
    "val": ("rocket.jpg",),
    "test": ("astronaut.png", "chelsea.png"),
}


def find_images(source: str, split: str) -> list[Path]:
    """The image files of a set, in natural order.

    source: "photographs" (the split of PHOTOGRAPHS); or a folder, or a text file that lists images, one path per line
    and relative to it, as it is or under UNFOLD_DATA; or a part of one, see :func:`sliced`; split: train, val or test.
    Raises UnfoldError if the folder or its images are missing.
    """
    name, part = sliced(source)
    if name.rstrip("/") == "photographs":
        return chosen(_photographs(split), part, source)
    if (listed := find_list(name)) is not None:
        return chosen(listed_images(listed), part, source)
    return chosen(images_in(find_folder(name)), part, source)


def sliced(source: str) -> tuple[str, slice]:
    """A set's name without its slice, and the slice, all where there is none.

    Slices are those of a Python list in natural order: "photos[:-8]" are all images but the last 8, "photos[-8:]" these
    8.
    """
    found = _SLICE.fullmatch(source)
    if found is None:
        return source, slice(None)
    name, first, end = found.groups()
    return name, slice(first and int(first), end and int(end))


def chosen(items: list[Item], part: slice, source: str) -> list[Item]:
    """A slice of a set. UnfoldError where it is empty."""
    if not items[part]:
        raise UnfoldError(f"{source} is none of the {len(items)} images there")
    return items[part]


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, in natural order. UnfoldError if there are none."""
    files = natsorted(path for path in folder.iterdir() if is_image_name(path.name) and path.is_file())
    if not files:
        raise UnfoldError(f"{folder} holds no images ({', '.join(EXTENSIONS)}; folders in it are not searched)")
    return files


def is_image_name(name: str) -> bool:
    """Whether a file name in a folder counts as an image: an image's extension, and not hidden (._0.png)."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122  (50,000 calls)


def find_list(source: str) -> Path | None:
    """A text file that lists images or pairs, as it is or below UNFOLD_DATA; None if there is none."""
    if not source.lower().endswith(LISTS):
        return None
    places = (as_path(source), data_root() / source)
    return next((path for path in places if path.is_file()), None)


def listed_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a list with their numbers, without empty ones and those that begin with #."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnfoldError(f"{path} cannot be read as a list, which is text in UTF-8: {reason_of(error)}") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines:
        raise UnfoldError(f"{path} lists nothing")
    return lines


def without_heading(
    path: Path, lines: list[tuple[int, str]], words: Callable[[str], list[str]]
) -> list[tuple[int, str]]:
    """The lines without a heading such as "input,target", whose words are not picture names; logged."""
    first = words(lines[0][1])
    files = any(is_image_name(word) or "/" in word or (path.parent / as_path(word)).exists() for word in first)
    if files or len(lines) == 1:
        return lines
    say_once(f"the first line of {path}, {lines[0][1]}, names columns and no pictures")
    return lines[1:]


def listed_images(path: Path) -> list[Path]:
    """The images of a list of one path per line. UnfoldError, with the line, for a missing or repeated file."""
    seen: dict[Path, int] = {}
    for number, line in without_heading(path, listed_lines(path), lambda line: [line]):
        file = path.parent / as_path(line)
        if not file.is_file():
            raise UnfoldError(f"{path}, line {number}: there is no {file}; a list of images has one path per line")
        if file in seen:
            raise UnfoldError(f"{path}, line {number}: {line} stands in line {seen[file]} already")
        seen[file] = number
    return list(seen)


def data_root() -> Path:
    """The folder of all data sets: UNFOLD_DATA (default: datasets)."""
    return as_path(os.environ.get("UNFOLD_DATA", "datasets"))


def find_folder(source: str) -> Path:
    """``source`` as a path, or below UNFOLD_DATA (default: datasets). UnfoldError names both places tried."""
    root, place = data_root(), expanded(source)
    below = root / (place if "$" in source else source)
    for folder in (Path(place), below):
        if folder.is_dir():
            return folder
        if folder.exists():
            raise UnfoldError(f"{folder} is a file, and a folder of images is wanted")
    if source == "photographs":  # a setting's default
        raise UnfoldError(
            "photographs are clean images that come with scikit-image, and a folder is wanted here: name it"
        )
    nor = f", nor {below}" if below != Path(place) else ""
    raise UnfoldError(f"there is no folder {source}{nor} (UNFOLD_DATA names the folder of data sets)")


def _photographs(split: str) -> list[Path]:
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    files = [folder / name for name in PHOTOGRAPHS[split]]
    for path in files:
        if not path.is_file():
            raise UnfoldError(f"this scikit-image does not carry {path.name}; reinstall it (pip install scikit-image)")
    return files


def find_file(name: str, hint: str) -> Path:
    """``name`` below UNFOLD_DATA (default: datasets), or as a path. UnfoldError, with the hint, where it is missing."""
    path = data_root() / expanded(name)
    for place in (path, as_path(name)):
        if place.is_file():
            return place
    raise UnfoldError(f"there is no {path}: {hint} (UNFOLD_DATA names the folder of data sets)")


def read_uint8(path: Path, channels: int = 3) -> NDArray[np.uint8]:
    """Read an image as :func:`read_channels` does, for work defined on 8 bits: deeper images are rounded to 8."""
    return eight_bits(read_channels(path, channels), path)


def eight_bits(image: Array, path: Path) -> NDArray[np.uint8]:
    """An image rounded to 8 bits, half to even (logged once per run); 8-bit images unchanged."""
    if image.dtype == np.uint8:
        return image
    say_once("images of more than 8 bits, such as %s, are rounded to 8 bits, on which this work is defined", path)
    return np.rint(to_float(image) * np.float32(255)).astype(np.uint8)


def read_grey(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read an image as (H,W): grey unchanged, colour as the full-range Y of cv2's YCrCb.

    Y = 0.299 R + 0.587 G + 0.114 B, rounded to the file's 8 or 16 bits. UnfoldError as for :func:`read_channels`.
    """
    return read_channels(path, 1)[..., 0]


def read_image(path: Path, grey: bool = False) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read a colour image as (H,W,3) RGB, uint8 or uint16 as in the file, by the rules of this module.

    grey: also take grey images, as three equal channels. UnfoldError if the file is missing, damaged, grey (unless
    allowed), or of a kind that the rules refuse.
    """
    pixels = _read_file(path, None)
    if pixels.shape[2] == 1:
        if not grey:
            raise UnfoldError(f"{path} is grey, and a colour image (RGB) is wanted")
        return pixels.repeat(3, axis=2)
    return as_channels(pixels, 3, path)


def read_channels(path: Path, channels: int) -> Array:
    """Read an image for a network of so many channels, see :func:`as_channels`: (H,W,channels), uint8 or uint16 as in
    the file, or float32 in [0,1]. UnfoldError for what the rules of this module refuse.
    """
    return as_channels(_read_file(path, channels), channels, path)


def read_own(path: Path) -> Array:
    """Read an image in its own number of channels: (H,W,1) grey, (H,W,3) colour, others of TIFF and .npy."""
    return _read_file(path, 0)


def _read_file(path: Path, wanted: int | None) -> Array:
    """Read (H,W,C) in the file's own channels. wanted: channels of the network, 0 where unknown, None to read pictures
    only; alpha counts as a channel where the total is then the wanted number.
    """
    if path.suffix.lower() == ".npy":
        return read_array_image(path)
    if path.suffix.lower() in (".tif", ".tiff") and wanted is not None:
        bands = _read_bands(path, wanted)
        if bands is not None:
            return bands
    with opened(path) as image:
        pixels = decode(image, path, wanted or 0)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _read_bands(path: Path, wanted: int) -> Array | None:
    try:
        found = read_bands(path, np.inf, wanted)
    except (UnfoldError, FileNotFoundError):
        raise
    except MemoryError:
        raise UnfoldError(f"{path} does not fit into memory") from None
    except Exception as error:  # damage of any kind
        raise UnfoldError(f"{path} cannot be read: {reason_of(error)}") from None
    return None if found is None else np.ascontiguousarray(turned(found.pixels, found.orientation))


def as_channels(image: Array, channels: int, path: Any) -> Array:
    """An image (H,W,C) for a network of so many channels, in the image's number type.

    A network of three gets grey as three equal channels; a network of one gets colour as the full-range Y of cv2's
    YCrCb (Y = 0.299 R + 0.587 G + 0.114 B, rounded for integer images); each is logged once per run. Other numbers must
    match: UnfoldError. path: for messages.
    """
    if image.shape[2] == channels:
        return image
    if image.shape[2] == 1 and channels == 3:
        say_once("grey images, such as %s, are read as three equal channels", path)
        return image.repeat(3, axis=2)
    if channels != 1 or image.shape[2] != 3:
        count = image.shape[2]
        what = {1: "is grey", 3: "is in colour"}.get(count, f"has {count} channels")
        takes = {1: "grey or colour", 3: "colour or grey"}.get(
            channels, f"images of {channels}: TIFF of so many bands, or .npy of (H,W,{channels})"
        )
        first = ", and channels come last in .npy" if image.shape[0] == channels and count > 4 else ""
        raise UnfoldError(
            f"{path} {what}{first}, and a network of {channels} channel{'s'[: channels > 1]} takes {takes}"
        )
    say_once("colour images, such as %s, are converted to grey (luma): the network has one channel", path)
    return np.ascontiguousarray(_luma(image))


def grey_in_colour(image: Array) -> Array:
    """A colour image (H,W,3) -> the three equal channels that :func:`as_channels` makes of its grey version."""
    return _luma(image).repeat(3, axis=2)


def _luma(image: Array) -> Array:
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2YCrCb)[..., :1]


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an image file and read only its header; errors inside the context become one UnfoldError."""
    with open_picture(path, "image") as image:
        yield image


def decode(image: Any, path: Path, wanted: int = 0) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The pixels of an image just :func:`opened`: (H,W,3) RGB, or (H,W) where it is grey. UnfoldError by the rules of
    this module.

    wanted: with 2 or 4, an alpha channel is kept as a channel where the total is then this number.
    """
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # MPO: a camera's JPEG followed by a preview
        raise UnfoldError(f"{path} holds {image.n_frames} pictures, an animation or pages; save one as a file")
    deep = bit_depth(image) == 16
    turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    samples = image.tag_v2.get(277, 1) if image.format == "TIFF" else 0
    if samples > len(image.getbands()) and samples != wanted:
        raise UnfoldError(
            f"{path} has {samples} channels, and what those beside the {len(image.getbands())} of a picture mean is "
            "not said, so that they are not left out: save the colours alone"
        )
    image.load()  # for 16 bits, too: Pillow detects a truncated file, where cv2 returns a picture that ends in grey
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    elif image.mode in ("1", "L", "RGB") and "transparency" in image.info and not deep:  # one transparent colour
        image = image.convert("RGBA" if image.mode == "RGB" else "LA")
    kind = "L" if image.mode in ("1", "I;16", "I;16B", "I;16L") or (deep and image.mode == "I") else image.mode
    if kind not in ("L", "LA", "RGB", "RGBA"):
        hint = "; convert it with its colour profile" if kind == "CMYK" else ""
        raise UnfoldError(f"{path} is of kind {kind}, and a colour image (RGB) is wanted{hint}")
    if deep:
        # Pillow turns TIFF files while loading, and so does cv2.
        transparent = image.info.get("transparency")
        pixels = read_deep(path, transparent)
        kind += "" if transparent is None or kind.endswith("A") else "A"
        pixels = pixels if image.format == "TIFF" else turned(pixels, turn)
    else:
        pixels = np.asarray(ImageOps.exif_transpose(image.convert("L") if image.mode == "1" else image))
    if kind.endswith("A"):
        if len(kind) == wanted:
            return pixels if pixels.shape[2] == wanted else pixels[..., [0, -1]]
        if (pixels[..., -1] != np.iinfo(pixels.dtype).max).any():
            raise UnfoldError(f"{path} is transparent in places ({kind}); lay it on a background and save it as RGB")
        pixels = pixels[..., :-1] if kind == "RGBA" else pixels[..., 0]
    return pixels


def bit_depth(image: Any) -> int:
    """8 or 16 bits per channel of an image that is :func:`opened` but not loaded, from its decoder's arguments."""
    mode = image.tile[0][3] if image.tile else ()
    if image.format == "PPM":
        deep = mode == "I;16B" or any(isinstance(value, int) and value > 255 for value in mode)
    elif image.format == "JPEG2000":
        deep = jpeg2000_bits(image) > 8
    else:
        deep = image.format in ("PNG", "TIFF") and ";16" in str(mode)
    return 16 if deep else 8


def turned(pixels: Array, orientation: int) -> Array:
    """Pixels turned upright, by their EXIF orientation (1 to 8)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def pixel_digest(pixels: Array) -> bytes:
    """sha256 of the size, the depth and the pixels of an image (H,W,3)."""
    digest = hashlib.sha256(f"{pixels.shape}{pixels.dtype}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def check_images(files: Sequence[Path], smallest: int, channels: int = 0) -> None:
    """Read every image once, so that a bad one is found before hours of work.

    channels: of the network, 0 without one. Raises UnfoldError for an image that cannot be read or has a side
    below ``smallest``.
    """
    for path in progress(files, "checking images", "image"):
        height, width = _read_file(path, channels).shape[:2]
        if min(height, width) < smallest:
            raise UnfoldError(f"{path} is {width}x{height} pixels, and at least {smallest}x{smallest} are needed")


def to_float(image: Array) -> NDArray[np.float32]:
    """Integers to float32 in [0,1]; floats, already in [0,1], to float32."""
    if image.dtype.kind == "f":
        return image.astype(np.float32, copy=False)
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
