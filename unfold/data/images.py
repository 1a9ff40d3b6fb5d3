"""Reading image files, and finding them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from unfold.errors import UnfoldError
from unfold.paths import as_path
from unfold.progress import progress

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")

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

    source: "photographs" (the split of PHOTOGRAPHS) or a folder, as it is or under UNFOLD_DATA; split: train, val or
    test. Raises UnfoldError where the folder or its images are missing.
    """
    if source.rstrip("/") == "photographs":
        return _photographs(split)
    return images_in(find_folder(source))


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, in natural order. UnfoldError where there are none."""
    files = natsorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not files:
        raise UnfoldError(f"{folder} holds no images ({', '.join(EXTENSIONS)}; folders in it are not searched)")
    return files


def find_folder(source: str) -> Path:
    """``source`` as a path, or below UNFOLD_DATA (default: datasets). UnfoldError names both places tried."""
    root = Path(os.environ.get("UNFOLD_DATA", "datasets"))
    for folder in (as_path(source), root / source):
        if folder.is_dir():
            return folder
        if folder.exists():
            raise UnfoldError(f"{folder} is a file, and a folder of images is wanted")
    raise UnfoldError(f"there is no folder {source}, nor {root / source} (UNFOLD_DATA says where data sets lie)")


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
    path = Path(os.environ.get("UNFOLD_DATA", "datasets")) / name
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
    """Read a colour image as (H,W,3) RGB, uint8 or uint16 as the file has it, turned as its EXIF orientation says.

    Palettes are expanded. grey: also take grey images, of 8 bits, in three equal channels. UnfoldError where the file
    is missing, damaged, grey unasked, or has an alpha channel.
    """
    try:
        with Image.open(path) as image:
            deep = _is_deep(image)
            image.load()
            if image.mode == "P":
                image = image.convert("RGBA" if "transparency" in image.info else "RGB")
            if grey and image.mode in ("1", "L"):
                image = image.convert("RGB")
            if image.mode != "RGB":
                kind = "grey" if image.mode in ("1", "L", "I", "F", "I;16", "I;16B") else f"of kind {image.mode}"
                raise UnfoldError(f"{path} is {kind}, and a colour image (RGB) is wanted")
            if not deep:
                return np.asarray(ImageOps.exif_transpose(image))
            if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                raise UnfoldError(f"{path} has 16 bits per channel and an EXIF orientation: not both are read")
            return _read_deep(path)
    except FileNotFoundError:
        raise UnfoldError(f"there is no image {path}") from None
    except UnidentifiedImageError:
        raise UnfoldError(f"{path} is not an image that can be read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, UnfoldError):
            raise
        raise UnfoldError(f"{path} cannot be read: {error}") from None


def _is_deep(image: Any) -> bool:
    """Whether an image that is not loaded yet has 16 bits per channel, by what its decoder is told."""
    told = image.tile[0][3] if image.tile else ()
    if image.format == "PPM":
        return isinstance(told, tuple) and any(isinstance(value, int) and value > 255 for value in told)
    return ";16" in str(told)


def _read_deep(path: Path) -> NDArray[np.uint16]:
    """16 bits per channel, which Pillow would cut to 8."""
    import cv2

    array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.ndim != 3:
        raise UnfoldError(f"{path} has 16 bits per channel in a layout that cannot be read")
    return np.ascontiguousarray(array[..., ::-1])


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
