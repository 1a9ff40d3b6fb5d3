"""The official USRNet-tiny weights give the published code's PSNR on real images, in float32 and in bfloat16."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.io import loadmat

from unfold import load_model
from unfold.data.patches import to_tensor
from unfold.metrics import psnr

ROOT = Path(os.environ.get("UNFOLD_DATA", "nowhere"))
WEIGHTS, KERNELS = ROOT / "weights" / "usrnet_tiny.pth", ROOT / "kernels" / "kernels_12.mat"


CASES = [(3, 3, 7.65, 29.0658), (4, 8, 0.0, 30.2554), (2, 10, 0.0, 34.3311)]


@pytest.mark.slow
@pytest.mark.skipif(
    not WEIGHTS.is_file(), reason="no weights/usrnet_tiny.pth below UNFOLD_DATA: they are not ours to ship"
)
@pytest.mark.parametrize(("scale", "kernel", "noise", "published"), CASES)
def test_official_usrnet_tiny_on_set5(scale: int, kernel: int, noise: float, published: float) -> None:
    """Mean PSNR by the Table 1 protocol: floored circular blur, border scale^2. `published`: by the published code."""
    net = load_model(WEIGHTS, "usrnet_tiny")
    k = loadmat(KERNELS)["kernels"][0, kernel - 1].astype(np.float64)
    found: dict[bool, list[float]] = {False: [], True: []}
    for path in sorted((ROOT / "Set5").glob("*.bmp")):
        hr = np.asarray(Image.open(path).convert("RGB"))
        side = np.lcm(scale, 8)
        hr = hr[: hr.shape[0] // side * side, : hr.shape[1] // side * side]
        y = ndimage.convolve(hr, k[..., None], mode="wrap")[::scale, ::scale].astype(np.float32) / 255
        np.random.seed(0)  # noqa: NPY002  (the published noise stream)
        y = y + np.random.normal(0, noise / 255, y.shape)  # noqa: NPY002
        given = {"kernel": torch.from_numpy(k).float()[None, None], "scale": scale, "sigma": noise / 255}
        for half in found:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
                x = net(to_tensor(y.astype(np.float32))[None], **given)
            result = np.rint(x[0].clamp(0, 1).numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
            found[half].append(psnr(result, hr, border=scale**2))
    assert np.mean(found[False]) == pytest.approx(published, abs=0.005)
    assert np.mean(found[True]) == pytest.approx(published, abs=0.05)
