"""Pages that stand alone: pictures kept in them, and curves."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.report.page_parts import HEIGHT, WIDTH, chart, embedded, embedded_within
from unfold.report.stage_table import StageRecord, columns, format_stages, shown, stages_as_json


def opened(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(";base64,")[2])))


def test_pictures_are_kept_without_loss_where_there_is_room_and_else_as_well_as_they_can_be() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8)
    pictures = [Image.fromarray(noise), Image.fromarray(scene(60, 80)[..., 0])]
    lossless = embedded_within(pictures)
    assert lossless.encoding == "PNG, without loss"
    for address, picture in zip(lossless.addresses, pictures, strict=True):
        np.testing.assert_array_equal(np.asarray(opened(address)), np.asarray(picture))
    sizes = []
    for budget, expected in [(9_000, "quality 95"), (7_000, "quality 85"), (2_000, "1/2"), (800, "1/4")]:
        kept = embedded_within(pictures, budget)
        sizes.append(sum(map(len, kept.addresses)))
        assert sizes[-1] <= budget
        assert kept.encoding.startswith("WebP")
        assert expected in kept.encoding, kept.expected
    assert opened(kept.addresses[0]).size == (20, 15)
    with pytest.raises(UnfoldError, match="2 pictures cannot be kept in 100 bytes"):
        embedded_within(pictures, 100)


def test_a_picture_is_embedded_in_the_kind_that_is_asked_for() -> None:
    address = embedded(Image.fromarray(scene()), "JPEG", 90)
    assert address.startswith("data:image/jpeg;base64,")
    assert opened(address).format == "JPEG"


@pytest.mark.parametrize(
    ("points", "logarithmic"),
    [
        ([(0, 5.0)], False),
        ([(0, 1e-6), (1, 0.5)], True),
        ([(0, 0.0), (1, 500.0)], False),
        ([(1, 3.0), (2, 3.0)], False),
    ],
)
def test_a_chart_has_a_marked_dot_for_each_point_inside_it(
    points: list[tuple[float, float]], logarithmic: bool
) -> None:
    marks = [7 + i for i in range(len(points))]
    text = chart("a < b", points, "stage", marks, end=3, least=1)
    drawing = ElementTree.fromstring(text)
    dots = drawing.findall("circle")
    assert [dot.get("data-k") for dot in dots] == [str(mark) for mark in marks]
    for dot in dots:
        assert 0 < float(dot.get("cx", "")) < WIDTH
        assert 0 < float(dot.get("cy", "")) < HEIGHT
    heights = [float(dot.get("cy", "")) for dot in dots]
    assert heights == sorted(heights, reverse=True), "larger is higher"
    assert ("logarithmic" in text) == logarithmic
    assert drawing.get("aria-label", "").startswith("a < b")


def test_figures_that_no_stage_has_are_left_out_and_others_are_shown() -> None:
    image = np.zeros((1, 1, 3), np.float32)
    records = [
        StageRecord(0, image, 0.5, psnr=float("inf")),
        StageRecord(1, image, 1234.5, psnr=20.0, numbers={"r": 1e-6}),
    ]
    assert columns(records) == ["psnr", "r", "seconds"]
    lines = format_stages(records).splitlines()
    assert [line.split() for line in lines[1:]] == [["0", "inf", "-", "0.500"], ["1", "20.00", "1.00e-06", "1234.500"]]
    assert stages_as_json(records)[0] == {"k": 0, "psnr": None, "r": None, "seconds": 0.5}
    assert shown("residual", 99.99) == "100"
