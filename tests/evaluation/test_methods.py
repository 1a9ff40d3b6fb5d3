"""The baselines are what their names say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.synthetic import scene
from unfold.evaluation.methods import BASELINES, LAPLACIAN, baseline
from unfold.metrics import psnr
from unfold.physics.degrade import blur_array
from unfold.physics.kernels import anisotropic_gaussian
from unfold.physics.noise import add_gaussian
from unfold.physics.resize import imresize
from unfold.protocols.by_name import parse_protocol
from unfold.steps.inverse_filter import inverse_filter

TARGET = scene(48, 40, seed=3) / 255
SIGMA = 2.55 / 255


def blurred() -> dict[str, Any]:
    kernel = anisotropic_gaussian(9, (2.0, 4.0), 0.3)
    noise = np.random.default_rng(0).normal(0, SIGMA, TARGET.shape)
    y = (blur_array(TARGET, kernel) + noise).astype(np.float32)
    return {"y": y, "kernel": kernel.astype(np.float32), "scale": 1, "sigma": SIGMA}


def test_wiener_is_the_regularised_inverse_of_a_circular_blur() -> None:
    """Against the formula: conj(K) Y / (|K|^2 + lambda |L|^2) with the 5-point Laplacian L."""
    given = blurred()

    def spectrum(kernel: np.ndarray) -> np.ndarray:
        padded = np.zeros(TARGET.shape[:2])
        padded[: kernel.shape[0], : kernel.shape[1]] = kernel
        return np.fft.fft2(np.roll(padded, [-(n // 2) for n in kernel.shape], (0, 1)))

    k, laplacian = spectrum(given["kernel"]), spectrum(np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0.0]]))
    filter_ = np.conj(k) / (np.abs(k) ** 2 + LAPLACIAN * SIGMA**2 * np.abs(laplacian) ** 2)
    expected = np.fft.ifft2(filter_[..., None] * np.fft.fft2(given["y"], axes=(0, 1)), axes=(0, 1)).real
    result = BASELINES["wiener"].method(given)
    assert np.abs(result - expected).max() < 1e-6
    assert psnr(result, TARGET) > psnr(given["y"].astype(np.float64), TARGET) + 1


def test_eq22_is_the_first_estimate_of_nrl_gdn() -> None:
    given = blurred()
    y, kernel = torch.from_numpy(given["y"]).permute(2, 0, 1)[None], torch.from_numpy(given["kernel"])[None, None]
    assert np.array_equal(BASELINES["eq22"].method(given), inverse_filter(y, kernel)[0].permute(1, 2, 0).numpy())


def test_bicubic_and_identity() -> None:
    given = {"y": TARGET.astype(np.float32), "scale": 2}
    assert np.array_equal(BASELINES["bicubic"].method(given), imresize(given["y"], 2))
    assert BASELINES["identity"].method(given) is given["y"]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_in_register_where_blocks_keep_their_upper_left_pixel(scale: int) -> None:
    """On a smooth picture: close to the target, where MATLAB's own grid is off by (scale - 1) / 2 pixels."""
    rows, columns = np.mgrid[0:48, 0:48] / 8
    smooth = np.stack([0.5 + 0.4 * np.sin(rows + k) * np.cos(columns) for k in range(3)], axis=-1)
    small = smooth[::scale, ::scale].astype(np.float32)
    given = {"y": small, "scale": scale, "offset": (scale - 1) / (2 * scale)}
    inside = (slice(8, -8), slice(8, -8))
    matched, centred = (
        psnr(x[inside], smooth[inside]) for x in (BASELINES["bicubic"].method(given), imresize(small, scale))
    )
    assert matched > centred + 4


@pytest.mark.parametrize("name", ["tv", "nlm"])
def test_denoisers_denoise(name: str) -> None:
    y = add_gaussian(TARGET.astype(np.float32), 25 / 255, np.random.default_rng(0))
    given = {"y": y, "sigma": 25 / 255}
    result = BASELINES[name].method(given)
    assert psnr(result.clip(0, 1), TARGET) > psnr(given["y"].clip(0, 1), TARGET.astype(np.float32)) + 3


def test_options_are_read_as_what_they_are() -> None:
    protocol = parse_protocol("usrnet_table1:scale=3,noise=7.65")
    assert (protocol.scale, protocol.kernel, protocol.noise) == (3, 1, 7.65)  # type: ignore[attr-defined]
    assert baseline("wiener", protocol) is BASELINES["wiener"].method
