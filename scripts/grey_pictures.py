"""Grey pictures with noise, whose three channels are equal, and colour ones: what weights make of them, in a table.

    UNFOLD_DATA=... python scripts/grey_pictures.py Kodak24 --weights dgunet_denoise_small
    UNFOLD_DATA=... python scripts/grey_pictures.py Kodak24 --weights usrnet_tiny_small usrnet_tiny

256x256 pixels from row 100 and column 200 of every third picture: of Kodak24 eight crops. If all weights take a kernel,
crops are also blurred (a Gaussian of 1.2 pixels, the boundary circular) and halved. The noise of crop k is
NumPy's normal(default_rng(k)), added before anything is rounded or clamped. A cell holds the mean PSNR of RGB in dB of
the crops without a border of 16 pixels, clamped; behind the second and later weights' stands the worst change of a crop
from the first weights.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
from numpy.typing import NDArray

from unfold.data.images import find_images
from unfold.errors import UnfoldError
from unfold.inference.kernel_and_noise import gaussian
from unfold.inference.photographs.noise_and_blur import luma_of
from unfold.inference.photographs.tasks import point
from unfold.inference.picture_files import read_picture
from unfold.inference.restore import restore
from unfold.metrics.psnr import psnr
from unfold.models.unfolding import UnfoldingNetwork
from unfold.physics.degrade import blur_array
from unfold.util.arrays import white
from unfold.util.progress import progress
from unfold.weights.load_model import load_model

Image = NDArray[np.float64]
WIDTH, BORDER = 1.2, 16


class Case(NamedTuple):
    grey: bool
    blurred: bool
    scale: int
    sigma: float

    def name(self) -> str:
        return f"{'grey' if self.grey else 'colour'}, {'blurred' if self.blurred else 'no blur'}, x{self.scale}"


PLAIN = [Case(grey, False, 1, sigma) for grey in (True, False) for sigma in (2.55, 5, 10, 15, 25, 50)]
WITH_KERNEL = [
    Case(grey, blurred, scale, sigma)
    for grey in (True, False)
    for blurred, scale in ((True, 1), (True, 2), (False, 1))
    for sigma in (0, 1, 2.55, 5, 10, 15, 24)
    if sigma or blurred
]


def crops(source: str) -> list[Image]:
    """(256,256,3) in [0,1]"""
    paths = find_images(source, "test")[::3]
    parts = [read_picture(path).pixels[100:356, 200:456] for path in paths]
    if small := [path for path, part in zip(paths, parts, strict=True) if part.shape[:2] != (256, 256)]:
        raise UnfoldError(f"{small[0]} is smaller than 356x456 pixels")
    return [part / white(part.dtype) for part in parts]


def degraded(clean: Image, case: Case, number: int) -> Image:
    kernel = gaussian(WIDTH, case.scale) if case.blurred else point()
    low = blur_array(clean, kernel)[:: case.scale, :: case.scale]
    noise = np.random.default_rng(number).normal(size=(*low.shape[:2], 1 if case.grey else 3))
    return low + case.sigma / 255 * noise


def scores_of(nets: list[UnfoldingNetwork], clean: Image, case: Case, number: int) -> list[float]:
    """PSNR of the degraded crop (nan if it is smaller), and of each network's result."""
    if case.grey:
        clean = np.repeat(luma_of(clean.astype(np.float32))[..., None], 3, axis=2).astype(np.float64)
    picture = degraded(clean, case, number)
    known = {
        "sigma": case.sigma / 255,
        "kernel": gaussian(WIDTH, case.scale) if case.blurred else point(),
        "scale": case.scale,
    }
    scores = [psnr(picture.clip(0, 1), clean, BORDER) if case.scale == 1 else float("nan")]
    for net in nets:
        inputs = {name: value for name, value in known.items() if name in net.inputs}
        result = restore(picture.astype(np.float32), net, **inputs).astype(np.float64)
        scores.append(psnr(result.clip(0, 1), clean, BORDER))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a set or folder of pictures of at least 356x456 pixels")
    parser.add_argument("--weights", nargs="+", required=True, help="files or names; the first are compared with")
    args = parser.parse_args()
    try:
        images = crops(args.source)
        nets = [load_model(name) for name in args.weights]
    except UnfoldError as problem:
        parser.error(str(problem))
    cases = WITH_KERNEL if all("kernel" in net.inputs for net in nets) else PLAIN
    print("| | noise | degraded |", " | ".join(args.weights), "|\n|---|---|---|" + "---|" * len(nets), flush=True)
    for case in progress(cases, "measuring", "case"):
        scores = np.array([scores_of(nets, image, case, k) for k, image in enumerate(images)]).T
        cells = [f"{mean:.2f}" for mean in scores.mean(axis=1)]
        cells[0] = cells[0].replace("nan", "")
        cells[2:] = [
            f"{cell} ({(row - scores[1]).min():+.2f})" for cell, row in zip(cells[2:], scores[2:], strict=True)
        ]
        print(f"| {case.name()} | {case.sigma:g} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
