"""Reading image files, and finding them.

The terms on which files become arrays, for every set and every use:

- formats: those of unfold.data.formats.open_picture, told by content and not by name; 8 or 16 bits per channel, which
  stay (PPM and JPEG 2000 of 9 to 15 bits become 16).
- colour palettes are expanded to RGB, black and white to grey.
- grey becomes three equal channels where the reader allows grey; where a colour image is needed, it is refused.
- an alpha channel that is opaque everywhere is dropped; a picture that is transparent anywhere is refused: what lies
  below is not known.
- pictures are turned as their EXIF orientation says, of 8 bits and of 16.
- refused: CMYK and other colour spaces, floating point, animations and files of several pages, and more pixels than
  Pillow's limit (PIL.Image.MAX_IMAGE_PIXELS, 89 million), by the header, before memory is spent.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray
from PIL import ExifTags, ImageOps

from unfold.data.formats.open_picture import EXTENSIONS as EXTENSIONS
from unfold.data.formats.open_picture import open_picture
from unfold.data.formats.sixteen_bit import jpeg2000_bits, read_deep
from unfold.errors import UnfoldError
from unfold.util.paths import as_path, expanded
from unfold.util.progress import progress

_SLICE = re.compile(r"(.*[^\[])\[(-?\d+)?:(-?\d+)?\]")  # photos[:-8]
Item = TypeVar("Item")

# Colour photographs inside the scikit-image package, by use. The motorcycle pair is one scene seen by two cameras.
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

    source: "photographs" (the split of PHOTOGRAPHS) or a folder, as it is or under UNFOLD_DATA, or a part of one, see
    :func:`sliced`; split: train, val or test. Raises UnfoldError where the folder or its images are missing.
    """
    name, part = sliced(source)
    if name.rstrip("/") == "photographs":
        return chosen(_photographs(split), part, source)
    return chosen(images_in(find_folder(name)), part, source)


def sliced(source: str) -> tuple[str, slice]:
    """A set's name without its slice, and the slice, all where there is none.

    As of a Python list in natural order: "photos[:-8]" are all images but the last 8, "photos[-8:]" these 8.
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
    """The image files of a folder, in natural order. UnfoldError where there are none."""
    files = natsorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not files:
        raise UnfoldError(f"{folder} holds no images ({', '.join(EXTENSIONS)}; folders in it are not searched)")
    return files


def data_root() -> Path:
    """Where data sets lie: UNFOLD_DATA (default: datasets)."""
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
    raise UnfoldError(f"there is no folder {source}, nor {below} (UNFOLD_DATA says where data sets lie)")


def _photographs(split: str) -> list[Path]:
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    files = [folder / name for name in PHOTOGRAPHS[split]]
    for path in files:
        if not path.is_file():
            raise UnfoldError(f"this scikit-image does not carry {path.name}; reinstall it (pip install scikit-image)")
    return files


def find_file(name: str, hint: str) -> Path:
    """``name`` below UNFOLD_DATA (default: datasets), or as a path. UnfoldError where it is not, with the hint."""
    path = data_root() / expanded(name)
    for place in (path, as_path(name)):
        if place.is_file():
            return place
    raise UnfoldError(f"there is no {path}: {hint} (UNFOLD_DATA says where data sets lie)")


def read_uint8(path: Path) -> NDArray[np.uint8]:
    """Read an image of 8 bits per channel as (H,W,3) RGB; a grey one gets three equal channels, as cv2.imread does.

    UnfoldError as for :func:`read_image`, and for 16 bits per channel.
    """
    image = read_image(path, grey=True)
    if image.dtype != np.uint8:
        raise UnfoldError(f"{path} has 16 bits per channel, and this evaluation takes images of 8")
    return image.astype(np.uint8, copy=False)


def read_grey(path: Path) -> NDArray[np.uint8]:
    """Read an image of 8 bits per channel as (H,W): grey as it is, colour as the full range Y of cv2's YCrCb.

    Y = 0.299 R + 0.587 G + 0.114 B, rounded. UnfoldError as for :func:`read_uint8`.
    """
    import cv2

    return cv2.cvtColor(read_uint8(path), cv2.COLOR_RGB2YCrCb)[..., 0].astype(np.uint8, copy=False)


def read_image(path: Path, grey: bool = False) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read a colour image as (H,W,3) RGB, uint8 or uint16 as the file has it, on the terms of this module.

    grey: also take grey images, in three equal channels. UnfoldError where the file is missing, damaged, grey unasked,
    or of a kind that the terms refuse.
    """
    with opened(path) as image:
        pixels = decode(image, path)
    if pixels.ndim == 3:
        return pixels
    if not grey:
        raise UnfoldError(f"{path} is grey, and a colour image (RGB) is wanted")
    return pixels[..., None].repeat(3, axis=2)


