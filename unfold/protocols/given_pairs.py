"""What the evaluations on given pairs of images have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from unfold.data.images import eight_bits, to_float
from unfold.data.pairs import Pair, find_pairs, read_pair, scale_of
from unfold.errors import UnfoldError
from unfold.models.on_arrays import Image
from unfold.protocols.protocol import Case, Protocol, Sample, to_uint8


@dataclass(frozen=True)
class PairProtocol(Protocol):
    """The input is given, nothing is known of how it was degraded, and results are scored as saved 8-bit files.

    crop: side of the square in the middle of each pair that is taken alone, 0 for all of it: the published training
    validates on 256 (deblurring) and 128 (deraining). input, target, pattern: folders of the two sides and the template
    of the inputs' names where names alone do not tell them, see :func:`unfold.data.pairs.find_pairs` (there: name).

    Inputs of 16 bits are given in full depth; targets are rounded to 8, as results are. Where targets are a whole
    number of times as large as the inputs, that is given as ``scale``.
    """

    crop: int = 0
    input: str = ""
    target: str = ""
    pattern: str = ""
    inputs: ClassVar = ("y", "scale")

    def __post_init__(self) -> None:
        if self.crop < 0:
            raise UnfoldError(f"crop is a number of pixels, or 0 for the whole image, not {self.crop}")

    def cases(self, source: str, split: str = "test") -> list[Case]:
        """The pairs of a set, see :func:`unfold.data.pairs.find_pairs`."""
        pairs = find_pairs(source, split, input=self.input, target=self.target, name=self.pattern)
        return [Case(pair.name, (pair.input, pair.target)) for pair in pairs]

    def options(self) -> dict[str, Any]:
        """crop, and those of the others that are given: they say where the images are, and not what is measured."""
        return {name: value for name, value in super().options().items() if name == "crop" or value}

    def sample(self, case: Case) -> Sample:
        pair = Pair(case.name, *case.files)
        y, target = read_pair(pair, self.channels)
        scale = scale_of(pair, y, target)
        rounded = eight_bits(self._middle(target, scale), pair.target)
        return Sample({"y": to_float(self._middle(y, scale, small=True)), "scale": scale}, rounded)

    def _middle(self, image: NDArray[Any], scale: int = 1, *, small: bool = False) -> NDArray[Any]:
        """The middle of a target, or of an input that is so much smaller: on the input's pixels, to be in register."""
        side, one = self.crop // scale, 1 if small else scale
        height, width = (n // one for n in image.shape[:2])
        if not 0 < side <= min(height, width):
            return image
        rows, columns = (slice((n - side) // 2 * one, (n + side) // 2 * one) for n in (height, width))
        return image[rows, columns]

    def finish(self, result: Image) -> Image:
        return to_uint8(result)
