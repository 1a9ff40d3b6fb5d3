"""`unfold restore` over damaged files: each is restored or reported, nothing is lost, and nothing else is said."""

from __future__ import annotations

import errno
import io
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from tests.narrow import saved
from tests.synthetic import scene
from unfold.cli import main
from unfold.cli import restore_command as module
from unfold.errors import UnfoldError, one_line
from unfold.inference.picture_files import Picture, read_picture, write_picture
from unfold.inference.silence_decoders import silence_decoders

SCRIPTS = Path(__file__).parents[2] / "scripts"
DEEP = scene(20, 30).astype(np.uint16) * 251
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def makers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(SCRIPTS)
    import small_pictures

    return small_pictures


@pytest.fixture
def blind(tmp_path: Path) -> Path:
    return saved("dgunet_deblur", tmp_path / "blind.pth")


def tiff(path: Path, array: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, array, metadata=None, **options)
    return path


def test_of_every_kind_each_file_is_restored_or_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    import hostile_folder
    import hostile_pictures
    import try_pictures

    for kind, size in (("1x10000", (1, 900)), ("10000x1", (900, 1))):  # long ones take seconds
        monkeypatch.setitem(
            hostile_pictures.KINDS, kind, hostile_pictures.Kind(hostile_pictures.line(*size), "restored")
        )

    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    inputs = hostile_folder.fill(folder, tmp_path / "elsewhere", 63, seed=3)
    before = try_pictures.digest(folder)
    words = ["restore", str(folder), "-o", str(out), "--weights", str(saved("usrnet", tmp_path / "usrnet.pth"))]
    code = main([*words, "--scale", "2", "--kernel", "gauss:1", "--sigma", "estimate"])
    printed, err = capfd.readouterr()
    assert (code, err) == (1, "")
    lines = [line for line in printed.splitlines() if line.startswith("  ")]
    found = {one: try_pictures.outcome(one, out / one.path.relative_to(folder), lines) for one in inputs}
    assert {one.kind: word for one, word in found.items() if word != word.lower()} == {}
    restored, refused = (sum(word == which for word in found.values()) for which in ("restored", "refused"))
    assert min(restored, refused) > 20
    assert f"restored {restored}\n" in printed
    assert f"failed {refused}:\n" in printed
    assert len(lines) == refused
    assert len([path for path in out.rglob("*") if path.is_file()]) == restored
    assert try_pictures.digest(folder) == before


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: np.rot90(a, 2),
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_tiff_of_8_and_16_bits_is_turned_once(orientation: int, deep: bool, grey: bool, tmp_path: Path) -> None:
    array = DEEP if deep else scene(20, 30)
    array = array[..., 0] if grey else array
    kind = "minisblack" if grey else "rgb"
    path = tiff(tmp_path / "a.tif", array, photometric=kind, extratags=[(274, "H", 1, orientation, True)])
    expected = TURNS[orientation](array)
    np.testing.assert_array_equal(read_picture(path).pixels.squeeze(), expected)


def test_tiff_whose_numbers_would_be_misread_is_refused(tmp_path: Path) -> None:
    with_alpha = np.dstack([DEEP, DEEP[..., :1]])
    for number, (array, options, expected) in enumerate(
        [
            (DEEP[..., 0], {"photometric": "miniswhite"}, "grey from white to black"),
            (np.moveaxis(DEEP, 2, 0).copy(), {"photometric": "rgb", "planarconfig": "separate"}, "a plane for each"),
            (with_alpha, {"photometric": "rgb", "extrasamples": ["assocalpha"]}, "multiplied in"),
            (with_alpha, {"photometric": "rgb", "extrasamples": ["unspecified"]}, "no stated meaning"),
            (scene()[..., 0].astype(np.int8), {}, "a sign or a point"),
        ]
    ):
        with pytest.raises(UnfoldError, match=expected):
            read_picture(tiff(tmp_path / f"{number}.tif", array, **options))
    straight = tiff(tmp_path / "a.tif", with_alpha, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_picture(straight).pixels, DEEP)
    np.testing.assert_array_equal(read_picture(straight).alpha, DEEP[..., 0])


def test_the_transparent_value_of_grey_in_16_bits_becomes_alpha(makers: Any, tmp_path: Path) -> None:
    grey, path = DEEP[..., 0], tmp_path / "a.png"
    path.write_bytes(makers.png(grey, makers.chunk(b"tRNS", int(grey[4, 5]).to_bytes(2, "big"))))
    found = read_picture(path)
    np.testing.assert_array_equal(found.pixels[..., 0], grey)
    np.testing.assert_array_equal(found.alpha, np.where(grey == grey[4, 5], 0, 65535))


def test_exif_of_a_camera_is_kept_in_tiff(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "someone"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] = 400
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    write_picture(tmp_path / "a.tif", Picture(scene(), exif=exif.tobytes()))
    read = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", read)
    again = Image.Exif()
    again.load(read_picture(tmp_path / "b.tif").exif)
    assert again[ExifTags.Base.Artist] == "someone"
    assert again.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ISOSpeedRatings] == 400
    assert again.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"
    # Tags without an inner directory, as programs write them.
    plain = read_picture(tiff(tmp_path / "d.tif", scene(), photometric="rgb"))
    again.load(plain.exif)
    assert ExifTags.IFD.Exif not in again
    write_picture(tmp_path / "c.tif", plain)
    np.testing.assert_array_equal(read_picture(tmp_path / "c.tif").pixels, scene())


