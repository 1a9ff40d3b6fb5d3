"""Random training patches, the same for any number of workers and processes and after any resume."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from unfold.data.batches import Key, order
from unfold.data.stores.image_stores import Store, Window
from unfold.errors import UnfoldError
from unfold.physics.resize import imresize
from unfold.user_files import their_errors
from unfold.util.arrays import Array, Named
from unfold.util.progress import progress

Image = Array
Images = dict[str, Image]  # "target" (H,W,C), and for pairs "input", of the same size or a whole fraction of it
Make = Callable[[Images, np.random.Generator, int], Named]
Source = TypeVar("Source")

logger = logging.getLogger("unfold")
NAMED = 10  # bad files listed in an error


class MemoryStore:
    """Images held in memory, as integers."""

    def __init__(self, images: Sequence[Images]) -> None:
        self.images = images
        self.scale = _scale(images[0]) if images else 1

    def __len__(self) -> int:
        return len(self.images)

    def size(self, index: int) -> tuple[int, int]:
        height, width = self.images[index]["target"].shape[:2]
        return height, width

    def crop(self, index: int, window: Window) -> Images:
        row, column, height, width = window
        parts = {}
        for name, image in self.images[index].items():
            n = self.scale if name == "input" else 1
            parts[name] = image[row // n : (row + height) // n, column // n : (column + width) // n]
        return parts


def _scale(images: Images) -> int:
    """Scale of the target against the input."""
    return len(images["target"]) // len(images["input"]) if "input" in images else 1


def read_store(
    sources: Sequence[Source],
    read: Callable[[Source], Images],
    skip_bad: bool = False,
    factors: Sequence[float] = (),
) -> tuple[MemoryStore, list[str]]:
    """Read all images of a training set into memory: (the store, what was wrong with each one left out).

    All targets are larger than their inputs by one scale; otherwise an error names those that differ. Every file is
    decoded here, before the first step. Raises UnfoldError that names the bad files with the reason for each. With
    skip_bad each is skipped with a warning, and the error is raised only where none is left.
    factors: smaller copies of all images, one per factor, follow.
    """
    images: list[Images] = []
    bad: list[str] = []
    for source in progress(sources, "reading images", "image"):
        try:
            one = read(source)
            if images and _scale(one) != _scale(images[0]):
                raise UnfoldError(
                    f"{getattr(source, 'target', source)} is {_scale(one)} times as large as its input, and the first "
                    f"target {_scale(images[0])} times: a set has one scale"
                )
            images.append(one)
        except UnfoldError as error:
            bad.append(str(error))
    if bad and not (skip_bad and images):
        more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        hint = " (DATA.SKIP_BAD true leaves them out)" if images else ""
        raise UnfoldError(
            f"{len(bad)} of {len(sources)} training images cannot be used{hint}: {'; '.join(bad[:NAMED])}{more}"
        )
    for reason in bad:
        logger.warning("left out: %s", reason)
    if bad:
        logger.warning("%d of %d training images are left out (DATA.SKIP_BAD)", len(bad), len(sources))
    copies = [(image, factor) for factor in factors for image in images]
    images += [reduced(*copy) for copy in progress(copies, "making smaller copies", "image")]
    return MemoryStore(images), bad


def reduced(images: Images, factor: float) -> Images:
    """Images reduced by the factor with MATLAB's bicubic interpolation, in their own integer type."""
    made = {}
    for name, image in images.items():
        small = imresize(image, factor)
        pixels = small.clip(0, np.iinfo(image.dtype).max).round() if image.dtype.kind == "u" else small.clip(0, 1)
        made[name] = np.ascontiguousarray(pixels, image.dtype)
    return made


def dihedral(image: Image, code: int) -> Image:
    """One of the 8 rotations and reflections of (H,W,C): code >= 4 flips the rows, then code % 4 quarter turns."""
    return np.rot90(image[::-1] if code >= 4 else image, code % 4)


def random_patch(store: Store, patch: int, rng: np.random.Generator, index: int | None = None) -> Images:
    """A random crop (patch,patch,C) of an image with one of 8 rotations and reflections; its partner gets the same.

    index: which image; None: a uniformly random one. Positions are uniform, too. An image that is too small is extended
    at the right and the bottom by reflection. The input of a pair whose target is ``store.scale`` times as large shows
    the same part with fewer pixels; patch is a multiple of the scale.
    """
    if index is None:
        index = int(rng.integers(len(store)))
    scale = store.scale
    # On the grid of the input's pixels, so that the two sides of a pair stay aligned.
    row, column = (
        scale * int(rng.integers(max(size - patch, 0) // scale, endpoint=True)) for size in store.size(index)
    )
    images = store.crop(index, Window(row, column, *(min(size, patch) for size in store.size(index))))
    code = int(rng.integers(8))
    sides = {name: patch // scale if name == "input" else patch for name in images}
    return {name: dihedral(_padded(image, sides[name], scale), code) for name, image in images.items()}


def _padded(image: Image, patch: int, scale: int) -> Image:
    below, right = (patch - size for size in image.shape[:2])
    if not below and not right:
        return image
    # Reflect around the border pixel (not repeated); for two sizes around the border itself, which both share.
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="reflect" if scale == 1 else "symmetric")


def to_tensor(image: Image) -> Tensor:
    """(H,W,C) -> (C,H,W)."""
    # A copy: a view reversed along an axis of one pixel counts as contiguous, and torch takes no negative strides. The
    # copy also protects an image in memory from being written to.
    return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))


class Patches(Dataset[Named]):
    """Samples made of random patches of a store's images.

    An item, addressed by a :class:`Key`, is a pure function of (seed, epoch, number), and of the scale where ``make``
    uses it. There is no state, so order, workers, processes and resuming do not matter.

    make: (images of a patch, generator, scale) -> a sample: arrays, those of three axes as (H,W,C), and numbers. The
    item has tensors instead, (C,H,W) for the former; numbers stay. passes: an epoch goes through all images in random
    order, and starts another order where it is longer; otherwise each sample is of a random image.
    """

    def __init__(self, store: Store, patch: int, seed: int, make: Make, passes: bool = False) -> None:
        self.store, self.patch, self.seed, self.make, self.passes = store, patch, seed, make, passes

    def __getitem__(self, key: Key) -> Named:
        rng = np.random.default_rng((self.seed, key.epoch, key.number))
        index = None
        if self.passes:
            number, place = divmod(key.number, len(self.store))
            index = int(order(self.seed, key.epoch, number, len(self.store))[place])
        patch = random_patch(self.store, self.patch, rng, index)
        with their_errors("making a training sample"):
            return plain_sample(self.make(patch, rng, key.scale))


def plain_sample(sample: Mapping[str, object]) -> Named:
    """A sample with tensors instead of arrays: (C,H,W) for arrays of three axes; numbers stay."""
    return {name: _plain(value) for name, value in sample.items()}


def _plain(value: object) -> object:
    if not isinstance(value, np.ndarray):
        return value
    return to_tensor(value) if value.ndim == 3 else torch.from_numpy(np.array(value, order="C"))
