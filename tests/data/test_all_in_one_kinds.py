"""What haze, low light, shake and 8-bit noise do to a picture, and that they are drawn from the sample's generator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from tests.synthetic import scene
from unfold.data.images import to_float
from unfold.degradations.degradation import Degradation
from unfold.degradations.haze import Haze, random_depth
from unfold.degradations.low_light import LowLight, to_linear, to_srgb
from unfold.degradations.motion_blur import MotionBlur
from unfold.degradations.random_kernels import random_kernel
from unfold.degradations.truncated_noise import TruncatedNoise
from unfold.errors import UnfoldError
from unfold.facts import level

KINDS = [Haze(), LowLight(), MotionBlur(), TruncatedNoise(25)]


def made(kind: Degradation, target: Any, seed: int = 0) -> Any:
    return kind.make({"target": target}, np.random.default_rng(seed), 1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_are_8_bits_of_the_target_s_size_and_of_the_generator_alone(kind: Degradation, channels: int) -> None:
    target = scene(48, 40)[..., :channels]
    before = target.copy()
    a, b, other = made(kind, target), made(kind, target), made(kind, target, 1)
    assert np.array_equal(target, before)
    assert a["y"].dtype == np.uint8
    assert a["y"].shape == a["target"].shape == (48, 40, channels)
    assert np.array_equal(a["y"], b["y"])
    assert not np.array_equal(a["y"], other["y"])


def test_haze_is_the_model_of_scattering_with_one_depth_for_all_channels() -> None:
    black, white = (made(Haze(), np.full((320, 64, 3), value, np.uint8), 3)["y"] / 255 for value in (0, 255))
    through = white - black  # t, from which A (1 - t) = black
    assert np.ptp(through, axis=2).max() <= 2 / 255
    assert through.min() >= np.exp(-1.8) - 2 / 255
    far = through.mean(axis=2) < 0.7
    air = black[far] / (1 - through[far])
    assert 0.75 < air.min() < air.max() <= 1.02
    assert np.ptp(air.mean(axis=0)) < 0.035


def test_haze_grows_towards_the_top_and_has_no_steps() -> None:
    depths = [random_depth((320, 200), np.random.default_rng(seed)) for seed in range(20)]
    for depth in depths:
        assert depth.min() >= 0
        assert depth.max() <= 1
        assert max(np.abs(np.diff(depth, axis=axis)).max() for axis in (0, 1)) < 0.03
    rows = np.mean([depth.mean(axis=1) for depth in depths], axis=0)
    assert rows[0] > 0.85
    assert rows[-1] < 0.2
    patches = [random_depth((64, 64), np.random.default_rng(seed)) for seed in range(50)]
    assert np.std([patch.mean() for patch in patches]) > 0.15, "a patch is somewhere in the scene"


def test_low_light_is_a_gain_in_linear_light_with_noise_that_grows_with_light() -> None:
    light = np.array([[[0.02, 0.5, 1.0]]], np.float32)
    assert to_linear(to_srgb(light)) == pytest.approx(light, rel=1e-5)
    assert to_srgb(to_linear(light)) == pytest.approx(light, rel=1e-5)
    kind, gains = LowLight(), []
    for seed in range(60):
        y = to_linear(to_float(made(kind, np.full((32, 32, 3), 255, np.uint8), seed)["y"]))
        gains.append(float(y.mean()))
        noise = float(y.std())
        assert np.sqrt(1e-4 * gains[-1]) * 0.9 < noise < np.sqrt(1e-3 * gains[-1] + 4e-6) * 1.15 + 0.002
    assert 0.045 < min(gains) < 0.09
    assert 0.35 < max(gains) < 0.42, "white has x^gamma = 1: its light is the gain"


def test_motion_blur_is_one_random_kernel_for_the_whole_picture() -> None:
    target = scene(64, 60)
    kernel = random_kernel(np.random.default_rng(5), 1.0)[..., 0]
    wanted = ndimage.convolve(target.astype(float), kernel[..., None].astype(float), mode="mirror")
    assert np.abs(made(MotionBlur(), target, 5)["y"] - wanted).max() <= 0.51
    with pytest.raises(UnfoldError, match="at least 25"):
        MotionBlur().check_patch(24)


def test_noise_of_8_bits_drops_fractions_and_gives_its_level_on_request() -> None:
    target = np.full((200, 200, 3), 100, np.uint8)
    kind = TruncatedNoise(10)
    y = made(kind, target)["y"].astype(float)
    assert y.std() == pytest.approx(10, rel=0.02)
    assert y.mean() == pytest.approx(99.5, abs=0.1)
    assert "sigma" not in made(kind, target)
    kind.asked = {"sigma": level()}
    assert made(kind, target)["sigma"] == pytest.approx(10 / 255)
    with pytest.raises(UnfoldError, match="sigma must be greater than 0"):
        TruncatedNoise(0)
