"""The guard's checks by hand-made results whose overshoot, distance and change are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from unfold.inference.photographs.guard import (
    EXPLAINED,
    LEAST_RAIN,
    MOVED,
    OVERSHOOT,
    implausible,
    most_overshoot,
    overshoot,
    share_to_keep,
    takes_rain,
)


def steps(width: int = 4) -> NDArray[np.uint8]:
    """(32,32,3): columns of 60 and 180, each so wide. Contrast: 120 at the two pixels beside an edge, 0 else."""
    return np.where(np.arange(32) // width % 2, 180, 60)[None, :, None].repeat(32, 0).repeat(3, 2).astype(np.uint8)


def enlarged(picture: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    return picture.repeat(scale, 0).repeat(scale, 1)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_a_repeated_pixel_overshoots_by_nothing_and_is_plausible(scale: int) -> None:
    small = steps()
    large = enlarged(small, scale)
    assert overshoot(small[..., 0].astype(np.float32), large[..., 0].astype(np.float32), scale) == 0
    assert implausible(small, large, scale, level=1) is None


@pytest.mark.parametrize("scale", [1, 2])
def test_overshoot_is_what_leaves_the_range_of_the_neighbours_as_a_share_of_the_contrast(scale: int) -> None:
    # 12 above the brightest neighbour at every pixel of 180: half of the pixels, so a root mean square of 12/sqrt(2).
    # Half of the pixels have a contrast of 120 (the two beside each edge), but for the first and the last two columns.
    small = steps()
    large = enlarged(small, scale).astype(np.float32)
    large[large == 180] += 12
    contrast = 120 * np.sqrt(14 / 32)
    found = overshoot(small[..., 0].astype(np.float32), large[..., 0], scale)
    assert found == pytest.approx(12 * np.sqrt(1 / 2) / contrast, rel=1e-4)


def test_the_limit_grows_with_the_blur_that_is_undone() -> None:
    assert most_overshoot(2, 0) == most_overshoot(4, 0) == OVERSHOOT
    assert [round(most_overshoot(1, width), 2) for width in (0, 0.8, 1.2, 1.6)] == [0.15, 0.26, 0.48, 0.7]
    assert [round(most_overshoot(2, width), 2) for width in (0.4, 0.6, 0.8)] == [0.2, 0.31, 0.42]


@pytest.mark.parametrize(("scale", "width"), [(1, 0.0), (1, 1.2), (2, 0.0), (4, 0.0), (2, 0.6)])
def test_halos_are_refused_beyond_the_limit_and_accepted_below(scale: int, width: float) -> None:
    small = steps()
    contrast, most = 120 * np.sqrt(14 / 32), most_overshoot(scale, width)

    def with_halos(share: float) -> NDArray[np.uint8]:
        height = share * contrast  # both sides leave by this, at every pixel
        large = enlarged(small, scale).astype(float)
        return np.rint(np.where(large > 100, large + height, large - height)).clip(0, 255).astype(np.uint8)

    assert implausible(small, with_halos(0.8 * most), scale, 30, width) is None
    assert "overshoots" in (implausible(small, with_halos(1.2 * most), scale, 30, width) or "")


def test_a_result_that_reduced_again_is_another_picture_is_refused() -> None:
    small, level = steps(width=2), 4.0  # each pixel has both values beside it: between them nothing overshoots
    for apart, refused in ((0.8 * EXPLAINED * level, False), (1.2 * EXPLAINED * level, True)):
        between = np.rint(np.where(small > 120, small - apart, small + apart)).astype(np.uint8)
        why = implausible(small, enlarged(between, 2), 2, level)
        assert (why is not None) == refused
        assert why is None or f"{apart:.1f} (of 255)" in why


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_no_more_change_is_kept_than_the_assumed_noise_explains_and_none_without_noise(kind: type) -> None:
    peak = np.iinfo(kind).max
    rng = np.random.default_rng(0)
    picture: NDArray[Any] = np.full((64, 64, 3), peak // 2, kind)
    for change, level in ((10.0, 5.0), (4.0, 5.0), (50.0, 5.0)):
        noise = rng.choice([-change, change], (64, 64, 1)) / 255 * peak
        result: NDArray[Any] = np.rint(picture + noise).astype(kind)
        want = min(1.0, MOVED * level / change)
        assert share_to_keep(picture, result, level) == pytest.approx(want, rel=0.01 if kind is np.uint16 else 0.06)
        assert share_to_keep(picture, result, 0) == 0


def test_rain_is_a_change_that_darkens_by_enough() -> None:
    rng = np.random.default_rng(0)
    dry = rng.integers(60, 120, (64, 64, 3)).astype(np.uint8)
    streaks = (rng.uniform(size=(64, 64, 1)) < 0.1) * 60
    wet = (dry + streaks).astype(np.uint8)
    assert takes_rain(wet, dry)
    assert not takes_rain(dry, wet)  # brightens
    assert not takes_rain(dry, dry)
    assert not takes_rain(wet, (wet + rng.integers(-9, 10, wet.shape)).clip(0, 255).astype(np.uint8))  # smooths
    flat = np.full((64, 64, 3), 100, np.uint8)
    assert not takes_rain(
        flat, (flat - np.uint8(1) * (rng.uniform(size=(64, 64, 1)) < LEAST_RAIN / 3)).astype(np.uint8)
    )