def as_channels(image: NDArray[Any], channels: int, path: Any) -> NDArray[Any]:
    """An image (H,W,3) for a network of so many channels, in its integers: of one, the full range Y of cv2's YCrCb
    (Y = 0.299 R + 0.587 G + 0.114 B, rounded), which leaves grey as it is. UnfoldError for other numbers.

    path: what an error names.
    """
    if image.shape[2] == channels:
        return image
    if channels != 1 or image.shape[2] != 3:
        raise UnfoldError(
            f"{path} has {image.shape[2]} channels, and the network takes {channels}: files are read as colour or, for "
            "a network of one channel, as grey; a degradation or protocol of your own can read them otherwise"
        )
    import cv2

    return np.ascontiguousarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2YCrCb)[..., :1])


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An image file whose header is read and whose pixels are not; what goes wrong inside becomes one UnfoldError."""
    with open_picture(path, "image") as image:
        yield image


def decode(image: Any, path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The pixels of an image just :func:`opened`: (H,W,3) RGB, or (H,W) where it is grey. UnfoldError by the terms."""
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # MPO: a camera's JPEG with a preview behind it
        raise UnfoldError(f"{path} holds {image.n_frames} pictures, an animation or pages; save one as a file")
    deep = bit_depth(image) == 16
    turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    image.load()  # for 16 bits, too: Pillow tells a truncated file, where cv2 gives a picture that ends in grey
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    kind = "L" if image.mode in ("1", "I;16", "I;16B", "I;16L") or (deep and image.mode == "I") else image.mode
    if kind not in ("L", "LA", "RGB", "RGBA"):
        hint = "; convert it with its colour profile" if kind == "CMYK" else ""
        raise UnfoldError(f"{path} is of kind {kind}, and a colour image (RGB) is wanted{hint}")
    if deep:
        # Pillow turns TIFF while it loads, cv2 likewise.
        pixels = read_deep(path)
        pixels = pixels if image.format == "TIFF" else turned(pixels, turn)
    else:
        pixels = np.asarray(ImageOps.exif_transpose(image.convert("L") if image.mode == "1" else image))
    if kind.endswith("A"):
        if (pixels[..., -1] != np.iinfo(pixels.dtype).max).any():
            raise UnfoldError(f"{path} is transparent in places ({kind}); lay it on a background and save it as RGB")
        pixels = pixels[..., :-1] if kind == "RGBA" else pixels[..., 0]
    return pixels


def bit_depth(image: Any) -> int:
    """8 or 16 bits per channel, of an image that is :func:`opened` and not loaded, by what its decoder is told."""
    told = image.tile[0][3] if image.tile else ()
    if image.format == "PPM":
        deep = told == "I;16B" or any(isinstance(value, int) and value > 255 for value in told)
    elif image.format == "JPEG2000":
        deep = jpeg2000_bits(image) > 8
    else:
        deep = image.format in ("PNG", "TIFF") and ";16" in str(told)
    return 16 if deep else 8


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels as an EXIF orientation (1 to 8) says that they are to be shown."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def pixel_digest(pixels: NDArray[Any]) -> bytes:
    """sha256 of the size, the depth and the pixels of an image (H,W,3)."""
    digest = hashlib.sha256(f"{pixels.shape}{pixels.dtype}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def check_images(files: Sequence[Path], smallest: int, grey: bool = False) -> None:
    """Read every image once, so that a bad one is found before the work and not hours into it.

    grey: whether grey ones are taken. Raises UnfoldError for an image that cannot be read or has a side below
    ``smallest``.
    """
    for path in progress(files, "checking images", "image"):
        height, width = read_image(path, grey).shape[:2]
        if min(height, width) < smallest:
            raise UnfoldError(f"{path} is {height}x{width} pixels, and at least {smallest}x{smallest} are needed")


def to_float(image: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.float32]:
    """Integers to float32 in [0,1]."""
    return image.astype(np.float32) / np.float32(np.iinfo(image.dtype).max)
