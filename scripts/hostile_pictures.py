"""Damaged picture files, made from a seed, for scripts/try_pictures.py and the tests of `unfold restore`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms
from small_pictures import PLAIN, SIGNATURE, Content, Rng, chunk, noisy, pick, png, saved_as, sound, tiff_of

RESTORED, REFUSED, EITHER, LEFT_OUT = "restored", "refused", "either", "left out"
HUGE = 60_000
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


class Kind(NamedTuple):
    """most: how many of them, where one takes long."""

    make: Callable[[Rng], Content]
    must: str
    most: int = 1_000_000


def _truncated(suffix: str) -> Callable[[Rng], Content]:
    def make(rng: Rng) -> Content:
        whole = png(noisy(rng, deep=True)) if suffix == ".png" and rng.integers(2) else sound(rng, suffix).data
        return Content(suffix, whole[: int(rng.integers(1, len(whole)))], whole)

    return make


def _flipped(*suffixes: str) -> Callable[[Rng], Content]:
    def make(rng: Rng) -> Content:
        suffix, whole, _ = sound(rng, *suffixes)
        broken = bytearray(whole)
        broken[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        return Content(suffix, bytes(broken), whole if suffix == ".png" else None)  # others carry no checksums

    return make


def _random(rng: Rng) -> Content:
    start = pick(rng, b"", SIGNATURE, b"\xff\xd8\xff\xe0", b"II*\0", b"RIFF\x40\0\0\0WEBPVP8 ", b"BM")
    return Content(pick(rng, *PLAIN), start + rng.bytes(int(rng.integers(1, 5000))))


def _no_picture(rng: Rng) -> Content:
    return Content(pick(rng, *PLAIN), pick(rng, b"<!DOCTYPE html><title>Sign in</title>", bytes(4000), b"hello\n"))


def line(height: int, width: int) -> Callable[[Rng], Content]:
    def make(rng: Rng) -> Content:
        suffix = pick(rng, ".png", ".jpg", ".tif", ".bmp")
        return Content(suffix, saved_as(noisy(rng, height, width), suffix))

    return make


def _too_wide(rng: Rng) -> Content:
    """A result of twice the size is larger than the format allows."""
    suffix, side = pick(rng, (".webp", 9000), (".jpg", 40_000))
    return Content(suffix, saved_as(noisy(rng, *pick(rng, (1, side), (side, 1))), suffix))


def _deep(rng: Rng) -> Content:
    array = noisy(rng, channels=int(rng.integers(1, 5)), deep=True)
    return Content(".png", png(array))


def _deep_tiff(rng: Rng) -> Content:
    grey = bool(rng.integers(2))
    array = noisy(rng, channels=1 if grey else 3, deep=True)
    kind = pick(rng, "minisblack", "miniswhite") if grey else "rgb"
    return Content(".tif", tiff_of(array, photometric=kind, byteorder=pick(rng, "<", ">")))


def _cmyk(transform: int) -> Callable[[Rng], Content]:
    def make(rng: Rng) -> Content:
        data = bytearray(saved_as(Image.fromarray(noisy(rng)).convert("CMYK"), ".jpg"))
        data[data.index(b"Adobe") + 11] = transform  # 0: CMYK, 2: YCCK
        return Content(".jpg", bytes(data))

    return make


def _palette(rng: Rng) -> Content:
    image = Image.fromarray(noisy(rng)).quantize(16)
    return Content(".png", saved_as(image, ".png", transparency=pick(rng, 3, bytes(range(0, 256, 16)))))


def _bits(rng: Rng) -> Content:
    image = Image.fromarray(noisy(rng, channels=1)).convert("1")
    suffix, options = pick(rng, (".png", {}), (".tif", {"compression": "group4"}), (".bmp", {}))
    return Content(suffix, saved_as(image, suffix, **options))


def _alpha(channels: int) -> Callable[[Rng], Content]:
    def make(rng: Rng) -> Content:
        suffix = pick(rng, ".png", ".tif", *([".webp"] if channels == 4 else []))
        return Content(suffix, saved_as(noisy(rng, channels=channels), suffix))

    return make


def _colour_key(rng: Rng) -> Content:
    """One colour of a picture without alpha is transparent."""
    array = noisy(rng, channels=int(pick(rng, 1, 3)), deep=bool(rng.integers(2)))
    values = np.atleast_1d(array[2, 3]).astype(">u2").tobytes()
    return Content(".png", png(array, chunk(b"tRNS", values)))


def _float(rng: Rng) -> Content:
    array = noisy(rng, channels=int(pick(rng, 1, 3))).astype(np.float32) / 255
    return Content(".tif", tiff_of(array, photometric="rgb" if array.ndim == 3 else "minisblack"))


def _not_finite(rng: Rng) -> Content:
    array = noisy(rng, channels=1).astype(np.float32)
    array[3, 4] = pick(rng, np.nan, np.inf, -np.inf)
    return Content(".tif", tiff_of(array))


def _other_depth(rng: Rng) -> Content:
    array = noisy(rng, channels=1)
    return Content(".tif", tiff_of(array.astype(pick(rng, np.int32, np.uint32, np.int16, np.int8, np.float64))))


def _animated(*suffixes: str) -> Callable[[Rng], Content]:
    def make(rng: Rng) -> Content:
        kind = pick(rng, *suffixes)
        frames = [Image.fromarray(noisy(rng, 20, 30)) for _ in range(3)]
        return Content(
            ".png" if kind == ".gif" else kind, saved_as(frames[0], kind, save_all=True, append_images=frames[1:])
        )

    return make


Image.init()
OTHERS = (".gif", ".jp2", ".ppm", ".pgm", *([".avif"] if "AVIF" in Image.SAVE else []))


def _other_format(broken: bool) -> Callable[[Rng], Content]:
    """Of a format that is read and not written, under the name of one that is."""

    def make(rng: Rng) -> Content:
        suffix = pick(rng, *OTHERS)
        options = {"irreversible": False} if suffix == ".jp2" else {}
        whole = saved_as(noisy(rng, channels=1 if suffix == ".pgm" else 3), suffix, **options)
        if not broken:
            return Content(".png", whole)
        return Content(".png", whole[: int(rng.integers(1, len(whole) - 30))])

    return make


def _big_tiff(rng: Rng) -> Content:
    deep = bool(rng.integers(2))
    return Content(".tif", tiff_of(noisy(rng, deep=deep), bigtiff=True, photometric="rgb", description="a"))


def _bands(rng: Rng) -> Content:
    return Content(".tif", tiff_of(noisy(rng, channels=6), photometric="minisblack", planarconfig="contig"))


def _raw(rng: Rng) -> Content:
    """A thumbnail as a camera's raw file begins with."""
    return Content(".tif", tiff_of(noisy(rng), photometric="rgb", extratags=[(254, "I", 1, 1, True)]))


