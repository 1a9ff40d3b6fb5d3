"""Pictures of every kind that is read come out as they are, for restoring and for training; others say what to do."""

from __future__ import annotations

import importlib.util
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, features

from tests.synthetic import scene
from unfold.data.formats import open_picture as module
from unfold.data.formats.open_picture import EXTENSIONS, MissingReaderError
from unfold.data.images import read_image
from unfold.errors import UnfoldError
from unfold.inference.picture_files import Picture, read_picture, reduced, write_picture

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PIXELS = scene(40, 52)
needs_avif = pytest.mark.skipif(
    "avif" not in features.modules or not features.check("avif"), reason="this Pillow has no AVIF"
)
HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(200)


def exif(orientation: int = 6) -> bytes:
    expected = Image.Exif()
    expected[ExifTags.Base.Orientation] = orientation
    expected[ExifTags.Base.Artist] = "someone"
    expected.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 400
    return expected.tobytes()


def saved(path: Path, array: np.ndarray, kind: str, **options: Any) -> Path:
    Image.fromarray(array).save(path, kind, **options)
    return path


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("a.ppm", "PPM", {}),
        ("A.PNM", "PPM", {}),
        ("a.jp2", "JPEG2000", {"irreversible": False}),
        ("a.j2k", "JPEG2000", {"irreversible": False, "no_jp2": True}),
        ("a.tga", "TGA", {}),
        ("größe.TGA", "TGA", {"compression": "tga_rle"}),
        ("called.png", "JPEG2000", {"irreversible": False}),
        ("called.jpg", "PPM", {}),
        ("big.tif", "TIFF", {"big_tiff": True}),
    ],
)
def test_lossless_kinds_are_read_to_the_digit(name: str, kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = saved(tmp_path / name, PIXELS, kind, **options)
    np.testing.assert_array_equal(read_picture(path).pixels, PIXELS)
    np.testing.assert_array_equal(read_image(path), PIXELS)


def test_a_still_gif_is_read_and_a_moving_one_refused(tmp_path: Path) -> None:
    palette = Image.fromarray(PIXELS).quantize(32)
    palette.save(tmp_path / "a.gif")
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.gif").pixels, expected)
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif"), expected)
    palette.save(tmp_path / "t.gif", transparency=3)
    np.testing.assert_array_equal(read_picture(tmp_path / "t.gif").alpha == 0, np.asarray(palette) == 3)
    palette.save(tmp_path / "m.gif", save_all=True, append_images=[Image.fromarray(scene(40, 52, seed=4))])
    for read in (read_picture, read_image):
        with pytest.raises(UnfoldError, match=r"m\.gif holds 2 pictures"):
            read(tmp_path / "m.gif")


def test_grey_and_black_and_white_netpbm_stay_grey(tmp_path: Path) -> None:
    grey = PIXELS[..., 0]
    np.testing.assert_array_equal(read_picture(saved(tmp_path / "a.pgm", grey, "PPM")).pixels[..., 0], grey)
    found = read_picture(saved(tmp_path / "a.pbm", grey > 99, "PPM")).pixels
    np.testing.assert_array_equal(found[..., 0], 255 * (grey > 99))


@pytest.mark.parametrize("peak", [300, 1023, 4095, 65535])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("plain", [False, True])
def test_the_largest_value_that_a_netpbm_states_is_white(peak: int, channels: int, plain: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, peak + 1, (7, 9, channels))
    values[0, 0] = peak
    mark = {(1, False): "P5", (3, False): "P6", (1, True): "P2", (3, True): "P3"}[channels, plain]
    head = f"{mark}\n# made by hand\n9 7\n{peak}\n".encode()
    body = "\n".join(map(str, values.ravel())).encode() if plain else values.astype(">u2").tobytes()
    path = tmp_path / "a.pnm"
    path.write_bytes(head + body)
    expected = np.rint(values * (65535 / peak))
    found = read_picture(path).pixels
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(read_image(path, grey=True), np.broadcast_to(expected, (7, 9, 3)))
    path.write_bytes((head + body)[:-20])
    with pytest.raises(UnfoldError, match="cannot be read"):
        read_picture(path)


def test_jpeg_2000_of_16_bits_keeps_them(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (96, 128, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "a.jp2"), deep[..., ::-1], [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])
    Image.fromarray(deep[..., 0]).save(tmp_path / "g.jp2", irreversible=False)
    for read in (read_picture, read_image):
        found = read(tmp_path / "a.jp2")
        np.testing.assert_array_equal(getattr(found, "pixels", found), deep)
    np.testing.assert_array_equal(read_picture(tmp_path / "g.jp2").pixels[..., 0], deep[..., 0])


@needs_avif
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_and_keeps_profile_and_exif(orientation: int, tmp_path: Path) -> None:
    options = {"quality": 100, "subsampling": "4:4:4", "exif": exif(orientation), "icc_profile": PROFILE}
    path = saved(tmp_path / "a.avif", PIXELS, "AVIF", **options)
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif(orientation))
    expected = read_picture(tmp_path / "a.png").pixels.astype(int)
    found = read_picture(path)
    assert found.pixels.shape == expected.shape
    assert np.abs(found.pixels - expected).max() < 8
    assert np.abs(read_image(path) - expected).max() < 8
    assert found.profile == PROFILE
    again = Image.Exif()
    again.load(found.exif)
    assert again.get(ExifTags.Base.Orientation, 1) == 1
    assert again[ExifTags.Base.Artist] == "someone"