def test_broken_exif_is_left_out_and_too_long_exif_is_reported(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png", exif=b"Exif\0\0no TIFF at all")
    assert read_picture(tmp_path / "a.png").exif is None
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "a" * 70_000
    with pytest.raises(UnfoldError, match=r"b\.jpg cannot be written: EXIF data is too long"):
        write_picture(tmp_path / "b.jpg", Picture(scene(), exif=exif.tobytes()))
    assert not list(tmp_path.glob("*b.jpg*"))


def test_a_result_too_large_for_its_format_is_reported_before_the_work(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def restores(*arguments: Any, **options: Any) -> None:
        raise AssertionError("work has begun")

    monkeypatch.setattr(module, "restore_with_tiles", restores)
    Image.fromarray(scene(4, 9000)).save(tmp_path / "a.webp")
    usrnet = saved("usrnet", tmp_path / "usrnet.pth")
    code, printed, _ = command("restore", tmp_path / "a.webp", "-o", tmp_path / "o", "--weights", usrnet, "--scale", 2)
    assert code == 2
    assert "a.webp: 18000 pixels on a side are more than .webp can hold" in printed


def test_names_stay_one_line_and_long_ones_are_written(blind: Path, tmp_path: Path, command: Command) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    bad = [b"a\nfailed 0:.png", b"\xff\xfe.png", b"\x1b[2J\r.png", "\u202egnp.png".encode()]
    for name in bad:
        (folder / os.fsdecode(name)).write_bytes(b"")
    good = ["n" * 251 + ".png", "-o.png", os.fsdecode(b"\xe9.png")]
    for name in good:
        Image.fromarray(scene(16, 16)).save(folder / name)
    code, printed, _ = command("restore", folder, "-o", out, "--weights", blind)
    assert code == 1
    assert sorted(path.name for path in out.iterdir()) == sorted(good)
    assert len(printed.splitlines()) == 2 + len(bad)
    assert all(line.isprintable() for line in printed.splitlines())
    for name in (r"a\nfailed 0:.png", r"\udcff\udcfe.png", r"\x1b[2J\r.png", r"\u202egnp.png"):
        assert f"{folder}/{name} is empty" in printed


def test_what_a_terminal_cannot_show_is_spelt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["models", "größe"]) == 2
    stream.seek(0)
    assert r"gr\xf6\xdfe" in stream.read()
    assert one_line("größe a\tb") == r"größe a\tb"


def test_an_interrupted_run_reports_what_is_done_and_goes_on(
    blind: Path, pictures: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    written = []

    def write(path: Path, picture: Picture) -> None:
        write_picture(path, picture)
        written.append(path)

    replace = Path.replace

    def interrupted(self: Path, target: Path) -> Path:
        if written:
            signal.raise_signal(signal.SIGINT)
        return replace(self, target)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_picture", write)
        patch.setattr(Path, "replace", interrupted)
        logged: list[str] = []
        patch.setattr(module.logger, "info", lambda text, *values: logged.append(text % values))
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
        assert command("restore", pictures, "-o", out, "--weights", blind)[0] == 130
        signal.signal(signal.SIGINT, before)
    assert logged[-1] == "restored 1\nleft 2: the same command continues with them"
    assert [path.name for path in out.iterdir()] == ["picture0.png"]
    printed = command("restore", pictures, "-o", out, "--weights", blind)[1]
    assert printed == "restored 2; 1 already existed (--overwrite replaces them)\n"


def test_a_full_disk_leaves_whole_files_and_reports_what_is_done(
    blind: Path, pictures: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    logged: list[str] = []
    monkeypatch.setattr(module.logger, "info", lambda text, *values: logged.append(text % values))

    def full(descriptor: int) -> None:
        if list(out.glob("picture0.png")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code, _, err = command("restore", pictures, "-o", out, "--weights", blind)
    assert code == 2
    assert err == f"unfold restore: {out / 'picture1.png'}: the disk is full; make room\n"
    assert logged == ["restored 1\nleft 2: the same command continues with them"]
    assert [path.name for path in out.iterdir()] == ["picture0.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp"])
def test_a_file_that_the_system_cuts_off_is_reported_and_removed(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            write_picture(tmp_path / f"a{suffix}", Picture(noise))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_result_is_reported(
    blind: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "out" / "picture1.png").mkdir(parents=True)
    code, printed, _ = command("restore", pictures, "-o", tmp_path / "out", "--weights", blind)
    assert code == 1
    assert printed.startswith("restored 2\nfailed 1:\n")
    assert "picture1.png cannot be written: Is a directory" in printed


def test_a_folder_that_cannot_be_read_is_reported(
    blind: Path, pictures: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "secret").mkdir()
    scandir = os.scandir

    def refuses(path: Any) -> Any:
        if Path(path).name == "secret":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    code, printed, _ = command("restore", pictures, "-o", tmp_path / "out", "--weights", blind)
    assert code == 1
    assert printed == f"restored 3\nfailed 1:\n  {pictures}/secret: this folder cannot be read: Permission denied\n"


def test_small_pictures_show_no_bar(
    blind: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def restored(image: np.ndarray, *arguments: Any, announce: Any, **options: Any) -> Any:
        announce(100)(100)
        return module.Restored(image, None, 1)

    monkeypatch.setattr(module, "restore_with_tiles", restored)
    monkeypatch.setattr(sys, "stderr", Terminal())
    module.run_restore([str(pictures)], tmp_path / "out", str(blind))
    assert "pixel" not in sys.stderr.getvalue()


def test_decoders_are_quiet_and_others_are_heard_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.tif", compression="tiff_adobe_deflate")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[8:10] = bytes(2)  # the header of the compressed stream
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(UnfoldError):
        read_picture(tmp_path / "a.tif")
    assert "Decode" in capfd.readouterr().err, "this file makes no noise, and the test would show nothing"
    with silence_decoders(), pytest.raises(UnfoldError):
        read_picture(tmp_path / "a.tif")
    assert capfd.readouterr().err == ""
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
