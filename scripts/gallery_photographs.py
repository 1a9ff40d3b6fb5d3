"""Photographs before and after `unfold restore --task ...`, beside the ground truth: the sheet of docs/gallery.md.

    python scripts/gallery_photographs.py FILE

Parts of scikit-image's photographs, spoilt here so that the truth is known: a grainy picture, the same
as JPEG, a reduced JPEG, a soft lens. Each row is one task; the commands are printed as they are run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
import skimage.data
from PIL import Image
from scipy.ndimage import gaussian_filter

from unfold.metrics import psnr
from unfold.physics.noise import poisson_gaussian
from unfold.report.contact_sheet import draw_sheet

SIDE = 200


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    rng = np.random.default_rng(0)
    astronaut, cat, coffee = (
        part.astype(np.float32) / 255
        for part in (
            skimage.data.astronaut()[:SIDE, 96 : 96 + SIDE],
            skimage.data.chelsea()[20 : 20 + SIDE, 90 : 90 + SIDE],
            skimage.data.coffee()[60 : 60 + SIDE, 170 : 170 + SIDE],
        )
    )
    grainy = poisson_gaussian(astronaut, 90, 4 / 255, rng)
    soft = gaussian_filter(coffee, (1.0, 1.0, 0))
    panels = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        as_picture(grainy).save(folder / "grainy.png")
        as_picture(grainy).save(folder / "grainy.jpg", quality=85)
        as_picture(cat).resize((SIDE // 2, SIDE // 2), Image.Resampling.LANCZOS).save(folder / "small.jpg", quality=90)
        as_picture(soft).save(folder / "soft.png")
        for picture, truth, words in (
            ("grainy.png", astronaut, ("denoise",)),
            ("grainy.jpg", astronaut, ("denoise",)),
            ("small.jpg", cat, ("enlarge", "--scale", "2")),
            ("soft.png", coffee, ("deblur",)),
        ):
            command = ["unfold", "restore", picture, "-o", f"{picture}.png", "--task", *words]
            print(*command)
            done = subprocess.run(
                [sys.executable, "-m", *command], cwd=folder, check=True, capture_output=True, text=True
            )
            print(done.stdout.strip())
            after = Image.open(folder / f"{picture}.png")
            before = Image.open(folder / picture).resize(after.size, Image.Resampling.BICUBIC)
            pair = [np.asarray(one, np.float32) / 255 for one in (before, after)]
            scores = [f"{psnr(one, truth):.2f} dB" for one in pair]
            panels += [(f"{picture}, {scores[0]}", pair[0]), (f"--task {words[0]}, {scores[1]}", pair[1])]
            panels.append(("ground truth", truth))
    draw_sheet(panels, SIDE, 3).save(Path(sys.argv[1]), quality=86)
    return 0


def as_picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(255 * image.clip(0, 1)).astype(np.uint8))


if __name__ == "__main__":
    sys.exit(main())
