"""Made-up pictures in the place of every set that a recipe names, in its layout, and made-up weights of VGG19."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.models import vgg19

from tests.synthetic import scene
from unfold.physics.kernels import gaussian_kernel
from unfold.physics.sampling import random_orthonormal
from unfold.protocols.sidd import CLEAN, NOISY

PAIRS = ("GoPro/train", "GoPro/test", "Rain13K/train", "Rain100L", "SIDD_patches", "mine")
# Of all-in-one trainings: input and target as the sets call them.
OTHER_PAIRS = (
    ("RainTrainL/rainy/rain-{}.png", "RainTrainL/gt/norain-{}.png"),
    ("RESIDE/OTS/synthetic/part1/{}_0.8_0.2.jpg", "RESIDE/OTS/original/{}.jpg"),
    ("SOTS/input/{}_0.8_0.2.jpg", "SOTS/target/{}.png"),
    ("LOL/train/low/{}.png", "LOL/train/gt/{}.png"),
    ("LOL/test/low/{}.png", "LOL/test/gt/{}.png"),
)
CLEAN_SETS = (
    "WED",
    "CBSD68",
    "DIV2K/DIV2K_train_HR",
    "Flickr2K/Flickr2K_HR",
    "BSDS500/train",
    "BSDS500/test",
    "BSDS500/val",
)


def stand_ins(root: Path, height: int, width: int, block: int, count: int) -> None:
    """``count`` pictures of height x width in every set below ``root``, 200 in BSDS500/train; SIDD: block x block."""

    def picture(path: Path, seed: int, *, grey: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(scene(height, width, seed=seed))
        (image.convert("L") if grey else image).save(path)

    for i in range(count):
        for pairs in PAIRS:
            picture(root / pairs / "input" / f"{i}.png", i)
            picture(root / pairs / "target" / f"{i}.png", i + 10)
        for y, target in OTHER_PAIRS:
            picture(root / y.format(i), i)
            picture(root / target.format(i), i + 10)
        for clean in CLEAN_SETS:
            picture(root / clean / f"{i}.png", i)
        picture(root / "Set5" / f"{i}.bmp", i)
        picture(root / "Set11_gray" / f"{i}.tif", i, grey=True)
        picture(root / "Set12_gray" / f"{i}.png", i, grey=True)
    for i in range(count, 200):  # as many as there are: our recipes leave two out by their number
        shutil.copy(root / "BSDS500" / "train" / "0.png", root / "BSDS500" / "train" / f"{i}.png")
    side = height if height == width else 256  # of images that are measured whole, by a mask
    for i in range(count):
        for brains in ("BrainImages_train", "BrainImages_test"):
            path = root / brains / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(scene(side, side, seed=i)).convert("L").save(path)
    (root / "ista_net").mkdir()
    phi, mask = random_orthonormal(272, 1089), np.random.default_rng(0).random((side, side)) < 0.3
    savemat(root / "ista_net" / "phi_0_25_1089.mat", {"phi": phi})
    savemat(root / "ista_net" / "Initialization_Matrix_25.mat", {"Qinit": phi.T})
    savemat(root / "ista_net" / "mask_20.mat", {"mask_matrix": mask.astype(np.uint8)})
    (root / "SIDD").mkdir()
    for name in (NOISY, CLEAN):
        savemat(root / "SIDD" / f"{name}.mat", {name: scene(block, block)[None, None]})
    (root / "kernels").mkdir()
    for name, kernels in (("kernels_12", 12), ("kernels_8", 8)):
        cells = np.empty((1, kernels), dtype=object)
        for i in range(kernels):
            cells[0, i] = gaussian_kernel(25, 0.7 + 0.3 * i)
        savemat(root / "kernels" / f"{name}.mat", {"kernels": cells})


def random_vgg19(path: Path) -> Path:
    """A file with torchvision's names for VGG19 and random weights (He), without the linear layers."""
    with torch.device("meta"):
        features = vgg19(weights=None).features
    noise, state = torch.Generator().manual_seed(0), {}
    for name, value in features.state_dict().items():
        gain = (2 / value[0].numel()) ** 0.5 if value.ndim == 4 else 0.1
        state[f"features.{name}"] = gain * torch.randn(value.shape, generator=noise)
    torch.save(state, path)
    return path
