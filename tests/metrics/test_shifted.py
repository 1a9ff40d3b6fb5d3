"""A result is compared where it lies closest to its reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import fourier_shift

from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.metrics import psnr
from unfold.metrics.shifted import undo_shift


def smooth(seed: int = 0) -> np.ndarray:
    """A periodic image (64,72,1) without the highest frequencies, so that it can be moved exactly."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).random((64, 72)))
    far = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(72))
    return np.fft.ifft2(spectrum * (far < 0.25)).real[..., None]


@pytest.mark.parametrize("shift", [(0, 0), (3, -5), (-4.75, 0.25), (5, 5), (-2.5, 1.5)])
def test_known_shifts_are_undone(shift: tuple[float, float]) -> None:
    target = smooth()
    result = np.fft.ifft2(fourier_shift(np.fft.fft2(target[..., 0]), shift)).real[..., None]
    moved, back = undo_shift(result, target, 12, 5)
    assert back == (-shift[0], -shift[1])
    assert psnr(moved, target, 12) > 50, "but for the splines"


def test_whole_pixels_are_moved_without_loss_in_all_channels() -> None:
    target = scene(60, 70)
    moved, back = undo_shift(np.roll(target, (2, -3), axis=(0, 1)), target, 10, 4)
    assert back == (-2, 3)
    assert np.abs(moved - target / 255)[10:-10, 10:-10].max() < 1e-12


def test_no_shift_of_the_grid_is_closer_than_the_one_chosen() -> None:
    target, result = smooth(1), smooth(1) + 0.3 * smooth(2)
    moved, _ = undo_shift(np.roll(result, 3, axis=0), target, 12, 5)
    chosen = np.square(moved - target)[12:-12, 12:-12].sum()
    every = [
        np.square(np.roll(result, (3 + down, right), axis=(0, 1)) - target)[12:-12, 12:-12].sum()
        for down in range(-5, 6)
        for right in range(-5, 6)
    ]
    assert chosen <= min(every) + 1e-9


def test_images_that_do_not_compare_are_refused() -> None:
    with pytest.raises(UnfoldError, match="the result is 64x72x1 and the target 60x72x1"):
        undo_shift(smooth(), smooth()[:60], 12, 5)
    with pytest.raises(UnfoldError, match="leaves nothing of 64x72x1"):
        undo_shift(smooth(), smooth(), 32, 5)
    with pytest.raises(ValueError, match="too narrow"):
        undo_shift(smooth(), smooth(), 6, 5)
