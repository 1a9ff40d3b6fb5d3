"""Where images lie and how large they are is known before they are decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import scene
from unfold.data.images import read_image
from unfold.data.stores.image_stores import read_head
from unfold.errors import UnfoldError


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_the_size_is_that_of_the_picture_as_it_is_turned(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(scene(20, 30)).save(path, exif=exif)
    assert read_head(path).size == ((30, 20) if 5 <= orientation <= 8 else (20, 30))
    assert read_image(path).shape[:2] == read_head(path).size


def test_the_size_of_a_turned_tiff_of_16_bits_is_right(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.full((20, 30), 300, np.uint16)).save(path, exif=exif)
    assert read_head(path).size == read_image(path, grey=True).shape[:2] == (30, 20)


def test_what_is_not_taken_for_an_image_has_no_size(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(scene(20, 30)).save(path, "PCX")
    with pytest.raises(UnfoldError, match=r"a\.png is not an image that can be read"):
        read_head(path)
    with pytest.raises(UnfoldError, match=r"there is no image .*b\.png"):
        read_head(tmp_path / "b.png")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_grey_is_recognised_as_by_the_reader(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(scene(20, 30)).convert(mode).save(path)
    if read_head(path).grey:
        with pytest.raises(UnfoldError, match="is grey"):
            read_image(path)
    else:
        assert read_image(path).shape == (20, 30, 3)
