"""The data of a table of measurements: cells with scores of images, and published numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Status = Literal["done", "partial", "no data", "no weights", "published only"]


class ImageScore(NamedTuple):
    """One method on one image: scores by name (psnr in dB, ssim), seconds, PSNR after each stage (networks only)."""

    name: str
    scores: dict[str, float]
    seconds: float
    stages: list[float]


@dataclass(frozen=True)
class Cell:
    """One number of a table, published and measured.

    row, column: labels in the table, outer to inner; metric: which score; published, measured: means over images, None
    where missing. images: measured ones, of ``total``, 0 for a mean of cells; protocol: as text with its options; data:
    the set; method: the network's or baseline's name. note: why there is no number, or a remark on it.
    """

    row: tuple[str, ...]
    column: tuple[str, ...]
    metric: str
    status: Status
    published: float | None = None
    measured: float | None = None
    images: list[ImageScore] = field(default_factory=list)
    total: int = 0
    protocol: str = ""
    data: str = ""
    method: str = ""
    note: str = ""

    @property
    def difference(self) -> float | None:
        """Measured minus published; None if not all images were measured."""
        if self.published is None or self.measured is None or self.status != "done":
            return None
        return self.measured - self.published


@dataclass(frozen=True)
class Table:
    """name: as in `unfold tables`; title: what it shows; source: of the published numbers; provenance: of the measured
    ones, plain values by name.
    """

    name: str
    title: str
    source: str
    cells: list[Cell]
    provenance: dict[str, object]


class Shown(NamedTuple):
    """An example image: its cell, its name, and input, result and target (H,W,C), uint8; no target where the
    protocol has none. The input has the result's size.
    """

    cell: Cell
    image: ImageScore
    input: NDArray[np.uint8]
    result: NDArray[np.uint8]
    target: NDArray[np.uint8] | None
