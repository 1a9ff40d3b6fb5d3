"""PSNR and SSIM equal independent formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from tests.synthetic import scene
from unfold.metrics import psnr, ssim


def noisy_pair(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    clean = scene(40, 50, seed) / 255
    return clean, (clean + 0.1 * np.random.default_rng(seed).standard_normal(clean.shape)).clip(0, 1)


def test_psnr_is_the_formula_for_arrays_tensors_and_integers() -> None:
    a, b = noisy_pair()
    expected = 10 * np.log10(1 / np.mean((a - b) ** 2))
    assert psnr(a, b) == pytest.approx(expected, abs=1e-12)
    batch = [torch.from_numpy(np.stack([x, x[::-1]]).transpose(0, 3, 1, 2).copy()) for x in (a, b)]
    assert psnr(*batch).tolist() == pytest.approx([expected] * 2, abs=1e-12)
    whole = [np.rint(x * 255).astype(np.uint8) for x in (a, b)]
    mse = np.mean((whole[0].astype(float) - whole[1]) ** 2)
    assert psnr(*whole) == pytest.approx(20 * np.log10(255 / np.sqrt(mse)), abs=1e-12)
    assert psnr(a[..., 0], b[..., 0]) == pytest.approx(-10 * np.log10(np.mean((a - b)[..., 0] ** 2)))


def test_psnr_leaves_the_border_out_and_is_infinite_for_equal_images() -> None:
    a, b = noisy_pair()
    b[4:-4, 4:-4] = a[4:-4, 4:-4] + 0.01
    assert psnr(a, b, border=4) == pytest.approx(40)
    tensors = [torch.from_numpy(x.transpose(2, 0, 1).copy())[None] for x in (a, b)]
    assert psnr(*tensors, border=4).item() == pytest.approx(40)
    assert psnr(a, a) == np.inf
    assert psnr(tensors[0], tensors[0]).item() == np.inf


def wang(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of one channel as the 2004 paper has it, by plain 2-d convolutions."""
    r = np.arange(-5, 6)
    window = np.exp(-(r[:, None] ** 2 + r[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(x: np.ndarray) -> np.ndarray:
        return convolve2d(x, window, mode="valid")

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return float(np.mean((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))))


@pytest.mark.parametrize("border", [0, 3])
def test_ssim_is_wangs(border: int) -> None:
    a, b = noisy_pair(1)
    inside = slice(border, -border or None)
    expected = np.mean([wang(a[inside, inside, c], b[inside, inside, c]) for c in range(3)])
    assert ssim(a, b, border) == pytest.approx(expected, abs=1e-10)
    assert ssim(a[..., 0], b[..., 0]) == pytest.approx(wang(a[..., 0], b[..., 0]), abs=1e-10)
    assert ssim(a, a) == pytest.approx(1)


def test_images_that_cannot_be_compared_are_refused() -> None:
    a = np.zeros((20, 20, 3))
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match="differ in shape"):
            metric(a, a[:10])
        with pytest.raises(ValueError, match="uint8 or float"):
            metric(a.astype(np.int32), a.astype(np.int32))
    with pytest.raises(ValueError, match="at least 11x11 pixels, not 10x20"):
        ssim(a[:10], a[:10])
