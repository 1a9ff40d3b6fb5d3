"""A picture restored at once and in tiles, and where the two differ: the sheet of docs/gallery.md.

    python scripts/gallery_tiles.py FILE

Rows: dgunet_denoise_small on noise of 25 (of 255), usrnet_tiny_small on a Gaussian blur of 0.8 pixels. Columns: input,
at once, in tiles of 96 pixels, and the largest difference of the channels, times 20. Prints the differences
in 255 units.
"""

from __future__ import annotations

import sys
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
import skimage.data

from unfold import load_model, restore
from unfold.inference.kernel_and_noise import gaussian
from unfold.physics.degrade import blur_array
from unfold.report.contact_sheet import draw_sheet

SIDE, TILE, TIMES = 256, 96, 20


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    sharp = skimage.data.astronaut()[:SIDE, 96 : 96 + SIDE] / 255
    rng = np.random.default_rng(0)
    kernel = gaussian(0.8, 1)
    noisy = sharp + rng.normal(0, 25 / 255, sharp.shape)
    blurred = blur_array(sharp, kernel) + rng.normal(0, 2.55 / 255, sharp.shape)
    panels = []
    for name, y, inputs in (
        ("dgunet_denoise_small", noisy, {}),
        ("usrnet_tiny_small", blurred, {"kernel": kernel, "scale": 1, "sigma": 2.55 / 255}),
    ):
        net = load_model(name)
        y = y.clip(0, 1).astype(np.float32)
        whole, tiled = (restore(y, net, tile=tile, **inputs) for tile in (None, TILE))
        apart = np.abs(whole - tiled).max(-1, keepdims=True)
        print(f"{name}: largest {255 * apart.max():.1f}, mean {255 * apart.mean():.2f} of 255")
        panels += [
            (name, y),
            ("at once", whole),
            (f"tiles of {TILE}", tiled),
            (f"difference, times {TIMES}", (TIMES * apart).clip(0, 1)),
        ]
    draw_sheet(panels, SIDE, 4).save(Path(sys.argv[1]), quality=88)
    return 0


if __name__ == "__main__":
    sys.exit(main())
