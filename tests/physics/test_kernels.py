"""Kernels are those of the published code, and mean what they say."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from unfold.physics.degrade import blur_array
from unfold.physics.kernels import (
    anisotropic_gaussian,
    bicubic_kernel,
    gaussian_kernel,
    normalised,
    random_gaussian,
    random_sharp,
    shift_kernel,
)
from unfold.physics.resize import imresize

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "physics_kernels.npz")


def moments(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centroid (row, column) and covariance of a kernel whose sum is 1."""
    grid = np.indices(kernel.shape).reshape(2, -1)
    mean = grid @ kernel.ravel()
    return mean, (grid - mean[:, None]) * kernel.ravel() @ (grid - mean[:, None]).T


@pytest.mark.parametrize(("scale", "sigma"), list(enumerate((0.6, 0.9, 1.7, 2.2), 1)))
def test_gaussians_and_their_shift_are_the_published_ones(scale: int, sigma: float) -> None:
    kernel = gaussian_kernel(25, sigma)
    assert np.allclose(kernel, GOLDEN[f"fspecial_25_{sigma}"], rtol=0, atol=1e-16)
    assert (kernel == 0).any() == (sigma < 2), "what is below the smallest step of float64 is cut off"
    upper, lower = shift_kernel(kernel, scale), shift_kernel(kernel, scale, upper_left=False)
    assert np.allclose(upper, GOLDEN[f"shift_ul_raw_x{scale}"], rtol=0, atol=1e-15)
    assert np.allclose(normalised(upper), GOLDEN[f"shift_ul_x{scale}"], rtol=0, atol=1e-15)
    assert np.allclose(lower, GOLDEN[f"shift_lr_raw_x{scale}"], rtol=0, atol=1e-15)
    assert np.allclose(moments(normalised(upper))[0], 12 - (scale - 1) / 2, atol=1e-6)


@pytest.mark.parametrize("k", [4, 10])
def test_any_kernel_is_shifted_as_published(k: int) -> None:
    shifted = shift_kernel(GOLDEN[f"k{k}"].astype(np.float64), 3)
    assert np.allclose(shifted, GOLDEN[f"shift_ul_raw_k{k}_x3"], rtol=0, atol=1e-15)


def test_anisotropic_gaussians_are_the_published_ones() -> None:
    fixed = anisotropic_gaussian(15, (6, 2), 0.2 * np.pi)
    assert np.allclose(fixed, GOLDEN["aniso_gauss_15"], rtol=0, atol=1e-15)
    shifted = random_gaussian(np.random.RandomState(3), 4)
    assert np.allclose(shifted, GOLDEN["shifted_aniso_seed3_x4"], rtol=0, atol=1e-15)


@pytest.mark.parametrize("seed", range(6))
def test_published_seeds_give_the_published_gaussians(seed: int) -> None:
    scale = random.Random(seed).choice((1, 2, 3, 4))
    kernel = random_gaussian(np.random.RandomState(seed), scale)
    assert np.allclose(kernel, GOLDEN[f"gauss25_seed{seed}"], rtol=0, atol=1e-15)


def test_variances_lie_along_the_angle_and_across_it() -> None:
    theta = 0.3
    mean, covariance = moments(anisotropic_gaussian(41, (9, 2), theta, shift=1.5))
    along, across = np.array([np.sin(theta), np.cos(theta)]), np.array([np.cos(theta), -np.sin(theta)])
    assert np.allclose(mean, 20 - 1.5, atol=1e-3)
    assert np.allclose([along @ covariance @ along, across @ covariance @ across], (9, 2), atol=1e-3)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 6, 9])
def test_the_bicubic_kernel_before_decimation_is_matlabs_reduction(scale: int) -> None:
    image = np.random.default_rng(0).uniform(size=(12 * scale, 10 * scale, 1))
    inner = slice(3, -3)  # in blocks: farther from the border than the kernel reaches
    small = blur_array(image, bicubic_kernel(scale))[::scale, ::scale]
    assert np.abs((small - imresize(image, 1 / scale))[inner, inner]).max() < 1e-12


def test_sharp_kernels_are_half_bicubic_and_half_narrow_gaussians() -> None:
    rng = np.random.default_rng(0)
    kernels = [random_sharp(rng, 3) for _ in range(400)]
    bicubic = [np.array_equal(kernel, bicubic_kernel(3)) for kernel in kernels]
    assert abs(np.mean(bicubic) - 0.5) < 0.08
    others = [kernel for kernel, other in zip(kernels, bicubic, strict=True) if not other]
    found = [moments(kernel) for kernel in others]
    assert all(kernel.min() >= 0 and abs(kernel.sum() - 1) < 1e-12 for kernel in others)
    shifts = np.array([12 - mean for mean, _ in found])
    assert np.abs(shifts[:, 0] - shifts[:, 1]).max() < 0.6, "the same both ways, but for sampling what is very narrow"
    assert {round(float(2 * shift)) for shift in shifts.mean(axis=1)} == {0, 1, 2, 3}, "those of scales 1 to 4"
    variances = np.array([np.linalg.eigvalsh(covariance) for _, covariance in found])
    assert variances.max() < 1.51
    assert abs(np.median(variances[:, 0]) - 0.51) < 0.12, "the smaller of two from [0.1, 1.5]"
    slanted = [abs(covariance[0, 1]) > 0.2 * np.trace(covariance) / 2 for _, covariance in found]
    assert 0.2 < np.mean(slanted) < 0.8, "any angle"


def test_a_kernel_without_a_sum_cannot_be_normalised() -> None:
    with pytest.raises(ValueError, match="sum 0 cannot be normalised"):
        normalised(np.zeros((3, 3)))
