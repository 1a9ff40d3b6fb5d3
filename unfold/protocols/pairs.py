"""What the evaluations on given pairs of images, of 8 bits, have in common."""

from __future__ import annotations

import numpy as np

from unfold.data.pairs import Pair, find_pairs, read_pair
from unfold.protocols.protocol import Case, Image, Protocol, Sample, to_uint8


class PairProtocol(Protocol):
    """The input is given, nothing is known of how it was degraded, and results are scored as saved 8-bit files."""

    def cases(self, source: str, split: str = "test") -> list[Case]:
        """The pairs of a set, see :func:`unfold.data.pairs.find_pairs`."""
        return [Case(pair.name, (pair.input, pair.target)) for pair in find_pairs(source, split)]

    def sample(self, case: Case) -> Sample:
        y, target = read_pair(Pair(case.name, *case.files))
        return Sample({"y": y.astype(np.float32) / np.float32(255)}, target)

    def finish(self, result: Image) -> Image:
        return to_uint8(result)
