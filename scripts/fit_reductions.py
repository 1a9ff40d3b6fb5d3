"""Fit the rule of unfold/inference/photographs/reductions.py: which reduction made a picture small, by its band powers.

    python scripts/fit_reductions.py BSDS500/train BSDS500/val

Ridge regression of the three ways on band powers of photographs that were reduced by 2 and 4, unchanged and as JPEGs
of quality 70 to 95. Prints both rules, and their accuracy on the second folder, which is held out.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unfold.inference.photographs.reductions import WAYS, band_powers

FILTERS = (Image.Resampling.BICUBIC, Image.Resampling.BOX, Image.Resampling.LANCZOS)
RIDGE = 3.0


def samples(folder: Path, *, jpeg: bool, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Band powers (N,15) and the number of the way."""
    rng = np.random.default_rng(seed)
    powers, ways = [], []
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as image:
            large = image.convert("RGB").crop((0, 0, image.width // 4 * 4, image.height // 4 * 4))
        for scale in (2, 4):
            for way, filter_ in enumerate(FILTERS):
                small = large.resize((large.width // scale, large.height // scale), filter_)
                if jpeg:
                    file = io.BytesIO()
                    small.save(file, "JPEG", quality=int(rng.integers(70, 96)))
                    small = Image.open(file)
                powers.append(band_powers(np.asarray(small) @ np.array([0.299, 0.587, 0.114])))
                ways.append(way)
    return np.array(powers), np.array(ways)


def main(train: Path, held_out: Path) -> None:
    for jpeg in (False, True):
        x, ways = samples(train, jpeg=jpeg, seed=1)
        mean = x.mean(axis=0)
        centred = x - mean
        weights = np.linalg.solve(
            centred.T @ centred + RIDGE * np.eye(len(mean)), centred.T @ (np.eye(len(WAYS))[ways] - 1 / len(WAYS))
        )
        constant = 1 / len(WAYS) - mean @ weights
        rule = np.round(np.column_stack([weights.T, constant]), 2)
        x, ways = samples(held_out, jpeg=jpeg, seed=2)
        found = (np.column_stack([x, np.ones(len(x))]) @ rule.T).argmax(axis=1)
        right = [f"{way} {100 * np.mean(found[ways == i] == i):.0f} %" for i, way in enumerate(WAYS)]
        print("JPEG" if jpeg else "PNG", rule.tolist(), "right:", ", ".join(right), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