def _wrong_name(rng: Rng) -> Content:
    is_one, says = pick(rng, (".png", ".jpg"), (".jpg", ".png"), (".webp", ".bmp"), (".tif", ".webp"))
    return Content(says, sound(rng, is_one).data)


def _cannot_keep(rng: Rng) -> Content:
    deep = bool(rng.integers(2))
    return Content(pick(rng, ".jpg", ".bmp"), png(noisy(rng, channels=3 if deep else 4, deep=deep)))


def _huge(rng: Rng) -> Content:
    """A header of 60000x60000 pixels (JPEG 65000, WebP as large as it goes) with hardly anything behind it."""
    suffix = pick(rng, *PLAIN)
    if suffix == ".png":
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", HUGE, HUGE, int(pick(rng, 8, 16)), 2, 0, 0, 0))
        return Content(suffix, SIGNATURE + head + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b""))
    data = bytearray(saved_as(noisy(rng, 20, 30), suffix, **({"lossless": True} if suffix == ".webp" else {})))
    if suffix == ".bmp":
        data[18:26] = struct.pack("<ii", HUGE, HUGE)
    elif suffix == ".webp":
        data[21:25] = struct.pack("<I", 2**28 - 1)  # 14 bits each: 16384x16384
    elif suffix == ".jpg":
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", 65_000, 65_000)
    else:
        array = tiff_of(noisy(rng, 20, 30))
        data = bytearray(array.replace(struct.pack("<HHII", 256, 4, 1, 30), struct.pack("<HHII", 256, 4, 1, HUGE)))
        data = bytearray(data.replace(struct.pack("<HHII", 257, 4, 1, 20), struct.pack("<HHII", 257, 4, 1, HUGE)))
        assert data != array
    return Content(suffix, bytes(data))


