"""Images to cut patches from: here in files; patch_cache.py has them in a cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from PIL import ExifTags
from PIL.Image import Image as Picture
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH

from unfold.data.images import as_channels, find_folder, find_images, find_list, opened, read_image, sliced
from unfold.data.pairs import Pair, find_pairs, holds_pairs
from unfold.errors import UnfoldError
from unfold.util.arrays import Array, width_x_height
from unfold.util.progress import progress

Item = Pair | Path  # a pair, or an image that is its own target
Files = dict[str, Path]  # "target", and of a pair "input"
Pixels = Array  # (H,W,3) RGB, uint8, or uint16 from 16-bit files


class Window(NamedTuple):
    """A part of an image, in pixels."""

    row: int
    column: int
    height: int
    width: int


class Store(Protocol):
    """Images that patches are cut from. Stores can be pickled for worker processes.

    scale: how many times as large targets are as their inputs.
    """

    scale: int

    def __len__(self) -> int: ...

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image."""

    def crop(self, index: int, window: Window) -> dict[str, Pixels]:
        """A part of "target", in whole multiples of the scale, and for a pair the same part of "input"; read-only.

        ValueError if the window is not inside the image.
        """


@runtime_checkable
class LateStore(Store, Protocol):
    """A store whose images are decoded on first use."""

    def complete(self) -> bool:
        """Whether all images have been decoded once."""

    def sums(self, index: int) -> list[int]:
        """CRC-32 of the pixels of each kind of an image, in the order of their names. Decodes it if needed."""


class FileStore:
    """Images or pairs in files of any size, decoded for every crop: slow, but without memory.

    UnfoldError if a file cannot be read or a pair has two sizes, the latter at the crop.
    """

    scale = 1

    def __init__(self, items: Sequence[Item]) -> None:
        self.files = [files_of(item) for item in items]
        self.sizes = [read_head(files["target"]).size for files in progress(self.files, "reading sizes", "image")]

    def __len__(self) -> int:
        return len(self.files)

    def size(self, index: int) -> tuple[int, int]:
        return self.sizes[index]

    def crop(self, index: int, window: Window) -> dict[str, Pixels]:
        rows, columns = inside(window, self.sizes[index])
        return {kind: image[rows, columns] for kind, image in read_files(self.files[index]).items()}


class Converted:
    """A store whose crops are converted to another number of channels."""

    scale = 1

    def __init__(self, store: Store, channels: int) -> None:
        self.store, self.channels = store, channels

    def __len__(self) -> int:
        return len(self.store)

    def size(self, index: int) -> tuple[int, int]:
        return self.store.size(index)

    def crop(self, index: int, window: Window) -> dict[str, Pixels]:
        images = self.store.crop(index, window)
        return {name: as_channels(image, self.channels, "the cache") for name, image in images.items()}


def find_items(source: str) -> list[Item]:
    """The items to train on: a folder's pairs where it holds pairs (see find_pairs), else its images.

    UnfoldError as in find_pairs and find_images.
    """
    name = sliced(source)[0]
    if name.rstrip("/") == "photographs":
        return [*find_images(source, "train")]
    if find_list(name) is not None:
        try:
            return [*find_pairs(source, "train")]
        except UnfoldError:  # the error about images is clearer
            return [*find_images(source, "train")]
    return (
        [*find_pairs(source, "train")] if holds_pairs(find_folder(name), "train") else [*find_images(source, "train")]
    )


def files_of(item: Item) -> Files:
    """The files of an item by kind: "target", and of a pair "input" before it."""
    return {"input": item.input, "target": item.target} if isinstance(item, Pair) else {"target": item}


def read_files(files: Files) -> dict[str, Pixels]:
    """Decode the files of an item. UnfoldError if one cannot be read or they differ in size or depth."""
    images = {kind: read_image(path, grey=True) for kind, path in files.items()}
    if len({(image.shape, image.dtype) for image in images.values()}) > 1:
        shapes = " and ".join(
            f"{files[kind]} {width_x_height(image.shape)} of {8 * image.itemsize} bits"
            for kind, image in images.items()
        )
        raise UnfoldError(f"a pair has one size and depth, and {shapes} have not")
    return images


class Head(NamedTuple):
    """Facts from an image's header: height and width after turning, and whether it is grey (not a palette)."""

    size: tuple[int, int]
    grey: bool


def read_head(path: Path) -> Head:
    """Read the header of an image for :func:`unfold.data.images.read_image`. UnfoldError where it is unreadable."""
    with opened(path) as image:
        # For a TIFF, some versions of Pillow give the turned size, others the stored one; the tags hold the latter.
        tiff = image.format == "TIFF"
        width, height = (image.tag_v2[tag] for tag in (IMAGEWIDTH, IMAGELENGTH)) if tiff else image.size
        plain = image.format == "PNG" and not _png_ends_with_more(path)
        exif = Picture.getexif(image) if plain else image.getexif()
        lying = exif.get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I")
    return Head((width, height) if lying else (height, width), grey)


def _png_ends_with_more(path: Path) -> bool:
    """Whether a PNG has other chunks after its first pixels, or no end: Pillow must decode it fully to see them."""
    with path.open("rb") as file:
        file.seek(8)
        seen = False
        while len(head := file.read(8)) == 8:
            if head[4:] == b"IEND":
                return False
            seen = seen or head[4:] == b"IDAT"
            if seen and head[4:] != b"IDAT":
                return True
            file.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    return True


def inside(window: Window, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of a window; ValueError where it is not inside an image of that size."""
    row, column, height, width = window
    if not (0 <= row <= row + height <= size[0] and 0 <= column <= column + width <= size[1]):
        raise ValueError(f"{window} is not inside an image of {width_x_height(size)} pixels")
    return slice(row, row + height), slice(column, column + width)
