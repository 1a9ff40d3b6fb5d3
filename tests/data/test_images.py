"""Images are found and read as they are, or refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.synthetic import scene
from unfold.data.images import PHOTOGRAPHS, check_images, find_images, read_image, to_float
from unfold.errors import UnfoldError


def test_the_photographs_are_colour_and_their_scenes_are_apart() -> None:
    parts = [find_images("photographs", split) for split in ("train", "val", "test")]
    names = [path.name for part in parts for path in part]
    assert len(names) == len(set(names)) == sum(map(len, PHOTOGRAPHS.values()))
    for part in parts:
        check_images(part, 256)
    assert {"motorcycle_left.png", "motorcycle_right.png"} <= set(PHOTOGRAPHS["train"]), "one scene, one side"


def test_a_folder_is_listed_in_natural_order_also_below_unfold_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sets" / "mine"
    folder.mkdir(parents=True)
    for name in ("10.png", "9.PNG", "notes.txt", "100.jpg"):
        (folder / name).touch()
    expected = ["9.PNG", "10.png", "100.jpg"]
    assert [path.name for path in find_images(str(folder), "test")] == expected
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path / "sets"))
    assert [path.name for path in find_images("mine", "test")] == expected


@pytest.mark.parametrize("kind", ["png", "bmp", "tif", "ppm", "webp"])
def test_lossless_files_come_back_to_the_digit(tmp_path: Path, kind: str) -> None:
    picture = scene(20, 30)
    Image.fromarray(picture).save(tmp_path / f"a.{kind}", **({"lossless": True} if kind == "webp" else {}))
    assert np.array_equal(read_image(tmp_path / f"a.{kind}"), picture)


@pytest.mark.parametrize("kind", ["png", "tif", "ppm"])
def test_16_bits_stay_16_bits(tmp_path: Path, kind: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (12, 14, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{kind}"), deep[..., ::-1])
    image = read_image(tmp_path / f"a.{kind}")
    assert np.array_equal(image, deep)
    assert np.allclose(to_float(image), deep / 65535, atol=1e-7)


def test_palettes_are_expanded_and_exif_orientation_is_honoured(tmp_path: Path) -> None:
    flat = np.zeros((10, 20, 3), np.uint8)
    flat[:, :5] = [255, 0, 0]
    Image.fromarray(flat).quantize(4).save(tmp_path / "palette.png")
    assert np.array_equal(read_image(tmp_path / "palette.png"), flat)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show it
    Image.fromarray(flat).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "turned.png"), np.rot90(flat, -1))


def test_integers_become_floats_in_0_1() -> None:
    assert np.array_equal(to_float(np.array([0, 255], np.uint8)), np.array([0, 1], np.float32))
    assert to_float(np.array([128], np.uint8)).dtype == np.float32


def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:3000])
    (tmp_path / "words.png").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    Image.fromarray(scene()).convert("L").save(tmp_path / "grey.png")
    Image.fromarray(scene()).convert("RGBA").save(tmp_path / "alpha.png")
    cv2.imwrite(str(tmp_path / "grey16.png"), np.zeros((20, 20), np.uint16))
    deep = cv2.imencode(".png", np.ones((20, 20, 3), np.uint16))[1].tobytes()
    turn = b"eXIfMM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    chunk = struct.pack(">I", len(turn) - 4) + turn + struct.pack(">I", zlib.crc32(turn))
    (tmp_path / "deep_turned.png").write_bytes(deep[:33] + chunk + deep[33:])
    for name, told in [
        ("none.png", "there is no image"),
        ("cut.png", "cannot be read"),
        ("words.png", "is not an image"),
        ("empty.jpg", "is not an image"),
        ("grey.png", "is grey"),
        ("grey16.png", "is grey"),
        ("alpha.png", "RGBA"),
        ("deep_turned.png", "EXIF orientation"),
    ]:
        with pytest.raises(UnfoldError, match=told) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnfoldError, match="64x64 pixels, and at least 65x65"):
        check_images([whole], 65)


def test_a_folder_that_is_missing_or_empty_or_a_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path / "root"))
    with pytest.raises(UnfoldError, match=r"no folder nowhere, nor .*root.nowhere"):
        find_images("nowhere", "test")
    with pytest.raises(UnfoldError, match="there is no folder ~nobody/x"):
        find_images("~nobody/x", "test")
    with pytest.raises(UnfoldError, match="holds no images"):
        find_images(str(tmp_path), "test")
    (tmp_path / "file").touch()
    with pytest.raises(UnfoldError, match="is a file"):
        find_images(str(tmp_path / "file"), "test")