def _large_and_cut(rng: Rng) -> Content:
    """A header just below Pillow's limit, of which few pixels follow."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 0))
    return Content(".png", SIGNATURE + head + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b""))


@cache
def _packed_zeros() -> bytes:
    return zlib.compress(bytes(20_000_000), 9)


def _text_bomb(rng: Rng) -> Content:
    """Text and profile that unpack to 20 MB."""
    packed = _packed_zeros()
    extra = chunk(b"zTXt", b"a\0\0" + packed) if rng.integers(2) else chunk(b"iCCP", b"a\0\0" + packed)
    return Content(".png", png(noisy(rng), extra))


def _exif(rng: Rng) -> bytes:
    exif = Image.Exif()
    exif[315], exif[274] = "someone", int(rng.integers(1, 9))
    exif.get_ifd(34665)[34855] = 400
    return exif.tobytes()


def _corrupt_exif(rng: Rng) -> Content:
    exif = bytearray(_exif(rng))
    for place in rng.integers(6, len(exif), int(rng.integers(1, 8))):
        exif[place] = int(rng.integers(256))
    broken = bytes(exif[: int(rng.integers(7, len(exif) + 1))])
    suffix, deep = pick(rng, (".jpg", False), (".png", False), (".webp", False), (".png", True))
    if deep:
        return Content(suffix, png(noisy(rng, deep=True), chunk(b"eXIf", broken[6:])))
    return Content(suffix, saved_as(noisy(rng), suffix, exif=broken))


def _large_exif(rng: Rng) -> Content:
    """More than a JPEG can hold, in a PNG called .jpg."""
    exif = Image.Exif()
    exif[270] = "a" * 70_000
    return Content(".jpg", saved_as(noisy(rng), ".png", exif=exif.tobytes()))


def _corrupt_profile(rng: Rng) -> Content:
    profile = bytearray(PROFILE)
    for place in rng.integers(0, len(profile), 20):
        profile[place] = int(rng.integers(256))
    broken = pick(rng, bytes(profile), PROFILE[:100], rng.bytes(300))
    suffix = pick(rng, *PLAIN[:4], "deep", "broken stream")
    if suffix == "deep":
        return Content(".png", png(noisy(rng, deep=True), chunk(b"iCCP", b"a\0\0" + zlib.compress(broken))))
    if suffix == "broken stream":
        return Content(".png", png(noisy(rng, deep=bool(rng.integers(2))), chunk(b"iCCP", b"a\0\0" + rng.bytes(200))))
    return Content(suffix, saved_as(noisy(rng), suffix, icc_profile=broken))


def _broken_stream(rng: Rng) -> Content:
    """Damage below right checksums."""
    if rng.integers(3) == 0:
        data = bytearray(saved_as(noisy(rng), ".tif", compression="tiff_adobe_deflate"))
        data[len(data) // 2 - 60 : len(data) // 2 + 60] = rng.bytes(120)
        return Content(".tif", bytes(data))
    whole = png(noisy(rng, deep=bool(rng.integers(2))))
    start = whole.index(b"IDAT")
    packed = bytearray(whole[start + 4 : start + 4 + struct.unpack(">I", whole[start - 4 : start])[0]])
    place = int(rng.integers(2, len(packed) - 30))
    packed[place : place + 20] = rng.bytes(20)
    return Content(".png", whole[: start - 4] + chunk(b"IDAT", bytes(packed)) + chunk(b"IEND", b""))


def _interlaced(rng: Rng) -> Content:
    array = noisy(rng, channels=int(rng.integers(1, 5)), deep=bool(rng.integers(2)))
    return Content(".png", png(array, interlaced=True))


def _oriented(rng: Rng) -> Content:
    suffix, deep = pick(rng, *((s, False) for s in PLAIN[:4]), (".png", True))
    exif = _exif(rng)
    if deep:
        return Content(suffix, png(noisy(rng, deep=True), chunk(b"eXIf", exif[6:])))
    return Content(suffix, saved_as(noisy(rng), suffix, exif=exif))


KINDS: dict[str, Kind] = {
    "sound": Kind(sound, RESTORED),
    **{f"truncated {s[1:].upper()}": Kind(_truncated(s), EITHER) for s in PLAIN},
    "one bit flipped, PNG": Kind(_flipped(".png"), EITHER),
    "one bit flipped, others": Kind(_flipped(*PLAIN[1:]), EITHER),
    "zero bytes": Kind(lambda rng: Content(pick(rng, *PLAIN), b""), REFUSED),
    "random bytes": Kind(_random, REFUSED),
    "text, zeros": Kind(_no_picture, REFUSED),
    "1x1": Kind(line(1, 1), RESTORED),
    "1x10000": Kind(line(1, 10_000), RESTORED, most=3),
    "10000x1": Kind(line(10_000, 1), RESTORED, most=3),
    "result larger than its format": Kind(_too_wide, REFUSED),
    "16-bit PNG": Kind(_deep, RESTORED),
    "16-bit TIFF": Kind(_deep_tiff, EITHER),
    "CMYK": Kind(_cmyk(0), REFUSED),
    "YCCK": Kind(_cmyk(2), REFUSED),
    "palette with transparency": Kind(_palette, RESTORED),
    "transparent colour": Kind(_colour_key, RESTORED),
    "1 bit": Kind(_bits, RESTORED),
    "grey with alpha": Kind(_alpha(2), RESTORED),
    "RGBA": Kind(_alpha(4), RESTORED),
    "float TIFF": Kind(_float, REFUSED),
    "float TIFF with NaN, infinity": Kind(_not_finite, REFUSED),
    "TIFF of other numbers": Kind(_other_depth, REFUSED),
    "animated": Kind(_animated(".webp", ".png", ".gif"), REFUSED),
    "several pages": Kind(_animated(".tif"), REFUSED),
    "wrong ending": Kind(_wrong_name, RESTORED),
    "ending that cannot keep it": Kind(_cannot_keep, REFUSED),
    "header of 60000x60000": Kind(_huge, REFUSED),
    "13000x13000, cut": Kind(_large_and_cut, REFUSED),
    "text or profile of 20 MB": Kind(_text_bomb, EITHER),
    "corrupt EXIF": Kind(_corrupt_exif, RESTORED),
    "EXIF too large": Kind(_large_exif, REFUSED),
    "corrupt profile": Kind(_corrupt_profile, RESTORED),
    "broken stream": Kind(_broken_stream, EITHER),
    "interlaced": Kind(_interlaced, RESTORED),
    "orientation": Kind(_oriented, RESTORED),
    "GIF, JPEG 2000, PPM, AVIF": Kind(_other_format(False), RESTORED),
    "the same, cut": Kind(_other_format(True), REFUSED),
    "BigTIFF": Kind(_big_tiff, RESTORED),
    "TIFF of six bands": Kind(_bands, REFUSED),
    "thumbnail of a raw file": Kind(_raw, REFUSED),
}
