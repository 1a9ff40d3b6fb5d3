"""Camera noise: demosaicing against what it must reproduce, the variance against its formula, JPEG's blocks."""

from __future__ import annotations

import numpy as np
import pytest

from unfold.physics.camera import GAMMA, Camera, add_camera_noise, colour_matrix, demosaic, jpeg


@pytest.mark.parametrize("malvar", [False, True])
def test_a_grey_ramp_comes_through_demosaicing_unchanged(malvar: bool) -> None:
    ramp = np.add.outer(np.arange(24.0), 2 * np.arange(30.0)).astype(np.float32) / 100
    found = demosaic(ramp, malvar)[4:-4, 4:-4]
    np.testing.assert_allclose(found, np.repeat(ramp[4:-4, 4:-4, None], 3, axis=2), atol=1e-6)


@pytest.mark.parametrize("malvar", [False, True])
def test_sites_keep_their_own_colour_and_demosaicing_is_linear(malvar: bool) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((16, 18)).astype(np.float32) for _ in range(2))
    found = demosaic(a, malvar)
    for row, column, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        np.testing.assert_allclose(found[row::2, column::2, colour], a[row::2, column::2], atol=1e-6)
    np.testing.assert_allclose(demosaic(2 * a - b, malvar), 2 * found - demosaic(b, malvar), atol=1e-5)


def test_noise_at_a_site_has_the_variance_of_its_light() -> None:
    plain = Camera(gain=2e-3, read=1e-5, white=(1, 1, 1), colours=colour_matrix(0), malvar=True, smooth=(0, 0))
    for light in (0.2, 0.6):
        x = np.full((400, 400, 3), light ** (1 / GAMMA), np.float32)
        green = add_camera_noise(x, plain, np.random.default_rng(1))[::2, 1::2, 1].astype(np.float64) ** GAMMA
        assert abs(green.mean() - light) < 4 * np.sqrt(plain.gain * light / green.size)
        assert green.var() == pytest.approx(plain.gain * light + plain.read, rel=0.03)


def test_white_balance_amplifies_the_noise_of_red_and_blue() -> None:
    camera = Camera(gain=1e-3, read=0.0, white=(2.0, 1.0, 1.5), colours=colour_matrix(0), malvar=True, smooth=(0, 0))
    x = np.full((400, 400, 3), 0.5 ** (1 / GAMMA), np.float32)
    taken = add_camera_noise(x, camera, np.random.default_rng(2)).astype(np.float64) ** GAMMA
    red, green, blue = taken[::2, ::2, 0].var(), taken[::2, 1::2, 1].var(), taken[1::2, 1::2, 2].var()
    # Light 0.5 / w on the sensor, times w afterwards: w^2 gain 0.5 / w.
    assert red / green == pytest.approx(2.0, rel=0.05)
    assert blue / green == pytest.approx(1.5, rel=0.05)


def test_colour_matrices_leave_grey_alone() -> None:
    np.testing.assert_allclose(colour_matrix(0.6).sum(1), 1, atol=1e-6)


def test_without_noise_the_picture_stays() -> None:
    x = np.random.default_rng(3).random((20, 22, 3)).astype(np.float32)
    still = Camera(0.0, 0.0, (2.0, 1.0, 1.7), colour_matrix(0.3), False, (0.5, 2.0))
    np.testing.assert_allclose(add_camera_noise(x, still, np.random.default_rng(0)), x, atol=2e-6)


def test_jpeg_keeps_the_size_and_begins_its_blocks_where_asked() -> None:
    x = np.random.default_rng(4).integers(0, 256, (40, 48, 3)).astype(np.uint8)
    moved = jpeg(x, 30, (3, 5))
    assert moved.shape == x.shape
    assert moved.dtype == np.uint8
    assert (moved != jpeg(x, 30)).any()
    smooth = np.repeat(np.linspace(40, 200, 48).astype(np.uint8)[None, :, None], 40, axis=0).repeat(3, axis=2)
    assert np.abs(jpeg(smooth, 95).astype(int) - smooth).max() < 6


def test_smoothing_blurs_the_noise_of_colour_apart_from_that_of_brightness() -> None:
    x = np.full((200, 200, 3), 0.5, np.float32)
    plain, smooth = (
        add_camera_noise(x, Camera(1e-3, 0.0, (1, 1, 1), colour_matrix(0), True, widths), np.random.default_rng(5)) - x
        for widths in ((0.0, 0.0), (0.0, 2.0))
    )
    assert np.std(smooth.mean(2) - plain.mean(2)) < 0.15 * np.std(plain.mean(2))  # the tone curve mixes them a little
    colour = [np.std(noise - noise.mean(2, keepdims=True)) for noise in (plain, smooth)]
    assert colour[1] < 0.5 * colour[0]


def test_smoothed_noise_keeps_the_share_of_its_strength_that_is_asked_for() -> None:
    x = np.full((64, 64, 3), 0.5, np.float32)
    strengths = []
    for kept in (0.0, 0.5, 1.0):
        camera = Camera(1e-3, 0.0, (1, 1, 1), colour_matrix(0), True, (2.0, 2.0), kept)
        strengths.append(np.std(add_camera_noise(x, camera, np.random.default_rng(0)).mean(2)))
    plain = Camera(1e-3, 0.0, (1, 1, 1), colour_matrix(0), True, (0.0, 0.0))
    unsmoothed = np.std(add_camera_noise(x, plain, np.random.default_rng(0)).mean(2))
    assert strengths[2] == pytest.approx(unsmoothed, rel=0.05)
    assert strengths[1] == pytest.approx(np.sqrt(strengths[0] * unsmoothed), rel=0.05)
    assert strengths[0] < 0.3 * unsmoothed
