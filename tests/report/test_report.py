"""Tables and pictures say what was measured."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import scene
from unfold.evaluation.recipe_evaluation import _plain
from unfold.models.dgunet import DGUNet
from unfold.models.registry import skeleton
from unfold.report.contact_sheet import draw_sheet
from unfold.report.curve import draw_curves, log_ticks, ticks
from unfold.report.model_facts import FILE, counted, format_models
from unfold.report.models_list import count_parameters, gmac
from unfold.report.picture_strip import PANEL, Panel, draw_strip, some_stages
from unfold.report.text_table import Score, format_table, mean_score


def test_a_table_has_a_row_per_image_and_their_mean() -> None:
    rows = {
        "a": {"noisy": Score(20, 0.5), "net": Score(30.126, 0.9, 1.5)},
        "longer name": {"noisy": Score(22, 0.7), "net": Score(31, 0.8, 2.5)},
    }
    mean = {method: mean_score([row[method] for row in rows.values()]) for method in ("noisy", "net")}
    lines = format_table(rows, mean).splitlines()
    assert len({len(line.rstrip()) for line in lines[2:]}) == 1, "columns line up"
    assert lines[3].split("|")[2].split() == ["30.13", "0.9000", "1.50"]
    assert lines[-1].startswith("mean")
    assert lines[-1].split("|")[1].split() == ["21.00", "0.6000", "0.00"]
    assert lines[-1].split("|")[2].split() == ["30.56", "0.8500", "2.00"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.13, 0.41, [0.1, 0.2, 0.3, 0.4, 0.5]), (28.1, 29.9, [28, 28.5, 29, 29.5, 30])],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)
    assert ticks(1, 3, least=1) == [1, 2, 3]
    assert ticks(1, 1, least=1) == [0, 1, 2]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.018, 0.41, [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]),
        (1e-6, 2e-4, [1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4]),
        (3e-8, 2, [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10]),
        (1e-30, 1, [1e-30, 1e-27, 1e-24, 1e-21, 1e-18, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 1]),
    ],
)
def test_ticks_of_a_logarithmic_axis_enclose_the_values_and_are_few(
    low: float, high: float, expected: list[float]
) -> None:
    assert log_ticks(low, high) == pytest.approx(expected, rel=1e-12)


def test_values_of_several_decades_are_drawn_on_a_logarithmic_axis(tmp_path: Path) -> None:
    decades = [(i, 10.0**-i) for i in range(5)]
    draw_curves(tmp_path / "c.png", [("loss", decades)], "epoch")
    with Image.open(tmp_path / "c.png") as picture:
        pixels = np.asarray(picture).astype(int)
    rows, columns = np.nonzero((pixels[..., 2] - pixels[..., 0] > 100) & (np.indices(pixels.shape[:2])[0] > 30))
    assert np.corrcoef(rows, columns)[0, 1] > 0.999, "an exponential is a straight line"


def test_a_power_law_is_a_straight_line_where_growth_is_drawn(tmp_path: Path) -> None:
    curves = [(name, [(x, 3e-3 * x**1.5) for x in (1, 2, 9, 60)]) for name in "abc"]
    draw_curves(tmp_path / "c.png", curves, "x", growth=True, columns=2)
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (960, 600), "three panels, two in a row"
        pixels = np.asarray(picture).astype(int)
    for corner in ((0, 0), (0, 480), (300, 0), (300, 480)):
        panel = pixels[corner[0] + 30 : corner[0] + 300, corner[1] : corner[1] + 480]
        rows, columns = np.nonzero(panel[..., 2] - panel[..., 0] > 100)
        assert (len(rows) == 0) == (corner == (300, 480))
        assert len(rows) == 0 or np.corrcoef(rows, columns)[0, 1] < -0.998


@pytest.mark.parametrize(
    "points", [[], [(1, 5.0)], [(1, 2.0), (2, float("nan")), (3, 2.0)], [(i, i**2) for i in range(99)]]
)
def test_a_curve_is_drawn_of_any_number_of_points(tmp_path: Path, points: list[tuple[float, float]]) -> None:
    draw_curves(tmp_path / "c.png", [("one", points), ("two", points)], "epoch")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (960, 300)
        blue = (np.asarray(picture)[..., 2].astype(int) - np.asarray(picture)[..., 0] > 100).any()
    assert blue == bool(points)


def test_the_captions_of_a_sheet_stand_under_their_own_pictures_also_where_these_are_small() -> None:
    sheet = np.asarray(draw_sheet([(name, np.full((20, 60, 3), 0.8, np.float32)) for name in "abcd"], 100, 2))
    rows = np.flatnonzero((sheet < 120).any(axis=(1, 2)))
    assert set(rows) <= {*range(20, 45), *range(sheet.shape[0] // 2 + 20, sheet.shape[0] // 2 + 45)}
    assert len(rows) > 8


def test_a_strip_shows_the_same_crop_pixel_for_pixel(tmp_path: Path) -> None:
    target = scene(200, 300) / np.float32(255)
    noisy = target + 0.1
    draw_strip(tmp_path / "s.png", [Panel(noisy, "noisy", 20.0), Panel(target, "target", None)])
    with Image.open(tmp_path / "s.png") as picture:
        pixels = np.asarray(picture).astype(int)
    assert pixels.shape[1] == 2 * PANEL + 6
    left, right = pixels[:PANEL, :PANEL], pixels[:PANEL, -PANEL:]
    assert abs(left - np.minimum(right + 25.5, 255)).max() <= 0.5 + 1e-4
    windows = np.lib.stride_tricks.sliding_window_view(scene(200, 300), (PANEL, PANEL), axis=(0, 1))
    assert (windows.transpose(0, 1, 3, 4, 2) == right).all(axis=(2, 3, 4)).any()


def test_a_strip_prints_the_psnr_it_is_given(tmp_path: Path) -> None:
    target = scene(40, 40) / np.float32(255)
    captions = []
    for i, quality in enumerate([20.0, 20.0, 31.5, None]):
        draw_strip(tmp_path / f"{i}.png", [Panel(target, "x", quality), Panel(target, "target", None)])
        with Image.open(tmp_path / f"{i}.png") as picture:
            captions.append(np.asarray(picture)[40:, :PANEL].tobytes())
    assert captions[0] == captions[1]
    assert len(set(captions)) == 3


def test_a_perfect_result_is_null_in_json() -> None:
    plain = _plain(Score(float("inf"), 1.0, 0.5, [30.0, float("inf")]))
    assert plain == {"psnr": None, "ssim": 1.0, "seconds": 0.5, "stages": [30.0, None]}
    json.dumps(plain, allow_nan=False)


def test_some_stages_spread_from_the_first_and_leave_the_last_out() -> None:
    assert some_stages(7, 2) == [0, 5]
    assert some_stages(7, 3) == [0, 2, 5]
    assert some_stages(3, 2) == [0, 1]
    assert some_stages(2, 2) == [0]
    assert some_stages(1, 2) == []


def test_costs_are_those_of_the_published_networks() -> None:
    """Figures of the published code, counted by the same FLOP counter at 256x256.

    Ours is less by one product of 16 maps with 16 coefficients in each of five merges (see SubspaceMerge).
    """
    saved = 5 * 16 * 16 * 256**2 / 1e9
    lines = {line.split()[0]: line.split() for line in format_models().splitlines()[1:]}
    for name, parameters, cost in [
        ("dgunet_deblur", "17,331,512", 843.2),
        ("dgunet_plus_deblur", "69,572,915", 1082.8),
        ("dgunet_plus_denoise", "48,361,987", 754.9),
        ("dgunet_derain", "3,661,912", 194.0),
    ]:
        assert lines[name][1] == parameters
        assert float(lines[name][2]) == pytest.approx(cost - saved, abs=0.051), "printed with one decimal"
        assert lines[name][3] == "8"
    net = DGUNet(8, 4, 4, 3, 4)
    derain = skeleton("dgunet_derain", {})
    assert gmac(derain, 64) == pytest.approx(4 * gmac(derain, 32), rel=1e-2)
    assert count_parameters(net) == sum({id(p): p.numel() for p in net.state_dict(keep_vars=True).values()}.values())


def test_values_that_are_equal_but_for_rounding_and_tiny_ones_have_ticks_of_their_own() -> None:
    for low, high in [(1e-3 - 2e-19, 1e-3), (0.0, 1e-14), (3e-15, 5e-15), (0.0, 0.0), (-1e-20, 1e-20)]:
        found = ticks(low, high)
        assert found[0] <= low
        assert found[-1] >= high
        assert all(a < b for a, b in pairwise(found))


def test_what_is_kept_of_the_networks_is_what_they_are() -> None:
    assert FILE.read_text() == counted(), "python scripts/model_facts.py writes it anew"
