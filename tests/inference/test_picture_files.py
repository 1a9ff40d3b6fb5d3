"""Pictures keep their metadata, and unreadable files are reported in one line."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps

from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.inference.picture_files import KEEPS, Picture, enlarge_alpha, read_picture, write_picture

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = [".png", ".tif", ".tiff", ".webp", ".bmp"]


def example(channels: int, dtype: type, alpha: bool, height: int = 21, width: int = 17) -> Picture:
    peak = np.iinfo(dtype).max
    pixels = (scene(height, width)[..., :channels] / 255 * peak).astype(dtype)
    ramp = np.linspace(0, peak, height * width).reshape(height, width).astype(dtype)
    return Picture(pixels, ramp if alpha else None)


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_what_is_written_is_read_again_or_refused(
    suffix: str, dtype: type, channels: int, alpha: bool, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "someone"
    given = example(channels, dtype, alpha)
    given = Picture(given.pixels, given.alpha, PROFILE if suffix != ".bmp" else None, exif.tobytes())
    path = tmp_path / f"picture{suffix}"
    if not set(given.holds()) <= KEEPS[suffix]:
        with pytest.raises(UnfoldError, match="cannot keep: write it as"):
            write_picture(path, given)
        assert not list(tmp_path.iterdir())
        return
    write_picture(path, given)
    found = read_picture(path)
    expanded = suffix == ".webp" or (alpha and dtype == np.uint16)
    expected = np.broadcast_to(given.pixels, (*given.pixels.shape[:2], 3)) if expanded else given.pixels
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.pixels.dtype == dtype
    assert (found.alpha is None) == (not alpha)
    if alpha:
        np.testing.assert_array_equal(found.alpha, given.alpha)
    assert found.profile == given.profile
    if suffix != ".bmp" and not (suffix.startswith(".tif") and dtype == np.uint16):
        again = Image.Exif()
        again.load(found.exif)
        assert again[ExifTags.Base.Artist] == "someone"


def test_a_jpeg_is_written_finely_with_profile_and_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "someone"
    path = tmp_path / "a.jpg"
    write_picture(path, Picture(scene(), None, PROFILE, exif.tobytes()))
    found = read_picture(path)
    assert np.abs(found.pixels.astype(int) - scene()).mean() < 1.5
    assert found.profile == PROFILE
    with Image.open(path) as image:
        assert image.layer[0][1:3] == image.layer[1][1:3], "no subsampling"
        assert image.getexif()[ExifTags.Base.Artist] == "someone"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_orientation_is_applied_and_the_tag_reset(orientation: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "someone"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 17
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 400
    path = tmp_path / f"a{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(scene(21, 17)).save(path, exif=exif.tobytes(), **options)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    found = read_picture(path)
    np.testing.assert_array_equal(found.pixels, upright)
    again = Image.Exif()
    again.load(found.exif)
    assert again.get(ExifTags.Base.Orientation, 1) == 1
    assert again[ExifTags.Base.Artist] == "someone"
    inner = again.get_ifd(ExifTags.IFD.Exif)
    assert inner[ExifTags.Base.ISOSpeedRatings] == 400
    assert ExifTags.Base.ExifImageWidth not in inner
    write_picture(tmp_path / "again.png", found)
    np.testing.assert_array_equal(read_picture(tmp_path / "again.png").pixels, upright)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_of_16_bits_is_applied(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    deep = example(3, np.uint16, False)
    path = tmp_path / "a.png"
    write_picture(path, Picture(deep.pixels, None, None, exif.tobytes()))
    Image.fromarray(scene(21, 17)).save(tmp_path / "b.png", exif=exif)
    np.testing.assert_array_equal(read_picture(path).pixels // 257, read_picture(tmp_path / "b.png").pixels)


def test_palettes_and_transparent_colours_become_alpha(tmp_path: Path) -> None:
    picture = Image.fromarray(scene()).quantize(16)
    picture.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png").pixels, np.asarray(picture.convert("RGB")))
    picture.save(tmp_path / "t.png", transparency=3)
    found = read_picture(tmp_path / "t.png")
    np.testing.assert_array_equal(found.alpha == 0, np.asarray(picture) == 3)
    Image.fromarray(scene()[..., 0] > 128).save(tmp_path / "bits.png")
    assert set(np.unique(read_picture(tmp_path / "bits.png").pixels)) == {0, 255}


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.jpg").pixels, scene())


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, bits: int = 8) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))


def hostile(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no pictures to restore, and what is said of them."""
    whole = io.BytesIO()
    Image.fromarray(scene()).save(whole, "PNG")
    deep = io.BytesIO()
    write_picture(tmp_path / "deep.png", example(3, np.uint16, False))
    deep.write((tmp_path / "deep.png").read_bytes())
    jpeg = io.BytesIO()
    Image.fromarray(scene()).save(jpeg, "JPEG")
    contents = {
        "empty.png": (b"", "empty"),
        "text.jpg": (b"hello", "no picture"),
        "cut.png": (whole.getvalue()[:-200], "cannot be read"),
        "cut.jpg": (jpeg.getvalue()[:300], "cannot be read"),
        "cut16.png": (deep.getvalue()[: len(deep.getvalue()) // 2], "cannot be read"),
        "flipped.png": (whole.getvalue()[:60] + b"\xff" * 40 + whole.getvalue()[100:], "cannot be read"),
        "huge.png": (png_header(100_000, 100_000) + chunk(b"IDAT", b""), "exceeds limit"),
        "large.png": (png_header(9000, 9000) + chunk(b"IDAT", b""), "more than memory allows"),
    }
    files = {}
    for name, (content, expected) in contents.items():
        (tmp_path / name).write_bytes(content)
        files[name] = (tmp_path / name, expected)
    cmyk = tmp_path / "cmyk.jpg"
    Image.fromarray(scene()).convert("CMYK").save(cmyk)
    moving = tmp_path / "moving.webp"
    frames = [Image.fromarray(scene(seed=i)) for i in range(3)]
    frames[0].save(moving, save_all=True, append_images=frames[1:])
    apng = tmp_path / "moving.png"
    frames[0].save(apng, save_all=True, append_images=frames[1:])
    pages = tmp_path / "pages.tif"
    frames[0].save(pages, save_all=True, append_images=frames[1:])
    floating = tmp_path / "float.tif"
    Image.fromarray(scene()[..., 0].astype(np.float32)).save(floating)
    folder = tmp_path / "folder.png"
    folder.mkdir()
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    return files | {
        "cmyk.jpg": (cmyk, "CMYK; convert it"),
        "moving.webp": (moving, "holds 3 pictures"),
        "moving.png": (apng, "holds 3 pictures"),
        "pages.tif": (pages, "holds 3 pictures"),
        "float.tif": (floating, "of kind F"),
        "folder.png": (folder, "a folder or a device"),
        "loop.png": (loop, "cannot be read"),
        "pipe.png": (pipe, "a folder or a device"),
        "none.png": (tmp_path / "none.png", "there is no picture"),
    }


def test_unreadable_files_are_reported_in_one_line_and_costs_no_memory(tmp_path: Path) -> None:
    import tracemalloc

    for name, (path, expected) in hostile(tmp_path).items():
        tracemalloc.start()
        with pytest.raises(UnfoldError, match=expected) as caught:
            read_picture(path, largest=200e6)
        assert tracemalloc.get_traced_memory()[1] < 50e6
        tracemalloc.stop()
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_alpha_grows_with_the_picture_and_stays_in_range() -> None:
    for dtype in (np.uint8, np.uint16):
        alpha = np.zeros((8, 9), dtype)
        alpha[:, 4:] = np.iinfo(dtype).max
        large = enlarge_alpha(alpha, 3)
        assert (large.shape, large.dtype) == ((24, 27), dtype)
        assert (large[:, 20:] == np.iinfo(dtype).max).all()
        assert (large[:, :7] == 0).all()
    assert enlarge_alpha(alpha, 1) is alpha
