"""Twenty pairs to try fine-tuning with: parts of scikit-image's photographs, and the same degraded as by a poor camera.

    python scripts/example_pairs.py FOLDER

Writes FOLDER/input and FOLDER/target, 256x256 PNG. The camera blurs (Gaussian, 0.8 pixels) and counts few photons (90
for white) with an electronic noise of 4 (of 255). 01 to 14 are of six photographs, 15 and 16 of two more, 17 to 20 of a
ninth, so that no scene is on two sides of a split into 14, 2 and 4.
"""

from __future__ import annotations

import sys
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from unfold.data.images import find_images, read_image
from unfold.physics.noise import poisson_gaussian

SIDE = 256
# Of each photograph, the upper left corners of parts that do not overlap.
PARTS = {
    "coffee": [(20, 40), (100, 310)],
    "motorcycle_left": [(100, 60), (200, 400)],
    "motorcycle_right": [(0, 330)],
    "hubble_deep_field": [(0, 0), (300, 300), (500, 640)],
    "ihc": [(0, 0), (0, 256), (256, 0)],
    "retina": [(300, 300), (580, 900), (900, 500)],
    "rocket": [(171, 100)],
    "chelsea": [(20, 100)],
    "astronaut": [(0, 0), (0, 256), (256, 0), (256, 256)],
}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
    photographs = {path.stem: path for split in ("train", "val", "test") for path in find_images("photographs", split)}
    for kind in ("input", "target"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    parts = [(name, corner) for name, corners in PARTS.items() for corner in corners]
    for number, (name, (row, column)) in enumerate(parts, 1):
        target = read_image(photographs[name])[row : row + SIDE, column : column + SIDE]
        seen = gaussian_filter(target / 255, (0.8, 0.8, 0), mode="reflect")
        seen = poisson_gaussian(seen, 90.0, 4 / 255, rng)
        for kind, pixels in (("input", np.rint(255 * seen).astype(np.uint8)), ("target", target)):
            Image.fromarray(pixels).save(folder / kind / f"{number:02}_{name}.png")
    print(f"{len(parts)} pairs in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
