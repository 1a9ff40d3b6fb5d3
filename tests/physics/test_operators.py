"""Operators are what they say, and their adjoints are their adjoints: <A x, v> = <x, A^T v>."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from scipy import fft, ndimage
from torch import Tensor

from tests.narrow import kernels
from unfold.physics.blur import blur, blur_adjoint, decimate, kernel_spectrum
from unfold.physics.edge_taper import edge_taper, taper_weights
from unfold.physics.sampling import lowest_frequencies, sample, sample_adjoint

SCIPY_MODE = {"zero": "constant", "circular": "wrap", "replicate": "nearest"}


def assert_adjoint(forward: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor], x: Tensor) -> None:
    v = torch.randn(forward(x).shape, dtype=torch.float64)
    left, right = (forward(x) * v).sum(), (x * adjoint(v)).sum()
    assert abs(left - right) <= 1e-12 * (forward(x).norm() * v.norm())


@pytest.mark.parametrize("boundary", ["zero", "circular", "replicate"])
@pytest.mark.parametrize("side", [(1, 1), (3, 3), (5, 7), (4, 6), (9, 2)])
def test_blur_is_true_convolution_and_its_adjoint_is_one(boundary: str, side: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(side))
    for batch in (1, 3):
        height, width = rng.integers(9, 20, 2)
        x = torch.randn(batch, 2, height, width, dtype=torch.float64)
        k = torch.randn(batch, 1, *side, dtype=torch.float64)
        blurred = blur(x, k, boundary)
        for b in range(batch):
            for c in range(2):
                # scipy centres an even kernel at n//2 of its flipped self, which is the same pixel of ours
                expected = ndimage.convolve(x[b, c].numpy(), k[b, 0].numpy(), mode=SCIPY_MODE[boundary])
                assert np.allclose(blurred[b, c].numpy(), expected, atol=1e-12)
        for kernel in (k, k[:1]):
            forward = partial(blur, kernel=kernel, boundary=boundary)
            assert_adjoint(forward, partial(blur_adjoint, kernel=kernel, boundary=boundary), x)


@pytest.mark.parametrize("size", [(16, 16), (15, 17), (9, 20)])
def test_a_product_of_spectra_is_circular_blur(size: tuple[int, int]) -> None:
    x, k = torch.randn(2, 3, *size, dtype=torch.float64), kernels(2, 7, torch.float64)
    product = torch.fft.irfft2(kernel_spectrum(k, size) * torch.fft.rfft2(x), s=size)
    assert torch.allclose(product, blur(x, k, "circular"), atol=1e-12)
    with pytest.raises(ValueError, match="7x7, is larger than the image, 6x9"):
        kernel_spectrum(k, (6, 9))


@pytest.mark.parametrize("scale", [1, 2, 3, 5])
def test_decimation_keeps_the_upper_left_pixel(scale: int) -> None:
    x = torch.randn(2, 3, 4 * scale, 3 * scale, dtype=torch.float64)
    kept = decimate(x, scale)
    assert kept.shape == (2, 3, 4, 3)
    assert torch.equal(kept[..., 1, 2], x[..., scale, 2 * scale])


def test_sampling_measures_each_block_by_the_matrix_and_has_its_adjoint() -> None:
    x, phi = torch.randn(2, 1, 8, 12, dtype=torch.float64), torch.randn(5, 16, dtype=torch.float64)
    m = sample(x, phi, 4)
    assert m.shape == (2, 5, 2, 3)
    assert torch.allclose(m[1, :, 1, 2], phi @ x[1, 0, 4:8, 8:12].flatten())
    assert_adjoint(lambda u: sample(u, phi, 4), lambda v: sample_adjoint(v, phi, 4), x)


def test_operators_agree_with_finite_differences() -> None:
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    k = kernels(1, 3, torch.float64).requires_grad_()
    phi = torch.randn(3, 16, dtype=torch.float64, requires_grad=True)
    for boundary in ("zero", "circular", "replicate"):
        assert torch.autograd.gradcheck(lambda u, w, b=boundary: blur(u, w, b), (x, k), fast_mode=True)
        assert torch.autograd.gradcheck(lambda u, w, b=boundary: blur_adjoint(u, w, b), (x, k), fast_mode=True)
    assert torch.autograd.gradcheck(lambda u, p: sample(u, p, 4), (x, phi), fast_mode=True)
    assert torch.autograd.gradcheck(lambda u, p: sample_adjoint(sample(u, p, 4), p, 4), (x, phi), fast_mode=True)


def test_edge_taper_leaves_the_inside_and_makes_the_ends_meet() -> None:
    y, k = torch.rand(1, 3, 40, 50, dtype=torch.float64), kernels(1, 7, torch.float64)
    weights = taper_weights(k, (40, 50))
    assert torch.allclose(weights[..., 8:-8, 8:-8], torch.ones_like(weights[..., 8:-8, 8:-8]))
    assert weights[..., 0, :].abs().max() < 1e-12
    assert weights[..., :, -1].abs().max() < 1e-12
    tapered = edge_taper(y, k)
    assert torch.allclose(tapered[..., 8:-8, 8:-8], y[..., 8:-8, 8:-8])
    once = edge_taper(y, k, passes=1)
    assert torch.allclose(once[..., 0, :], blur(y, k, "circular")[..., 0, :], atol=1e-12)


def test_the_lowest_frequencies_are_cosines_by_their_distance_from_zero() -> None:
    basis = lowest_frequencies(6, 4).reshape(6, 4, 4)
    for found, (u, v) in zip(basis, [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0)], strict=True):
        spectrum = np.zeros((4, 4))
        spectrum[u, v] = 1
        np.testing.assert_allclose(found, fft.idctn(spectrum, norm="ortho"), atol=1e-12)
    second = np.sqrt(1 / 2) * np.cos(np.pi * (2 * np.arange(4) + 1) * 2 / 8)
    np.testing.assert_allclose(basis[4], np.outer(np.full(4, 0.5), second), atol=1e-12)
    every = lowest_frequencies(64, 8)
    np.testing.assert_allclose(every @ every.T, np.eye(64), atol=1e-12)
