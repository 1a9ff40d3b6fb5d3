"""Images of several training sets as one set, with the part of each sample: the data of a mixture (DATA.MIX)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from unfold.data.batches import Key, order
from unfold.data.patches import Images, Patches, plain_sample, random_patch
from unfold.data.stores.image_stores import Pixels, Store, Window
from unfold.errors import UnfoldError
from unfold.user_files import their_errors

LARGEST = 10**8  # samples of a pass: their order takes 8 bytes each
MakePart = Callable[[int, Images, np.random.Generator, int], dict[str, Any]]


class Place(NamedTuple):
    """Place of a sample's image: the number of its part, and of the image in that part."""

    part: int
    image: int


class MixedStore:
    """The stores of the parts one after the other, each image once; parts that share a store share its images here.

    parts: stores by name; repeats: how often each part's images come in a pass.
    """

    scale = 1

    def __init__(self, parts: Mapping[str, Store], repeats: Sequence[int]) -> None:
        self.parts, self.repeats = parts, list(repeats)
        self._distinct = list({id(store): store for store in parts.values()}.values())
        self._ends = list(accumulate(len(store) for store in self._distinct))
        self.counts = pass_counts([len(store) for store in parts.values()], self.repeats)
        self._part_ends = list(accumulate(self.counts))
        if self.samples > LARGEST:
            raise UnfoldError(
                f"a pass of DATA.MIX has {self.samples:,} samples, and at most {LARGEST:,} can be put in order: repeat "
                "parts less (REPEAT)"
            )

    def __len__(self) -> int:
        return self._ends[-1]

    def _of(self, index: int) -> tuple[Store, int]:
        which = bisect_right(self._ends, index)
        return self._distinct[which], index - (self._ends[which - 1] if which else 0)

    def size(self, index: int) -> tuple[int, int]:
        store, own = self._of(index)
        return store.size(own)

    def crop(self, index: int, window: Window) -> dict[str, Pixels]:
        store, own = self._of(index)
        return store.crop(own, window)

    @property
    def samples(self) -> int:
        """Samples of one pass: all images of all parts, with their repeats."""
        return self._part_ends[-1]

    def place(self, index: int) -> Place:
        """Place of sample ``index`` of a pass, before shuffling."""
        part = bisect_right(self._part_ends, index)
        within = index - (self._part_ends[part - 1] if part else 0)
        return Place(part, within % len([*self.parts.values()][part]))


def pass_counts(images: Sequence[int], repeats: Sequence[int]) -> list[int]:
    """How many samples of each part a pass has."""
    return [count * repeat for count, repeat in zip(images, repeats, strict=True)]


class MixedPatches(Patches):
    """As :class:`unfold.data.patches.Patches`, for a mixture: an item is a pure function of (seed, epoch, number).

    passes: an epoch goes through all images of all parts, with their repeats, in one random order, and starts another
    order where it is longer; otherwise each sample is drawn at random, so that parts appear in proportion.
    """

    store: MixedStore

    def __init__(self, store: MixedStore, patch: int, seed: int, make: MakePart, passes: bool = False) -> None:
        self.store, self.patch, self.seed, self.passes = store, patch, seed, passes
        self.make_part = make

    def __getitem__(self, key: Key) -> dict[str, Any]:
        rng = np.random.default_rng((self.seed, key.epoch, key.number))
        place = self.store.place(self._index(key, rng))
        part = [*self.store.parts.values()][place.part]
        patch = random_patch(part, self.patch, rng, place.image)
        with their_errors("making a training sample"):
            return plain_sample(self.make_part(place.part, patch, rng, key.scale))

    def _index(self, key: Key, rng: np.random.Generator) -> int:
        count = self.store.samples
        if not self.passes:
            return int(rng.integers(count))
        number, place = divmod(key.number, count)
        return int(order(self.seed, key.epoch, number, count)[place])
