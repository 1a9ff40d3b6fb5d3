"""Rendered rain has the streaks that are asked for, and is blended by the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from skimage.feature import structure_tensor

from unfold.degradations.synthetic_rain import SyntheticRain
from unfold.errors import UnfoldError
from unfold.physics.rain import Rain, add_rain, coverage, random_streaks
from unfold.physics.rendered_rain import Layer, blend, line, random_layers, rendered_rain, streaks

SIZE = (160, 200)
X = (skimage.data.astronaut()[:160, :200] / 255).astype(np.float32)


@pytest.mark.parametrize("lean", [-40.0, 0.0, 25.0])
def test_streaks_lean_and_are_as_long_as_asked(lean: float) -> None:
    kernel = line(30, lean)
    row, column = np.indices(kernel.shape) - len(kernel) // 2
    weight = kernel / kernel.sum()
    assert kernel.sum() == pytest.approx(30, rel=0.05)
    along = row * np.cos(np.radians(lean)) + column * np.sin(np.radians(lean))
    across = column * np.cos(np.radians(lean)) - row * np.sin(np.radians(lean))
    assert (weight * along**2).sum() == pytest.approx(30**2 / 12, rel=0.05)
    assert (weight * across**2).sum() < 0.5
    drawn = streaks(SIZE, Layer(30, 1.5, lean, 0.1, 0.8), np.random.default_rng(0))
    rr, rc, cc = (part.mean() for part in structure_tensor(drawn, sigma=1, order="rc"))
    assert np.degrees(0.5 * np.arctan2(2 * rc, rr - cc)) % 180 - 90 == pytest.approx(lean, abs=4)


@pytest.mark.parametrize("width", [1.0, 1.7, 3.0])
@pytest.mark.parametrize("length", [10.0, 50.0])
def test_streaks_cover_the_share_that_is_asked_also_at_the_borders(length: float, width: float) -> None:
    drawn = np.mean([streaks(SIZE, Layer(length, width, 20, 0.05, 1), np.random.default_rng(i)) for i in range(60)], 0)
    expected = 0.05 * 0.65  # of brightness 0.65 in the mean
    assert drawn.mean() == pytest.approx(expected, rel=0.15)
    for border in (drawn[:10], drawn[-10:], drawn[:, :10], drawn[:, -10:]):
        assert border.mean() == pytest.approx(expected, rel=0.3)


def test_opacity_scales_and_bounds() -> None:
    full, half = (streaks(SIZE, Layer(20, 2, 0, 0.5, o), np.random.default_rng(0)) for o in (1, 0.5))
    assert full.dtype == np.float32
    assert full.max() == 1
    np.testing.assert_allclose(half, full / 2, atol=1e-6)


def test_blends_follow_their_formulas() -> None:
    s = streaks(SIZE, Layer(20, 2, 0, 0.3, 0.9), np.random.default_rng(0))
    added, screened, covered = (blend(X, s, how, 0.8) for how in ("add", "screen", "cover"))
    i, j, c = 50, int(s[50].argmax()), 1
    x, v = float(X[i, j, c]), float(s[i, j])
    assert added[i, j, c] == pytest.approx(min(x + 0.8 * v, 1), abs=1e-6)
    assert screened[i, j, c] == pytest.approx(1 - (1 - x) * (1 - 0.8 * v), abs=1e-6)
    assert covered[i, j, c] == pytest.approx(x * (1 - v) + 0.8 * v, abs=1e-6)
    for y in (added, screened, covered):
        assert 0 <= y.min() <= y.max() <= 1
        np.testing.assert_allclose(y[s == 0], X[s == 0], atol=1e-6)


def test_rain_is_of_many_kinds_and_strengths_and_determined_by_the_generator() -> None:
    made = [rendered_rain(X, np.random.default_rng(i)) for i in range(40)]
    psnrs = [-10 * np.log10(np.mean((y - X) ** 2)) for y in made]
    assert min(psnrs) < 11
    assert max(psnrs) > 22
    assert {len(random_layers(np.random.default_rng(i))) for i in range(40)} == {1, 2, 3, 4, 5}
    np.testing.assert_array_equal(made[3], rendered_rain(X, np.random.default_rng(3)))


def test_a_share_of_the_samples_is_rendered_and_none_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    target = (255 * X[:48, :48]).round().astype(np.uint8)
    x = target / np.float32(255)

    def made(kind: SyntheticRain, seed: int) -> np.ndarray:
        return kind.make({"target": target}, np.random.default_rng(seed), 1)["y"]

    rng = np.random.default_rng(3)
    drops = Rain(rate=float(np.exp(rng.uniform(*np.log((2, 100))))), wind=rng.uniform(-5, 5))
    falling = add_rain(x, coverage(random_streaks((48, 48), drops, rng), (48, 48)))
    np.testing.assert_array_equal(made(SyntheticRain(), 3), np.rint(255 * falling))
    rng = np.random.default_rng(3)
    rng.uniform()  # whether it is rendered
    np.testing.assert_array_equal(made(SyntheticRain(1.0), 3), np.rint(255 * rendered_rain(x, rng)))
    calls = []
    monkeypatch.setattr("unfold.degradations.synthetic_rain.rendered_rain", lambda x, rng: calls.append(1) or x)
    for i in range(200):
        made(SyntheticRain(0.5), i)
    assert 70 <= len(calls) <= 130
    with pytest.raises(UnfoldError, match="rendered is a share, from 0 to 1, not 2"):
        SyntheticRain(2)


def test_most_pictures_have_one_wind_and_some_stand_behind_a_veil() -> None:
    spreads = []
    for i in range(300):
        leans = [layer.lean for layer in random_layers(np.random.default_rng(i))]
        if len(leans) >= 4:
            spreads.append(np.std(leans))
    assert 0.5 < np.mean(np.array(spreads) < 14) < 0.85
    black = np.zeros((64, 64, 3), np.float32)
    veiled = [rendered_rain(black, np.random.default_rng(i)).min() > 0.01 for i in range(200)]
    assert 0.3 < np.mean(veiled) < 0.5


def test_impossible_layers_and_blends_are_refused() -> None:
    for layer in (Layer(0, 1, 0, 0.1, 1), Layer(9, 0, 0, 0.1, 1), Layer(9, 1, 0, 1.1, 1), Layer(9, 1, 0, 0.1, -1)):
        with pytest.raises(ValueError, match="length and width must be positive"):
            streaks(SIZE, layer, np.random.default_rng(0))
    with pytest.raises(ValueError, match="blends are add, screen, cover, not over"):
        blend(X, np.zeros(SIZE, np.float32), "over")