@needs_avif
def test_avif_of_more_than_8_bits_is_refused_and_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    if not cv2.haveImageWriter(str(path)):
        pytest.skip("this OpenCV writes no AVIF")
    cv2.imwrite(str(path), PIXELS.astype(np.uint16) * 4, [cv2.IMWRITE_AVIF_DEPTH, 10])
    for read in (read_picture, read_image):
        with pytest.raises(UnfoldError, match="has 10 bits per channel"):
            read(path)


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="pillow-heif, an extra, is not installed")
def test_heic_is_turned_and_keeps_profile_and_exif(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    options = {"quality": -1, "chroma": 444, "exif": exif(6), "icc_profile": PROFILE}
    path = saved(tmp_path / "a.HEIC", PIXELS, "HEIF", **options)
    found = read_picture(path)
    expected = np.rot90(PIXELS, -1).astype(int)
    assert np.abs(found.pixels - expected).max() < 8
    assert np.abs(read_image(path) - expected).max() < 8
    assert found.profile == PROFILE
    again = Image.Exif()
    again.load(found.exif)
    assert again.get(ExifTags.Base.Orientation, 1) == 1
    assert again[ExifTags.Base.Artist] == "someone"
    deep = pillow_heif.from_bytes("RGB;16", (52, 40), (PIXELS.astype(np.uint16) * 257).tobytes())
    deep.save(tmp_path / "deep.heic")
    with pytest.raises(UnfoldError, match="has 10 bits per channel"):
        read_picture(tmp_path / "deep.heic")


def test_without_its_reader_heic_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(module.importlib, "import_module", missing)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    (tmp_path / "a.jpg").write_bytes(HEIC)
    for read in (read_picture, read_image):
        with pytest.raises(MissingReaderError, match=r'a.jpg is HEIC: pip install "unfold-restoration\[formats\]"'):
            read(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"8BPS", "a Photoshop file, which is not read here: save it as PNG"),
        (b"\xff\x0a", "JPEG XL"),
        (b"v/1\x01", "OpenEXR"),
        (b"%PDF-1.5", "a PDF"),
        (b"\0\0\0\x18ftypcrx ", "a camera's raw file"),
        (b"hello", "no picture that can be read"),
        (b"", r"empty \(0 bytes\)"),
    ],
)
def test_pictures_of_other_kinds_are_named(start: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(start + bytes(40) if start else b"")
    with pytest.raises(UnfoldError, match=expected):
        read_picture(tmp_path / "a.png")


def test_a_raw_file_is_not_restored_by_its_thumbnail(tmp_path: Path) -> None:
    for number, tags in enumerate([[(50706, "B", 4, (1, 4, 0, 0), True)], [(254, "I", 1, 1, True)]]):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, PIXELS, photometric="rgb", metadata=None, extratags=tags)
        for read in (read_picture, read_image):
            with pytest.raises(UnfoldError, match="a camera's raw file"):
                read(path)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("target", ["b.png", "b.tif", "b.jpg", "b.webp"])
def test_a_big_tiff_is_read_and_written_with_what_it_brings(
    orientation: int, deep: bool, target: str, tmp_path: Path
) -> None:
    array = PIXELS.astype(np.uint16) * 257 if deep else PIXELS
    options = {"bigtiff": True, "photometric": "rgb", "iccprofile": PROFILE, "description": "holiday"}
    tifffile.imwrite(tmp_path / "a.tif", array, extratags=[(274, "H", 1, orientation, True)], metadata=None, **options)
    found = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.pixels, np.rot90(array, -1) if orientation == 6 else array)
    assert found.profile == PROFILE
    assert found.exif.startswith((b"Exif\0\0II*\0", b"Exif\0\0MM\0*")), "the layout that other formats take"
    result, lost = reduced(found, target[1:])
    assert lost == (["16 bits per channel"] if deep and target in ("b.jpg", "b.webp") else [])
    write_picture(tmp_path / target, result)
    again = read_picture(tmp_path / target)
    if target != "b.jpg":
        np.testing.assert_array_equal(again.pixels, result.pixels)
    if not (deep and target == "b.tif"):
        expected = Image.Exif()
        expected.load(again.exif)
        assert expected[ExifTags.Base.ImageDescription] == "holiday"


def test_exif_of_a_camera_in_a_big_tiff_is_kept(tmp_path: Path) -> None:
    saved(tmp_path / "a.tif", PIXELS, "TIFF", big_tiff=True, exif=exif(1))
    write_picture(tmp_path / "b.jpg", read_picture(tmp_path / "a.tif"))
    with Image.open(tmp_path / "b.jpg") as image:
        expected = image.getexif()
        assert expected[ExifTags.Base.Artist] == "someone"
        assert expected.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] == 400


