"""Images are found and read as they are, or refused by name."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.synthetic import scene
from unfold.data.images import PHOTOGRAPHS, check_images, find_images, read_image, to_float
from unfold.data.pairs import find_pairs
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


def test_a_slice_of_a_folder_is_a_slice_of_its_images_in_natural_order(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.png").touch()

    def found(part: str) -> list[int]:
        return [int(path.stem) for path in find_images(f"{tmp_path}{part}", "test")]

    everything = list(range(12))
    assert found("[:-3]") + found("[-3:]") == found("[:5]") + found("[5:]") == found("[:]") == found("") == everything
    assert found("[2:4]") == [2, 3]
    assert found("[10:99]") == [10, 11]
    with pytest.raises(UnfoldError, match=r"\[12:\] is none of the 12 images there"):
        found("[12:]")
    for mistake in ("[::2]", "[:-]", "[-:]", "[3]"):
        with pytest.raises(UnfoldError, match="there is no folder"):
            found(mistake)
    with pytest.raises(UnfoldError, match=r"photographs are clean images .* a folder is wanted here: name it"):
        find_pairs("photographs")  # as a recipe of pairs has it that names none
    with pytest.raises(UnfoldError) as caught:
        find_images(f"{tmp_path}/none", "test")
    assert str(caught.value).count(f"{tmp_path}/none") == 1, "a whole path is one place and not two"
    assert [path.name for path in find_images("photographs[1:]", "test")] == ["chelsea.png"]


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


def test_palettes_are_expanded_to_the_digit(tmp_path: Path) -> None:
    flat = np.zeros((10, 20, 3), np.uint8)
    flat[:, :5] = [255, 0, 0]
    Image.fromarray(flat).quantize(4).save(tmp_path / "palette.png")
    assert np.array_equal(read_image(tmp_path / "palette.png"), flat)


@pytest.mark.parametrize(("kind", "bits"), [("png", 8), ("tif", 8), ("jpg", 8), ("webp", 8), ("png", 16), ("tif", 16)])
def test_all_eight_exif_orientations_are_honoured(tmp_path: Path, kind: str, bits: int) -> None:
    # What EXIF says: where the first row and the first column of the stored picture are to be shown.
    shown = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, 1),
    }
    picture = scene(16, 32).astype(np.uint16) * (257 if bits == 16 else 1)
    for orientation, turn in shown.items():
        path = tmp_path / f"{orientation}.{kind}"
        if bits == 16:
            write_deep(path, picture, orientation)
        else:
            exif = Image.Exif()
            exif[0x0112] = orientation
            options = {"lossless": True} if kind == "webp" else {"quality": 100, "subsampling": 0}
            Image.fromarray(picture.astype(np.uint8)).save(
                path, exif=exif, **({} if kind in ("png", "tif") else options)
            )
        expected = turn(picture)
        found = read_image(path)
        assert found.shape == expected.shape
        assert found.dtype == (np.uint16 if bits == 16 else np.uint8)
        assert np.abs(found.astype(int) - expected).max() <= (8 if kind == "jpg" else 0), orientation


def write_deep(path: Path, picture: np.ndarray, orientation: int) -> None:
    """16 bits per channel with an EXIF orientation, by hand: no library here writes both."""
    if path.suffix == ".png":
        data = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
        turn = (
            b"eXIfMM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01" + bytes([0, orientation]) + bytes(6)
        )
        chunk = struct.pack(">I", len(turn) - 4) + turn + struct.pack(">I", zlib.crc32(turn))
        path.write_bytes(data[:33] + chunk + data[33:])
        return
    height, width = picture.shape[:2]
    bits = 8 + 2 + 12 * 10 + 4
    entries = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2)),
        *((273, 4, 1, bits + 6), (274, 3, 1, orientation), (277, 3, 1, 3), (278, 4, 1, height)),
        (279, 4, 1, picture.size * 2),
    ]
    ifd = struct.pack("<H", 10) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    path.write_bytes(b"II*\x00" + struct.pack("<I", 8) + ifd + struct.pack("<3H", 16, 16, 16) + picture.tobytes())


@pytest.mark.parametrize("deep", [False, True])
def test_an_opaque_alpha_channel_is_dropped_and_transparency_is_refused(tmp_path: Path, deep: bool) -> None:
    top = 65535 if deep else 255
    pixels = np.random.default_rng(0).integers(0, top + 1, (12, 14, 4)).astype(np.uint16 if deep else np.uint8)
    pixels[..., 3] = top
    cv2.imwrite(str(tmp_path / "opaque.png"), pixels[..., [2, 1, 0, 3]])
    assert np.array_equal(read_image(tmp_path / "opaque.png"), pixels[..., :3])
    pixels[5, 5, 3] = top - 1
    cv2.imwrite(str(tmp_path / "glass.png"), pixels[..., [2, 1, 0, 3]])
    with pytest.raises(UnfoldError, match=r"glass\.png is transparent in places \(RGBA\); lay it on a background"):
        read_image(tmp_path / "glass.png")


def test_grey_of_every_kind_gets_three_equal_channels_where_grey_is_allowed(tmp_path: Path) -> None:
    grey = scene()[..., 0]
    Image.fromarray(grey).save(tmp_path / "8.png")
    cv2.imwrite(str(tmp_path / "16.png"), grey.astype(np.uint16) * 256)
    Image.fromarray(grey > 128).save(tmp_path / "1.png")
    Image.fromarray(np.stack([grey, np.full_like(grey, 255)], axis=2), "LA").save(tmp_path / "alpha.png")
    for name, expected in [("8", grey), ("16", grey.astype(int) * 256), ("1", 255 * (grey > 128)), ("alpha", grey)]:
        assert np.array_equal(read_image(tmp_path / f"{name}.png", grey=True), np.stack([expected] * 3, axis=2))
        with pytest.raises(UnfoldError, match="is grey"):
            read_image(tmp_path / f"{name}.png")


def test_a_header_that_promises_too_much_is_refused_before_memory_is_spent(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    data = zlib.compress(bytes(1000))
    chunk += struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    (tmp_path / "large.bmp").write_bytes(
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 12000, 8000, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    tracemalloc.start()
    for name in ("huge.png", "large.bmp"):
        with pytest.raises(UnfoldError, match=f"{name} says that it has more than 89 million pixels"):
            read_image(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_workers_of_a_data_loader_read_images(pictures: Path) -> None:
    files = find_images(str(pictures), "train")
    loader = torch.utils.data.DataLoader(files, batch_size=None, num_workers=2, collate_fn=read_image)  # type: ignore[arg-type, var-annotated]
    assert all(np.array_equal(a, read_image(path)) for a, path in zip(loader, files, strict=True))


def test_integers_become_floats_in_0_1() -> None:
    assert np.array_equal(to_float(np.array([0, 255], np.uint8)), np.array([0, 1], np.float32))
    assert to_float(np.array([128], np.uint8)).dtype == np.float32


def test_unusable_images_are_refused_by_name(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:3000])
    (tmp_path / "words.png").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    Image.fromarray(scene()).convert("L").save(tmp_path / "grey.png")
    cv2.imwrite(str(tmp_path / "grey16.png"), np.zeros((20, 20), np.uint16))
    Image.fromarray(scene()).convert("CMYK").save(tmp_path / "print.jpg")
    Image.fromarray(np.zeros((20, 20), np.float32)).save(tmp_path / "float.tif")
    frames = [Image.fromarray(scene(seed=seed)) for seed in (1, 2)]
    for name in ("moving.png", "moving.webp", "pages.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "called.png", "PCX")
    for name, expected in [
        ("none.png", "there is no image"),
        ("cut.png", "cannot be read"),
        ("words.png", "is not an image"),
        ("empty.jpg", r"is empty \(0 bytes\)"),
        ("grey.png", "is grey"),
        ("grey16.png", "is grey"),
        ("print.jpg", "of kind CMYK.*colour profile"),
        ("float.tif", "of kind F"),
        ("moving.png", "holds 2 pictures"),
        ("moving.webp", "holds 2 pictures"),
        ("pages.tif", "holds 2 pictures"),
        (
            "called.png",
            "is not an image that can be read .PNG, JPEG, BMP, TIFF, WEBP, PPM, GIF, JPEG2000, AVIF, HEIF, TGA.$",
        ),
    ]:
        with pytest.raises(UnfoldError, match=expected) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnfoldError, match="64x64 pixels, and at least 65x65"):
        check_images([whole], 65)


def test_a_folder_that_is_missing_or_empty_or_a_file_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


@pytest.mark.parametrize("text", ["$PLACE/set", "${PLACE}/set", "$PLACE/${OTHER}", "~/set", "$PLACE/set[1:]"])
def test_variables_and_the_home_folder_stand_in_paths_of_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("PLACE", str(tmp_path))
    monkeypatch.setenv("OTHER", "set")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "set").mkdir()
    for i in range(2):
        Image.fromarray(scene()).save(tmp_path / "set" / f"{i}.png")
    assert find_images(text, "test") == [tmp_path / "set" / f"{i}.png" for i in range("[1:]" in text, 2)]


def test_a_variable_may_name_a_set_below_the_root_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path))
    monkeypatch.setenv("SET", "mine")
    (tmp_path / "mine").mkdir()
    Image.fromarray(scene()).save(tmp_path / "mine" / "a.png")
    assert find_images("$SET", "test") == [tmp_path / "mine" / "a.png"]


@pytest.mark.parametrize(("value", "expected"), [(None, "not set"), ("", "empty")])
def test_a_variable_that_is_not_set_is_named_and_no_other_folder_taken(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: str
) -> None:
    monkeypatch.delenv("PLACE", raising=False)
    if value is not None:
        monkeypatch.setenv("PLACE", value)
    with pytest.raises(UnfoldError, match=rf"\$PLACE/tmp names the environment variable PLACE, which is {expected}"):
        find_images("$PLACE/tmp", "test")


def test_a_folder_whose_name_holds_a_dollar_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLACE", raising=False)
    folder = tmp_path / "a$PLACE"
    folder.mkdir()
    Image.fromarray(scene()).save(folder / "a.png")
    assert find_images(str(folder), "test") == [folder / "a.png"]
