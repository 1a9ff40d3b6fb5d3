"""The pictures that the pinned files were made of: by integers alone, so that every machine makes the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PINNED = Path(__file__).parent
SETS = {  # sizes of the pictures, and the seed of the first one
    "pictures": ([(40, 44), (36, 52), (33, 37)], 1),
    "held_out": ([(48, 56), (72, 48)], 11),
    "pairs/input": ([(16, 20), (19, 14)], 21),
    "pairs/target": ([(16, 20), (19, 14)], 31),
    "Set5": ([(24, 36), (36, 24)], 41),
}


def picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Waves with edges, (H,W,3)."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [rows * (3 + (seed + c) % 5) + columns * (2 + (seed // 2 + 3 * c) % 7) + 40 * seed for c in range(3)]
    pixels: NDArray[np.uint8] = np.abs(np.stack(waves, axis=-1) % 510 - 255).astype(np.uint8)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = [(37 * seed + 80 * c) % 256 for c in range(3)]
    return pixels


def make_data(root: Path) -> None:
    """What UNFOLD_DATA was when the pinned files were made. BMP, whose bytes no library decides on."""
    for name, (sizes, seed) in SETS.items():
        (root / name).mkdir(parents=True)
        for i, size in enumerate(sizes):
            Image.fromarray(picture(*size, seed=seed + i)).save(root / name / f"{i}.bmp")
    shutil.copytree(PINNED / "kernels", root / "kernels")
