"""The page of a table: its numbers, what is missing, its pictures and its size."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.pages import Page, pixels
from tests.synthetic import scene
from unfold.tables import table_page as module
from unfold.tables.results import Cell, ImageScore, Shown, Table
from unfold.tables.table_page import write_page

SIGNS = str.maketrans({"\N{MINUS SIGN}": "-", "\N{PLUS-MINUS SIGN}": None})
LIST = ["method", "setting", "metric", "published", "measured", "difference", "images", "state"]


class Tables(Page):
    """The texts of every row of each table; all texts."""

    def __init__(self, text: str) -> None:
        self.tables: list[list[list[str]]] = []
        self.texts: list[str] = []
        super().__init__(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += data + " "

    def table(self, *head: str) -> list[list[str]]:
        """The rows of the table that begins with this head."""
        found = [[[cell.strip() for cell in row] for row in table] for table in self.tables]
        return next(rows[1:] for rows in found if rows[0][: len(head)] == list(head))


def measured(count: int, total: int, mean: float = 30.0, **more: Any) -> dict[str, Any]:
    images = [
        ImageScore(f"image {i}", {"psnr": mean + i, "ssim": 0.9 - i / 100}, 0.25, [mean - 1, mean + i])
        for i in range(count)
    ]
    return {"images": images, "total": total, "status": "done" if count == total else "partial", **more}


def small() -> Table:
    """Two settings of three methods, of which one was measured, one on a part of the images; PSNR and SSIM."""
    cells = []
    for metric, published in (("psnr", (31.5, 29.25)), ("ssim", (0.9123, 0.85))):
        value = 31.0 if metric == "psnr" else 0.89
        for column, count, number in ((("A", "k1"), 3, published[0]), (("A", "k2"), 2, published[1])):
            cells += [
                Cell(("x2", "old"), column, metric, "published only", number - 0.5),
                Cell(("x2", "net"), column, metric, published=number, measured=value, **measured(count, 3)),
                Cell(("x3", "net"), column, metric, "no weights", number / 2),
            ]
        cells.append(Cell(("x3", "other"), ("A", "k1"), metric, "no data", note="the set B is not there"))
        cells.append(Cell(("x3", "other"), ("A", "k2"), metric, measured=value, **measured(3, 3)))
    return Table("small", "A table", "A paper, Table 1", cells, {"device": "cpu", "weights": {"sha256": "ab12"}})


def shown(cell: Cell, name: str = "image 0", target: bool = True) -> Shown:
    image = ImageScore(name, {"psnr": 30.0}, 1.5, [20.0, 25.0, 30.0])
    y, x = scene(16, 20, 1), scene(16, 20, 2)
    return Shown(cell, image, y, x, scene(16, 20, 3) if target else None)


def written(folder: Path, table: Table, *images: Shown) -> tuple[str, Tables]:
    write_page(folder / "page.html", table, images)
    text = (folder / "page.html").read_text(encoding="utf-8")
    return text, Tables(text)


def without_pictures(text: str) -> str:
    return re.sub(r"base64,[\w+/=]*", "", text)


def test_every_number_of_the_table_stands_in_the_list_and_in_the_grid(tmp_path: Path) -> None:
    table = small()
    _, page = written(tmp_path, table)
    rows = page.table(*LIST)
    assert len(rows) == len(table.cells)
    for row, cell in zip(rows, table.cells, strict=True):
        assert row[0] == cell.row[-1]
        assert row[1] == " · ".join([cell.row[0], *cell.column])
        for text, value in zip(row[3:6], (cell.published, cell.measured, cell.difference), strict=True):
            assert (text == "") == (value is None)
            if value is not None:
                assert float(text.translate(SIGNS)) == pytest.approx(value, abs=1e-4)
    psnr, ssim = page.tables[:2]
    grid = [[" ".join(cell.split()) for cell in row] for row in psnr]
    assert grid[0] == ["", "A"]
    assert grid[1] == ["", "k1", "k2"]
    assert grid[2:] == [
        ["x2"],
        ["old", "31.00", "28.75"],
        ["net", "31.00 31.50 \N{MINUS SIGN}0.50", "31.00 29.25 2 of 3 images"],
        ["x3"],
        ["net no weights", "15.75", "14.62"],
        ["other", "[1] no data", "31.00"],
    ]
    assert ssim[4][1].split() == ["0.8900", "0.9123", "\N{MINUS SIGN}0.0223"]
    assert "the set B is not there" in page.texts


def test_rows_of_a_group_stand_together_in_whatever_order_cells_come(tmp_path: Path) -> None:
    cells = [Cell((scale, name), ("k",), "psnr", "published only", 30.0) for name in "ab" for scale in ("x2", "x3")]
    _, page = written(tmp_path, Table("t", "t", "s", cells, {}))
    assert [row[0].strip() for row in page.tables[0]] == ["", "x2", "a", "b", "x3", "a", "b"]


def test_a_difference_has_its_sign_in_words_of_colour_and_none_where_it_rounds_to_nothing(tmp_path: Path) -> None:
    cells = [
        Cell((name,), ("k",), "psnr", "done", 30.0, value)
        for name, value in {"more": 30.1, "less": 29.9, "same": 29.9999}.items()
    ]
    text, _ = written(tmp_path, Table("t", "t", "s", cells, {}))
    assert re.findall(r'<i class="(\w+)">(.*?)</i>', text) == [
        ("up", "+0.10"),
        ("down", "\N{MINUS SIGN}0.10"),
        ("same", "\N{PLUS-MINUS SIGN}0.00"),
    ]


def test_every_image_is_listed_once_though_two_metrics_have_it(tmp_path: Path) -> None:
    table = small()
    text, page = written(tmp_path, table)
    rows = page.table("image", "method", "setting", "PSNR", "SSIM", "seconds")
    expected = [
        [image.name, cell.row[-1], " · ".join([cell.row[0], *cell.column]), f"{image.scores['psnr']:.2f}",
         f"{image.scores['ssim']:.4f}", f"{image.seconds:.2f}"]
        for cell in table.cells
        if cell.metric == "psnr"
        for image in cell.images
    ]  # fmt: skip
    assert len(expected) == 3 + 2 + 3
    assert rows == expected
    assert "</tr><tr>" in text, "nothing between rows: sorting is fast"


def test_pictures_are_kept_without_loss_in_order_and_without_a_target_nothing_is_compared_with_it(
    tmp_path: Path,
) -> None:
    table = small()
    first, second = shown(table.cells[1]), shown(table.cells[1], "image 1", target=False)
    _, page = written(tmp_path, table, first, second)
    kept = [pixels(image["src"]) for image in page.all("img")]
    for picture, expected in zip(kept, [*first[2:], *second[2:4]], strict=True):
        np.testing.assert_array_equal(picture, expected)
    assert [radio["value"] for radio in page.all("input", type="radio")] == ["0 1", "1 2", "0 2"]
    assert len(page.all("input", type="range")) == 2
    assert len(page.all("svg")) == 2
    assert len(page.all("circle")) == 6, "a dot for each stage"
    assert any("PNG, without loss" in text for text in page.texts)


def test_the_lens_begins_where_the_result_changed_most(tmp_path: Path) -> None:
    y = np.full((64, 96, 3), 100, np.uint8)
    x = y.copy()
    x[40:48, 16:24] = 200
    table = small()
    image = Shown(table.cells[1], table.cells[1].images[0], y, x, None)
    _, page = written(tmp_path, table, image)
    article = page.all("article")[0]
    assert (float(article["data-x"]), float(article["data-y"])) == pytest.approx((20 / 96, 44 / 64), abs=1e-3)


def test_the_page_asks_for_nothing_and_escapes_hostile_names(tmp_path: Path) -> None:
    hostile = '</script><script>alert(1)</script><img src=x onerror="1"> \'&$title ${style} \udcff \u202e'
    images = [ImageScore(hostile, {"psnr": 1.0, hostile: 2.0}, 0.1, [])]
    cells = [
        Cell((hostile, hostile), (hostile, hostile), "psnr", "partial", 1.0, 2.0, images, 2, note=hostile),
        Cell((hostile, "net"), (hostile,), hostile, "no data"),
    ]
    table = Table(hostile, hostile, hostile, cells, {hostile: {hostile: [hostile]}})
    text, page = written(tmp_path, table, shown(cells[0], hostile))
    markup = without_pictures(text)
    assert not re.search(r"https?:|url\(|@import|<link|<img src=x|<script>alert", markup)
    assert len(page.all("script")) == 1
    assert all(picture["src"].startswith("data:image/") for picture in page.all("img"))
    assert "default-src 'none'" in page.all("meta")[2]["content"]
    assert hostile.replace("\udcff", "\\udcff") in page.texts


def test_infinite_and_undefined_scores_are_shown_as_such(tmp_path: Path) -> None:
    images = [ImageScore(f"{v}", {"psnr": v}, 0.1, [20.0, v]) for v in (math.inf, -math.inf, math.nan)]
    cells = [Cell((image.name,), ("k",), "psnr", "done", 30.0, image.scores["psnr"], [image], 1) for image in images]
    _, page = written(
        tmp_path, Table("t", "t", "s", cells, {}), *(Shown(cells[0], i, *[scene(8, 8)] * 3) for i in images)
    )
    minus = "\N{MINUS SIGN}inf"
    assert [row[3] for row in page.table("image")] == ["inf", minus, "nan"]
    assert [row[4:6] for row in page.table(*LIST)] == [["inf", "+inf"], [minus, minus], ["nan", "nan"]]
    assert len(page.all("circle")) == 3, "what is not finite is no point of the curve"


def test_a_table_without_anything_measured_is_a_page_without_images(tmp_path: Path) -> None:
    cells = [Cell(("net",), ("k",), "psnr", "no weights", 30.0), Cell(("old",), ("k",), "psnr", "published only", 29.0)]
    _, page = written(tmp_path, Table("t", "t", "s", cells, {}))
    rows = [[cell.split() for cell in row] for row in page.tables[0][1:]]
    assert rows == [[["net", "no", "weights"], ["30.00"]], [["old"], ["29.00"]]]
    assert not page.all("article")
    assert len(page.tables) == 2
    assert "0 of 2" in page.texts


def test_more_images_than_a_browser_likes_are_cut_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    _, page = written(tmp_path, small())
    assert len(page.table("image")) == 2
    assert any("The first 2 stand here" in text for text in page.texts)


def test_a_page_keeps_within_its_size_whatever_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 200_000)
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    table = small()
    images = [Shown(table.cells[1], ImageScore(f"{i}", {"psnr": 1.0}, 1, []), noise, noise, noise) for i in range(12)]
    _, page = written(tmp_path, table, *images)
    assert 100_000 < (tmp_path / "page.html").stat().st_size < 200_200
    assert len(page.all("img")) == 36
    assert any(re.search(r"WebP of quality 85, at 1/\d of their size", text) for text in page.texts)


@pytest.mark.slow
def test_large_noisy_pictures_make_a_page_of_less_than_15_megabytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2000, 3000, 3)).astype(np.uint8)
    table = small()
    images = [Shown(table.cells[1], ImageScore(f"{i}", {"psnr": 1.0}, 1, []), noise, noise, noise) for i in range(12)]
    written(tmp_path, table, *images)
    assert (tmp_path / "page.html").stat().st_size < 15_000_000
