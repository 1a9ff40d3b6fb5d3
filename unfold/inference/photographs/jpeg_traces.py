"""JPEG error of a picture: its quantisation table, from the file or recovered from the pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.floating]  # (H,W), 0 to 255
Table = NDArray[np.float64]  # (8,8), the steps of luma, rows first

# The luma table of the standard (ITU-T T.81, table K.1) at quality 50, which most software scales by quality.
STANDARD = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.float64,
)
QUALITIES = range(30, 96)
LOW = [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1)]  # frequencies with energy in photographs
COMB = 0.45  # how sharply coefficients sit at multiples of a step: 1 all, 0 none
LEAST_BLOCKS = 30  # with large coefficients; with fewer there is no verdict


def table_of(path: Path) -> Table | None:
    """The luma table of a JPEG file; None for other formats and for what cannot be read."""
    try:
        with Image.open(path) as image:
            tables = getattr(image, "quantization", None)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return np.array(tables[0], np.float64).reshape(8, 8) if tables and 0 in tables else None


def scaled_table(quality: int) -> Table:
    """The standard table at a quality from 1 to 100, as libjpeg scales it."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return np.clip(np.floor((STANDARD * percent + 50) / 100), 1, 255)


def quality_of(table: Table) -> int:
    """The quality whose standard table is nearest, for display."""
    return min(range(1, 101), key=lambda quality: float(np.abs(scaled_table(quality) - table).sum()))


def found_table(luma: Grey) -> Table | None:
    """The table of a picture that once was a JPEG; None without traces.

    Blocks leave steps at every eighth row and column. On that grid, and on that of the picture's corner, the cosine
    coefficients sit near multiples of the table's steps.
    """
    for part in _grids(luma):
        coefficients = _coefficients(part)
        combs = [_comb(coefficients, scaled_table(quality)) for quality in QUALITIES]
        # Multiples of 2q are multiples of q, so the coarsest step that fits is taken.
        fitting = [
            quality for quality, comb in zip(QUALITIES, combs, strict=True) if comb > max(COMB, 0.9 * max(combs))
        ]
        if fitting:
            return scaled_table(fitting[0])
    return None


def jpeg_error(luma: Grey, table: Table) -> float:
    """Standard deviation of the quantisation error of luma by this table, of 255.

    Non-zero coefficients have lost q^2/12 on average. Those that became zero are assumed to follow a Laplace
    distribution, whose width follows from their number. Noise estimators miss this error, as it removes the details
    that they measure.
    """
    # On a wrong grid (turned or cropped pictures) fewer coefficients are zero, so the smallest error is on the right
    # grid.
    return min(_error(_coefficients(part), table) for part in _grids(luma))


def _error(coefficients: NDArray[np.float32], table: Table) -> float:
    if not len(coefficients):
        return float(np.sqrt(np.mean(table**2) / 12) / 2)
    zeros = np.mean(np.abs(coefficients) < table / 2, axis=0).clip(0.5 / len(coefficients), 1 - 0.5 / len(coefficients))
    a = -np.log(1 - zeros)  # P(|c| < q/2) = 1 - exp(-a)
    inside = (2 - np.exp(-a) * (a * a + 2 * a + 2)) / (zeros * a * a) * (table / 2) ** 2
    lost = zeros * inside + (1 - zeros) * table**2 / 12
    lost[0, 0] = table[0, 0] ** 2 / 12
    return float(np.sqrt(lost.mean()))


def _grids(luma: Grey) -> list[Grey]:
    """The picture from its corner, and from the estimated start of the blocks."""
    row, column = _block_edge(luma), _block_edge(luma.T)
    return [luma] if row == column == 0 else [luma, luma[row:, column:]]


def _coefficients(luma: Grey) -> NDArray[np.float32]:
    """(N,8,8), the orthonormal cosine transform of whole blocks."""
    from scipy.fft import dctn

    height, width = (n // 8 * 8 for n in luma.shape)
    blocks = luma[:height, :width].reshape(height // 8, 8, width // 8, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    return dctn(blocks.astype(np.float32) - 128, axes=(1, 2), norm="ortho")


def _comb(coefficients: NDArray[np.float32], table: Table) -> float:
    """The mean over frequencies of cos(2 pi c / q), for non-zero coefficients, and steps that are detectable."""
    found = []
    for row, column in LOW:
        step, values = table[row, column], coefficients[:, row, column]
        values = values[np.abs(values) > 0.6 * step]
        if step >= 2 and len(values) >= LEAST_BLOCKS:
            found.append(np.cos(2 * np.pi * values / step).mean())
    return float(np.mean(found)) if len(found) >= 3 else 0.0


def _block_edge(luma: Grey) -> int:
    """The row, below 8, where differences to the previous row are largest: the start of the blocks, if any."""
    steps = np.abs(2 * luma[1:-2] - 2 * luma[2:-1] - luma[:-3] + luma[3:]).mean(axis=1)  # smooth content does not count
    means = [steps[k::8].mean() if len(steps[k::8]) else 0 for k in range(8)]
    return (int(np.argmax(means)) + 2) % 8
