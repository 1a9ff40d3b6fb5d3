"""Rain is made of the drops that the formulas say, and looks as falling drops do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import skimage.data
from skimage.feature import structure_tensor

from unfold.physics.rain import FINEST, NEAREST, Rain, Streaks, add_rain, coverage, fall_speed, random_streaks

SIZE = (96, 128)


def test_drops_fall_as_fast_as_was_measured() -> None:
    diameter, measured = [1.0, 2.0, 3.0, 4.0, 5.0], [4.03, 6.49, 8.06, 8.83, 9.09]  # Gunn, Kinzer 1949
    assert fall_speed(np.array(diameter)) == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize("rate", [5, 20, 50])
def test_the_water_that_falls_is_about_the_rate(rate: float) -> None:
    d = np.linspace(0.5, 6, 2000)
    flux = np.pi / 6 * d**3 * 1e-9 * fall_speed(d) * 8000 * np.exp(-Rain(rate=rate).slope * d)
    assert 1000 * 3600 * flux.sum() * (d[1] - d[0]) == pytest.approx(rate, rel=0.3)


def test_a_picture_shows_as_many_drops_as_are_before_the_camera() -> None:
    rain = Rain(rate=50, exposure=1e-4)
    widths = np.concatenate([random_streaks((400, 400), rain, np.random.default_rng(i)).width for i in range(5)])
    inside = (400 + 2 * 0.5 * (fall_speed(6) + 1.9) * 1e-4 * rain.focal / NEAREST) ** 2
    for finest in (FINEST, 1.0):
        # Drops of diameter d wider than that are nearer than focal d / finest, in a pyramid without its tip.
        d = np.linspace(0.5, 6, 20000)
        far = np.maximum(rain.focal * d / 1000 / finest, NEAREST)
        volume = inside / rain.focal**2 * (far**3 - NEAREST**3) / 3
        expected = 5 * np.sum(volume * 8000 * np.exp(-rain.slope * d)) * (d[1] - d[0])
        assert (widths >= finest).sum() == pytest.approx(expected, rel=0.1)


def test_a_streak_holds_the_cross_section_of_its_drop_and_has_a_gaussian_profile() -> None:
    streak = Streaks(np.array([[48.0, 64.0]]), np.array([[40.0, 0.0]]), np.array([4.0]), np.array([0.8]))
    cover = coverage(streak, SIZE)
    assert cover.sum() == pytest.approx(0.8 * np.pi * 4)
    rows, profile = cover.sum(1), cover[48]
    assert (rows > rows.max() / 2).sum() == pytest.approx(40, abs=1)
    offsets = np.arange(SIZE[1]) - 64
    assert (profile * offsets).sum() == pytest.approx(0, abs=1e-9)
    variance = (profile * offsets**2).sum() / profile.sum()
    assert variance == pytest.approx(1 + 0.5**2, rel=0.5)
    gaussian = np.exp(-(offsets**2) / (2 * variance))
    assert np.allclose(profile, profile.sum() * gaussian / gaussian.sum(), atol=0.01 * profile.max())


def test_streaks_across_the_border_show_what_is_inside() -> None:
    streaks = random_streaks(SIZE, Rain(), np.random.default_rng(0))
    wide = dataclasses.replace(streaks, centre=streaks.centre + 60)
    assert np.allclose(coverage(streaks, SIZE), coverage(wide, (SIZE[0] + 120, SIZE[1] + 120))[60:-60, 60:-60])


@pytest.mark.parametrize("wind", [-6.0, 0.0, 3.0])
def test_streaks_lean_with_the_wind(wind: float) -> None:
    streaks = random_streaks(SIZE, Rain(wind=wind, gusts=0.3, rate=20), np.random.default_rng(0))
    rr, rc, cc = (part.mean() for part in structure_tensor(coverage(streaks, SIZE), sigma=1, order="rc"))
    across = 0.5 * np.arctan2(2 * rc, rr - cc)  # direction of the strongest change, from the rows
    lean = np.degrees(across) % 180 - 90
    down, right = streaks.extent.T
    # A streak counts by the energy of its gradient: the square of its contrast, mass over length, times its length.
    energy = streaks.width**4 / np.hypot(down, right)
    assert lean == pytest.approx(np.degrees(np.average(np.arctan2(right, down), weights=energy)), abs=3)
    if wind:
        assert np.sign(lean) == np.sign(wind)


def test_wind_carries_every_drop_as_fast_and_small_ones_lean_more() -> None:
    streaks = random_streaks(SIZE, Rain(wind=3.0, gusts=0), np.random.default_rng(0))
    falling = 3.0 * streaks.extent[:, 0] / streaks.extent[:, 1]
    assert falling.min() >= fall_speed(0.5) * 0.999
    assert falling.max() <= fall_speed(6) * 1.001
    assert falling.std() > 1


@pytest.mark.parametrize(("wind", "gusts"), [(0.0, 20.0), (-30.0, 0.0), (10.0, 5.0)])
def test_drops_begin_as_far_beyond_the_border_as_half_the_longest_streak(wind: float, gusts: float) -> None:
    rain = Rain(rate=50, wind=wind, gusts=gusts)
    centre = random_streaks(SIZE, rain, np.random.default_rng(0)).centre
    reach = 0.5 * (fall_speed(6) + abs(wind) + 3 * gusts) * rain.exposure * rain.focal / NEAREST
    for axis, side in enumerate(SIZE):
        assert centre[:, axis].min() == pytest.approx(-reach, rel=0.02)
        assert centre[:, axis].max() == pytest.approx(side + reach, rel=0.02)


def test_streaks_are_as_long_as_the_exposure_and_fainter() -> None:
    short, long = (random_streaks(SIZE, Rain(exposure=t), np.random.default_rng(0)) for t in (1 / 400, 1 / 100))
    lengths = [np.hypot(*streaks.extent.T).mean() for streaks in (short, long)]
    assert lengths[1] == pytest.approx(4 * lengths[0], rel=0.1)
    assert np.quantile(coverage(long, SIZE), 0.99) < np.quantile(coverage(short, SIZE), 0.99)


def test_far_drops_are_dimmed_by_the_rain_before_them() -> None:
    rain = Rain(rate=50)
    streaks = random_streaks(SIZE, rain, np.random.default_rng(0))
    d = np.linspace(0, 20, 20001)
    cross_section = np.pi / 4 * d**2 * 1e-6 * 8000 * np.exp(-rain.slope * d)
    assert rain.extinction == pytest.approx(2 * cross_section.sum() * (d[1] - d[0]), rel=1e-3)
    assert 0 < streaks.light.min() < streaks.light.max() <= np.exp(-rain.extinction * NEAREST)


def test_rain_never_darkens_and_more_rain_brightens_more() -> None:
    x = (skimage.data.astronaut()[:96, :128] / 255).astype(np.float32)
    brightened = []
    for rate in (2, 10, 50):
        cover = coverage(random_streaks(SIZE, Rain(rate=rate), np.random.default_rng(0)), SIZE)
        rainy = add_rain(x, cover)
        assert rainy.dtype == np.float32
        assert (rainy >= x).all()
        assert rainy.max() <= 1
        brightened.append((rainy > x + 0.05).mean())
    assert brightened[0] < brightened[1] < brightened[2]
    with pytest.raises(ValueError, match="at least 1"):
        add_rain(x, cover, brightness=0.9)


def test_the_generator_determines_the_rain() -> None:
    one, same, other = (coverage(random_streaks(SIZE, Rain(), np.random.default_rng(s)), SIZE) for s in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