@pytest.mark.parametrize("channels", [2, 4, 5, 6])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", [False, True])
def test_the_bands_of_a_tiff_are_all_read_and_written(channels: int, dtype: type, planes: bool, tmp_path: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 256, (12, 15, channels)).astype(dtype)
    layout = {"photometric": "minisblack", "planarconfig": "separate" if planes else "contig", "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(bands, 2, 0).copy() if planes else bands, **layout)
    found = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.pixels, bands)
    write_picture(tmp_path / "b.tif", found)
    np.testing.assert_array_equal(read_picture(tmp_path / "b.tif").pixels, bands)
    with pytest.raises(UnfoldError, match=f"has {channels} channels, which .png cannot keep: write .tif"):
        write_picture(tmp_path / "b.png", found)
    with pytest.raises(UnfoldError, match="more than memory allows"):
        read_picture(tmp_path / "a.tif", largest=100)


def test_no_channel_beside_rgb_is_dropped(tmp_path: Path) -> None:
    for extra in (1, 2, 3):
        more = np.dstack([PIXELS, PIXELS[..., :extra]])
        options = {"photometric": "rgb", "extrasamples": ["unspecified"] * extra, "metadata": None}
        tifffile.imwrite(tmp_path / f"{extra}.tif", more, **options)
    with pytest.raises(UnfoldError, match="a channel of no stated meaning beside RGB"):
        read_picture(tmp_path / "1.tif")
    assert [read_picture(tmp_path / f"{extra}.tif").pixels.shape[2] for extra in (2, 3)] == [5, 6]


def test_what_has_to_be_converted_says_how(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(PIXELS).convert("LAB").save(tmp_path / "lab.tif")
    Image.fromarray(PIXELS[..., 0].astype(np.float32)).save(tmp_path / "f.tif")
    Image.fromarray(PIXELS[..., 0].astype(np.float32)).save(tmp_path / "f.ppm")
    for name, expected in [
        ("cmyk.jpg", "CMYK; convert it to RGB with its colour profile first"),
        ("lab.tif", "LAB; convert it to RGB or grey first"),
        ("f.tif", "floating point is not taken: scale it to 16 bits first"),
        ("f.ppm", "floating point is not taken: scale it to 16 bits first"),
    ]:
        with pytest.raises(UnfoldError, match=expected):
            read_picture(tmp_path / name)


def test_a_reduced_picture_is_rounded_and_laid_on_white() -> None:
    pixels = np.array([[[0], [300], [65535]]], np.uint16)
    alpha = np.array([[65535, 0, 32768]], np.uint16)
    result, lost = reduced(Picture(pixels, alpha, PROFILE), ".jpg")
    assert lost == ["16 bits per channel", "an alpha channel"]
    np.testing.assert_array_equal(result.pixels[..., 0], [[0, 255, 255]])
    assert (result.alpha, result.profile) == (None, PROFILE)
    result, lost = reduced(Picture(pixels, alpha), ".webp")
    assert lost == ["16 bits per channel"]
    np.testing.assert_array_equal(result.pixels[..., 0], [[0, 1, 255]])
    np.testing.assert_array_equal(result.alpha, [[255, 0, 128]])


def test_quality_is_that_of_jpeg_and_webp(tmp_path: Path) -> None:
    for suffix in (".jpg", ".webp"):
        sizes = []
        for quality in (20, 90, None):
            write_picture(tmp_path / f"a{suffix}", Picture(PIXELS), quality)
            sizes.append((tmp_path / f"a{suffix}").stat().st_size)
        assert sizes == sorted(sizes)
        assert sizes[0] < 0.7 * sizes[1]
    assert (read_picture(tmp_path / "a.webp").pixels == PIXELS).all(), "without loss where nothing is said"


@pytest.mark.parametrize("kind", ["GIF", "JPEG2000", "PPM", "AVIF", "TGA"])
def test_damage_is_refused_in_one_line_and_never_restored_where_the_file_is_cut(kind: str, tmp_path: Path) -> None:
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    whole = io.BytesIO()
    Image.fromarray(PIXELS).save(whole, kind)
    path, rng = tmp_path / "a.tga", np.random.default_rng(0)
    for _ in range(25):
        path.write_bytes(whole.getvalue()[: int(rng.integers(1, len(whole.getvalue()) - 30))])
        with pytest.raises(UnfoldError) as caught:
            read_picture(path)
        assert "\n" not in str(caught.value)
        flipped = bytearray(whole.getvalue())
        for place in rng.integers(0, min(200, len(flipped)), 3):
            flipped[place] = int(rng.integers(256))
        path.write_bytes(flipped)
        with suppress(UnfoldError):
            read_picture(path, largest=50e6)


def test_folders_are_searched_for_all_endings_that_are_read() -> None:
    Image.init()
    ours = {ending for ending, kind in Image.registered_extensions().items() if kind in module.FORMATS}
    assert set(EXTENSIONS) - {".heic", ".heif", ".avif"} <= ours
