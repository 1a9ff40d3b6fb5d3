"""Evidence in a photograph: JPEG compression, noise, blur, and how it was made small."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.inference.photographs.jpeg_traces import found_table, jpeg_error, quality_of, table_of
from unfold.inference.photographs.noise_and_blur import blur_width, luma_in_255, luma_of, noise_level
from unfold.inference.photographs.reductions import likely_ways

SOFT = 0.45  # pixels of blur: photographs, also reduced ones, have less
LOSSY = (".webp", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jxl")  # formats that may take as JPEG does
LOOKED_AT = 1024  # pixels on a side, in the middle: enough, and bounded memory


@dataclass(frozen=True)
class Evidence:
    """jpeg: error of compression, of 255, 0 without traces of it; quality: of the nearest standard table, or None;
    noise: of 255, 0 where it is not distinguishable from texture; blur: pixels, 0 where edges are sharp; ways: how the
    picture may have been made small, most likely first; in_file: whether the file itself is a JPEG, or may be lossy
    otherwise; else traces of JPEG are of a file that was decoded and saved again without loss.
    """

    jpeg: float
    quality: int | None
    noise: float
    blur: float
    ways: tuple[str, ...]
    in_file: bool = True

    def error(self) -> float:
        """Noise and JPEG error combined, of 255."""
        return float(np.hypot(self.noise, self.jpeg))

    def sentence(self) -> str:
        """The findings as a sentence."""
        jpeg = f"{'' if self.in_file else 'an earlier '}JPEG of quality {self.quality}"
        found = [
            jpeg if self.quality else "no trace of JPEG",
            f"noise {self.noise:.1f} (of 255)" if self.noise else "no noise in its smoothest parts",
            f"a blur of {self.blur:.1f} pixels" if self.blur > SOFT else "sharp edges",
        ]
        return ", ".join(found)


def jpeg_error_of(pixels: NDArray[Any], source: Path) -> float:
    """Error of compression of a JPEG file, in [0,1] units; 0 for other formats."""
    table = table_of(source)
    return 0.0 if table is None else jpeg_error(luma_in_255(_middle(pixels)), table) / 255


def _middle(plane: NDArray[Any]) -> NDArray[Any]:
    """The middle of a plane, cut to whole JPEG blocks (also of chroma)."""
    starts = [max(0, (n - LOOKED_AT) // 2) // 16 * 16 for n in plane.shape[:2]]
    rows, columns = (slice(start, start + LOOKED_AT) for start in starts)
    return plane[rows, columns]


def gather(pixels: NDArray[Any], source: Path | None = None) -> Evidence:
    """Gather evidence from a picture (H,W,1|3), uint8 or uint16. source: its file, whose JPEG table is read; without a
    JPEG file, traces of JPEG are searched for in the pixels.
    """
    middle = _middle(pixels).astype(np.float32) * np.float32(255 / np.iinfo(pixels.dtype).max)
    luma = luma_of(middle)
    table = table_of(source) if source is not None else None
    in_file = table is not None or (source is not None and source.suffix.lower() in LOSSY)
    if table is None:
        table = found_table(luma)
    return Evidence(
        jpeg=0.0 if table is None else jpeg_error(luma, table),
        quality=None if table is None else quality_of(table),
        noise=noise_level(middle),
        blur=blur_width(middle),
        ways=tuple(likely_ways(luma, jpeg=table is not None)),
        in_file=in_file,
    )
