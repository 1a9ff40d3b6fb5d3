"""Images that are decoded once for all processes of a machine, by the first process that needs them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.data.stores.image_stores import Window, inside
from unfold.data.stores.pixel_file import FILLED, NUMBERS, SEEN, Entry, PixelFile
from unfold.errors import UnfoldError
from unfold.util.arrays import width_x_height

Images = dict[str, NDArray[Any]]


class SharedStore:
    """A store (:class:`unfold.data.stores.image_stores.Store`) on a file of pixels, which it fills.

    sources: of all images, including skipped ones; read: decodes one; shrink: makes a smaller copy from an image and a
    factor; factors: of these copies, which follow the images; sizes: of the images, height and width; scale: target
    size over input size; key: identifies these images.
    """

    def __init__(
        self,
        file: PixelFile,
        sources: Sequence[Any],
        read: Callable[[Any], Images],
        shrink: Callable[[Images, float], Images],
        factors: Sequence[float],
        sizes: Sequence[tuple[int, int]],
        scale: int,
        key: str,
    ) -> None:
        self.file, self.sources, self.read, self.shrink, self.scale, self.key = file, sources, read, shrink, scale, key
        self.factors = (1.0, *factors)
        self.sizes = list(sizes)
        self.slots = list(range(len(sources) * len(self.factors)))  # of the images that are not skipped

    def leave_out(self, sources: set[int]) -> None:
        """Skip these sources, by number."""
        self.slots = [slot for slot in self.slots if slot % len(self.sources) not in sources]

    def __len__(self) -> int:
        return len(self.slots)

    def size(self, index: int) -> tuple[int, int]:
        copy, source = divmod(self.slots[index], len(self.sources))
        height, width = self.sizes[source]
        factor = self.factors[copy]
        # The size that unfold.physics.resize.imresize gives.
        return (height, width) if not copy else (int(np.ceil(height * factor)), int(np.ceil(width * factor)))

    def crop(self, index: int, window: Window) -> Images:
        slot = self.slots[index]
        inside(window, self.size(index))
        entry, images = self.filled(slot)
        if images is None and entry.state == SEEN:
            images = self._decode(slot)
        parts = {}
        for kind, part in entry.parts.items():
            n = self.scale if kind == "input" else 1
            rows = slice(window.row // n, (window.row + window.height) // n)
            columns = slice(window.column // n, (window.column + window.width) // n)
            parts[kind] = self.file.read(part, rows, columns) if images is None else images[kind][rows, columns]
        return parts

    def filled(self, slot: int) -> tuple[Entry, Images | None]:
        """The entry of a slot after decoding, and the images where they were decoded now."""
        entry = self.file.entry(slot)
        if entry.state == FILLED or (entry.state == SEEN and not self.file.takes):
            return entry, None
        with self.file.alone_at(slot):
            entry = self.file.entry(slot)
            if entry.state == FILLED:
                return entry, None
            images = self._decode(slot)
            return self.file.put(slot, images), images

    def _decode(self, slot: int) -> Images:
        copy, source = divmod(slot, len(self.sources))
        if copy:
            entry, images = self.filled(source)
            if images is None and entry.state == FILLED:
                whole = {kind: (slice(0, part.height), slice(0, part.width)) for kind, part in entry.parts.items()}
                images = {kind: self.file.read(entry.parts[kind], *window) for kind, window in whole.items()}
            return self.shrink(images or self._decode(source), self.factors[copy])
        images = self.read(self.sources[source])
        self.check(source, images)
        return images

    def check(self, source: int, images: Images) -> None:
        """UnfoldError if the images of a source differ in format from the others, or from their header."""
        name = getattr(self.sources[source], "target", self.sources[source])
        target = images["target"]
        if set(images) != set(self.file.kinds) or any(str(image.dtype) not in NUMBERS for image in images.values()):
            has = ", ".join(f"{kind} of {image.dtype}" for kind, image in images.items())
            raise UnfoldError(
                f"{name} is read as {has}, and a store of decoded images holds {' and '.join(self.file.kinds)} of "
                f"{', '.join(NUMBERS)}"
            )
        if target.shape[:2] != self.sizes[source]:
            height, width = self.sizes[source]
            raise UnfoldError(
                f"{name} has {width_x_height(target.shape)} pixels, and its head says {width}x{height}: save it "
                "again, or start again if it was changed just now"
            )
        scale = len(target) // len(images["input"]) if "input" in images else 1
        if scale != self.scale:
            raise UnfoldError(
                f"{name} is {scale} times as large as its input, and the first target {self.scale} times: a set has "
                "one scale"
            )

    def sums(self, index: int) -> list[int]:
        """CRC-32 of the pixels of each kind of an image, in the order of their names. Decodes it if needed."""
        parts = self.filled(self.slots[index])[0].parts
        return [parts[kind].crc for kind in sorted(parts)]

    def complete(self) -> bool:
        """Whether all images have been decoded once."""
        entries = self.file.entries()
        return all(entries[slot].state in (FILLED, SEEN) for slot in self.slots)


def sums_of(images: Images) -> list[int]:
    """As :meth:`SharedStore.sums`."""
    return [zlib.crc32(images[kind].tobytes()) for kind in sorted(images)]
