"""What the evaluations on given pairs of images, of 8 bits, have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.data.pairs import Pair, find_pairs, read_pair
from unfold.errors import UnfoldError
from unfold.models.on_arrays import Image
from unfold.protocols.protocol import Case, Protocol, Sample, to_uint8


@dataclass(frozen=True)
class PairProtocol(Protocol):
    """The input is given, nothing is known of how it was degraded, and results are scored as saved 8-bit files.

    crop: side of the square in the middle of each pair that is taken alone, 0 for all of it: the published training
    validates on 256 (deblurring) and 128 (deraining).
    """

    crop: int = 0

    def __post_init__(self) -> None:
        if self.crop < 0:
            raise UnfoldError(f"crop is a number of pixels, or 0 for the whole image, not {self.crop}")

    def cases(self, source: str, split: str = "test") -> list[Case]:
        """The pairs of a set, see :func:`unfold.data.pairs.find_pairs`."""
        return [Case(pair.name, (pair.input, pair.target)) for pair in find_pairs(source, split)]

    def sample(self, case: Case) -> Sample:
        y, target = (middle(image, self.crop) for image in read_pair(Pair(case.name, *case.files)))
        return Sample({"y": y.astype(np.float32) / np.float32(255)}, target)

    def finish(self, result: Image) -> Image:
        return to_uint8(result)


def middle(image: NDArray[Any], side: int) -> NDArray[Any]:
    """The square in the middle of an image (H,W,C); all of it for a side of 0, and where it is smaller."""
    rows, columns = (slice((n - side) // 2, (n + side) // 2) for n in image.shape[:2])
    return image[rows, columns] if 0 < side <= min(image.shape[:2]) else image
