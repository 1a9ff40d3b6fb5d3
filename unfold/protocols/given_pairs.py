"""Common base of evaluations on given pairs of images, scored in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass

from unfold.data.images import eight_bits, to_float
from unfold.data.pairs import Pair, find_pairs, read_pair, scale_of
from unfold.errors import UnfoldError
from unfold.models.run_on_arrays import Image
from unfold.protocols.protocol import Case, Protocol, Sample, to_uint8
from unfold.util.arrays import Array


@dataclass(frozen=True)
class PairProtocol(Protocol):
    """The input is given, its degradation is unknown, and results are scored as saved 8-bit files.

    crop: side of the central square of each pair that is used, 0 for all of it: the published training validates on 256
    (deblurring) and 128 (deraining).

    Inputs of 16 bits keep their depth; targets are rounded to 8 bits, as results are.
    """

    crop: int = 0

    def __post_init__(self) -> None:
        if self.crop < 0:
            raise UnfoldError(f"crop is a number of pixels, or 0 for the whole image, not {self.crop}")

    def cases(self, source: str, split: str = "test") -> list[Case]:
        """The pairs of a set, see :func:`unfold.data.pairs.find_pairs`."""
        return [Case(pair.name, (pair.input, pair.target)) for pair in find_pairs(source, split)]

    def sample(self, case: Case) -> Sample:
        pair = Pair(case.name, *case.files)
        y, target, _ = middle_of_pair(*read_pair(pair, self.channels), pair, self.crop)
        return Sample({"y": to_float(y)}, eight_bits(target, pair.target))

    def finish(self, result: Image) -> Image:
        return to_uint8(result)


def middle(image: Array, side: int, grid: int = 1) -> Array:
    """The central square of an image (H,W,C); all of it for side 0, and where it is smaller.

    grid: side and position are multiples of it.
    """
    side = side // grid * grid
    rows, columns = (
        slice((n - side) // grid // 2 * grid, ((n - side) // grid // 2 * grid + side)) for n in image.shape[:2]
    )
    return image[rows, columns] if 0 < side <= min(image.shape[:2]) else image


def middle_of_pair(y: Array, target: Array, pair: Pair, crop: int) -> tuple[Array, Array, int]:
    """The aligned centres of both, ``crop`` pixels of the target, and the scale of the pair."""
    scale = scale_of(pair, y, target)
    return middle(y, crop // scale), middle(target, crop, scale), scale
