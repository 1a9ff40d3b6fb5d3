"""`unfold restore`: formats of results, what is lost in them, what is left out of folders, and notes that come once."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.inference.test_picture_formats import HEIC, PROFILE
from tests.narrow import saved
from tests.synthetic import scene
from unfold import load_model, restore
from unfold.inference.photographs import tasks
from unfold.inference.photographs.evidence import gather
from unfold.inference.photographs.guard import size_of_change
from unfold.inference.photographs.noise_and_blur import luma_in_255
from unfold.inference.photographs.tasks import bicubic, blended, first_assumption
from unfold.inference.picture_files import Picture, in_integers, read_picture, write_picture

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def blind(tmp_path: Path) -> Path:
    return saved("dgunet_deblur", tmp_path / "blind.pth")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def no_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    Image.init()
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "unfold")


def test_what_is_left_out_is_counted_by_type(
    blind: Path, folder: Path, tmp_path: Path, command: Command, no_heif: None
) -> None:
    Image.fromarray(scene(16, 16)).save(folder / "a.png")
    for name in ("b.HEIC", "c.heic", "d.heif"):
        (folder / name).write_bytes(HEIC)
    for name in ("x.txt", "y.TXT", "z.cr2", "plain", ".DS_Store", "._a.png"):
        (folder / name).write_bytes(b"x")
    code, printed, err = command("restore", folder, "-o", tmp_path / "o", "--weights", blind)
    assert (code, err) == (1, ""), "pictures that an extra would read are not restored"
    assert printed.splitlines() == [
        "restored 1",
        "left out 7: 2 .heic, 2 .txt, 1 without an ending, 1 .cr2, 1 .heif; HEIC and AVIF can be read after "
        f'pip install "unfold-restoration[formats]": {folder / "b.HEIC"} and 2 more',
    ]
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["a.png"]
    code, printed, _ = command("restore", folder / "b.HEIC", "-o", tmp_path / "p", "--weights", blind)
    assert code == 2
    assert 'pip install "unfold-restoration[formats]"' in printed
    assert str(folder / "b.HEIC") in printed


def test_other_files_leave_the_exit_code_and_a_folder_of_them_alone_is_refused(
    blind: Path, folder: Path, tmp_path: Path, command: Command
) -> None:
    (folder / "x.cr2").write_bytes(b"x")
    code, _, err = command("restore", folder, "-o", tmp_path / "o", "--weights", blind)
    assert code == 2
    assert "no pictures" in err
    assert "there are 1 .cr2" in err
    Image.fromarray(scene(16, 16)).save(folder / "a.png")
    for source in (folder, f"{folder}/*"):
        code, printed, _ = command("restore", source, "-o", tmp_path / "o", "--weights", blind, "--overwrite")
        assert (code, printed) == (0, "restored 1\nleft out 1: 1 .cr2\n")


def test_kinds_that_are_not_written_become_png_and_it_is_said_once(
    blind: Path, folder: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    for name, kind in [("a.ppm", "PPM"), ("b.ppm", "PPM"), ("c.GIF", "GIF"), ("d.JPG", "JPEG"), ("e.tif", "TIFF")]:
        Image.fromarray(scene(16, 16)).save(folder / name, kind)
    out = tmp_path / "o"
    assert command("restore", folder, "-o", out, "--weights", blind)[0] == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "c.png", "d.JPG", "e.tif"]
    assert caplog.text.count("not written here: .gif, .ppm; their results are .png") == 1
    caplog.clear()
    assert command("restore", folder / "a.ppm", "-o", tmp_path / "x.tif", "--weights", blind)[0] == 0
    assert "not written" not in caplog.text
    assert "already existed" in command("restore", folder, "-o", out, "--weights", blind)[1]


@pytest.mark.parametrize(("form", "suffix"), [("png", ".png"), ("jpg", ".jpg"), ("tiff", ".tiff"), ("webp", ".webp")])
def test_all_results_have_the_format_that_is_asked_for_and_losses_are_said_once(
    form: str, suffix: str, blind: Path, folder: Path, tmp_path: Path, command: Command
) -> None:
    pixels = scene(16, 20)
    write_picture(folder / "a.PNG", Picture(pixels.astype(np.uint16) * 257, np.full((16, 20), 9000, np.uint16)))
    write_picture(folder / "b.png", Picture(pixels.astype(np.uint16) * 257, None, PROFILE))
    write_picture(folder / "c.d.jpeg", Picture(pixels))
    code, printed, _ = command("restore", folder, "-o", tmp_path / "o", "--weights", blind, "--format", form)
    assert code == 0
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [f"{name}{suffix}" for name in ("a", "b", "c.d")]
    lost = [line for line in printed.splitlines() if line.startswith("lost")]
    deep = f"lost, as the format cannot keep it: 16 bits per channel: {folder / 'a.PNG'} and 1 more"
    alpha = f"lost, as the format cannot keep it: an alpha channel: {folder / 'a.PNG'}"
    assert lost == {"png": [], "tiff": [], "webp": [deep], "jpg": [deep, alpha]}[form]
    found = read_picture(tmp_path / "o" / f"b{suffix}")
    assert found.profile == PROFILE
    assert found.pixels.dtype == (np.uint16 if form in ("png", "tiff") else np.uint8)


def test_quality_makes_files_smaller(blind: Path, folder: Path, tmp_path: Path, command: Command) -> None:
    Image.fromarray(scene(64, 64)).save(folder / "a.png")
    sizes = []
    for quality in (10, 90):
        words = ("--weights", blind, "--format", "jpg", "--quality", quality)
        assert command("restore", folder, "-o", tmp_path / str(quality), *words)[0] == 0
        sizes.append((tmp_path / str(quality) / "a.jpg").stat().st_size)
    assert sizes[0] < 0.7 * sizes[1]


def test_formats_that_do_not_fit_are_refused_before_any_work(
    blind: Path, folder: Path, tmp_path: Path, command: Command
) -> None:
    Image.fromarray(scene(16, 16)).save(folder / "a.png")
    (tmp_path / "two").mkdir()
    Image.fromarray(scene(16, 16)).save(tmp_path / "two" / "a.png")
    Image.fromarray(scene(16, 16)).save(tmp_path / "two" / "b.jpg")
    Image.fromarray(scene(16, 16)).save(folder / "b.png")
    usrnet = saved("usrnet", tmp_path / "usrnet.pth")
    one, out, before = folder / "a.png", tmp_path / "o", (folder / "b.png").read_bytes()
    for words, expected in [
        ([one, tmp_path / "two" / "a.png", "-o", out], r"a\.png and .*two/a\.png would both become .*o/a\.png"),
        ([one, "-o", tmp_path / "x.jpg", "--format", "png"], "--format png contradicts the name x.jpg"),
        ([one, "-o", tmp_path / "x.gif"], "x.gif: pictures are written as .png"),
        ([one, "-o", out, "--quality", 50], "--quality is for JPEG and WebP, and none of the results is one"),
        ([one, "-o", out, "--format", "jpg", "--quality", 101], "from 1 to 100, not 101"),
        ([one, "-o", out, "--format", "jpg", "--quality", 0], "from 1 to 100, not 0"),
        (
            [folder / "b.png", tmp_path / "two" / "b.jpg", "-o", folder, "--format", "png", "--overwrite"],
            "b.png is the picture itself",
        ),
        ([tmp_path / "two" / "b.jpg", one, "-o", folder, "--format", "jpg", "--overwrite"], None),
    ]:
        code, _, err = command("restore", *words, "--weights", blind)
        if expected is None:  # onto files that are no sources, as asked for
            assert code == 0
            continue
        assert (code, err.count("\n")) == (2, 1), err
        assert re.search(expected, err), err
        assert not out.exists()
    words = [one, "-o", out, "--weights", usrnet, "--kernel", "grid", "--format", "jpg"]
    assert "leave --format and --quality out" in command("restore", *words)[2]
    assert (folder / "b.png").read_bytes() == before


@pytest.mark.parametrize("form", [None, "png"])
def test_pictures_of_one_name_are_all_restored_under_names_of_their_own(
    blind: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture, form: str | None
) -> None:
    folder = tmp_path / "many"
    (folder / "in").mkdir(parents=True)
    sources = {
        "a.png": "a.png",
        "a.gif.png": "a.gif",
        "c.png": "c.gif",
        "d.png": "d.png",
        "in/b.tga.png": "in/b.tga",
        "in/b.ppm.png": "in/b.ppm",
    }
    for i, name in enumerate(sources.values()):
        Image.fromarray(scene(16, 18, seed=i)).save(folder / name)
    frames = [Image.fromarray(scene(16, 18, seed=i)) for i in (8, 9)]
    frames[0].save(folder / "d.gif", save_all=True, append_images=frames[1:])
    more = () if form is None else ("--format", form)
    code, out, _ = command("restore", folder, "-o", tmp_path / "out", "--weights", blind, *more)
    assert code == 1
    assert "failed 1:" in out, "animations are counted"
    assert "d.gif holds 2 pictures" in out
    assert caplog.text.count("results of one name keep the ending") == 1
    found = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*.*")}
    assert set(found) == set(sources)
    for name, path in found.items():
        words = ("-o", tmp_path / "one.png", "--overwrite", "--weights", blind)
        assert command("restore", folder / sources[name], *words)[0] == 0
        assert path.read_bytes() == (tmp_path / "one.png").read_bytes(), name


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_arrays_of_numpy_are_restored_as_they_train_and_come_out_as_arrays(
    blind: Path, tmp_path: Path, command: Command, dtype: type
) -> None:
    folder, net = tmp_path / "in", load_model(blind)
    folder.mkdir()
    peak = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    pixels = (scene(20, 24) / 255 * peak).astype(dtype)
    if np.dtype(dtype).kind == "f":
        pixels[0, 0] = 1.2  # noise
    np.save(folder / "a.npy", pixels)
    np.save(folder / "flat.npy", pixels[..., 0])
    code, _, _ = command("restore", folder, "-o", tmp_path / "out", "--weights", blind)
    assert code == 0
    taken = np.float32 if np.dtype(dtype).kind == "f" else dtype
    for name, array in (("a", pixels), ("flat", pixels[..., 0])):
        found = np.load(tmp_path / "out" / f"{name}.npy")
        assert found.dtype == taken
        np.testing.assert_allclose(found, restore(array.astype(taken), net), rtol=0, atol=1e-5 if peak == 1 else 1)
    if taken != np.float32:
        return
    refused = command("restore", folder / "a.npy", "-o", tmp_path / "x.png", "--weights", blind)
    assert refused[0] == 2
    assert "numbers with a point, which .png cannot keep: write .npy, or round it by --format" in refused[1]
    words = ("--format", "png", "--weights", blind)
    code, out, _ = command("restore", folder / "a.npy", "-o", tmp_path / "x.png", *words)
    assert code == 0
    assert "lost, as the format cannot keep it: numbers with a point" in out
    with Image.open(tmp_path / "x.png") as image:
        assert image.tile[0][3] == "RGB;16B"
    np.save(folder / "far.npy", 255 * pixels)
    assert "[-2,3]: divide by the peak" in command("restore", folder / "far.npy", "-o", tmp_path, "--weights", blind)[1]


@pytest.mark.parametrize("refused", [None, "it rings"])
def test_floats_stay_floats_where_the_kernel_is_chosen_from_the_evidence(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, refused: str | None
) -> None:
    monkeypatch.setattr(tasks, "implausible", lambda *arguments: refused)  # of random weights
    dark = (scene(16, 16) / 255e4).astype(np.float32)  # 16 bits would have 6 levels of it
    np.save(tmp_path / "a.npy", dark)
    words = ("--weights", saved("usrnet", tmp_path / "usrnet.pth"), "--scale", 2)
    assert command("restore", tmp_path / "a.npy", "-o", tmp_path / "o.npy", *words)[0] == 0
    found = np.load(tmp_path / "o.npy")
    assumed = first_assumption(gather(in_integers(dark)), 2)
    expected = bicubic(dark, 2) if refused else restore(dark, load_model(words[1]), scale=2, **assumed)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    assert len(np.unique(found)) > 500


def test_a_jpeg_that_a_task_leaves_as_it_is_keeps_its_bytes_unless_another_quality_is_asked(
    tmp_path: Path, command: Command
) -> None:
    Image.fromarray(scene(40, 40)).save(tmp_path / "a.jpg", quality=80)
    words = ("restore", tmp_path / "a.jpg", "--task", "denoise", "--strength", 0, "-o")
    assert command(*words, tmp_path / "b.jpg")[0] == 0
    assert (tmp_path / "b.jpg").read_bytes() == (tmp_path / "a.jpg").read_bytes()
    assert command(*words, tmp_path / "c.jpg", "--quality", 30)[0] == 0
    assert len((tmp_path / "c.jpg").read_bytes()) < len((tmp_path / "a.jpg").read_bytes())


def test_an_array_that_a_task_leaves_as_it_is_keeps_every_value_also_its_noise(
    tmp_path: Path, command: Command
) -> None:
    picture = (np.random.default_rng(0).random((24, 24, 3), np.float32) - 0.25) * 1e-3
    np.save(tmp_path / "a.npy", picture)
    for task in ("denoise", "deblur", "derain"):
        out = tmp_path / f"{task}.npy"
        assert command("restore", tmp_path / "a.npy", "-o", out, "--task", task, "--strength", 0)[0] == 0
        np.testing.assert_array_equal(np.load(out), picture)


def test_a_share_of_a_change_of_floats_is_not_rounded() -> None:
    dark = np.full((2, 2, 3), 1e-3, np.float32)
    np.testing.assert_allclose(blended(dark, 2 * dark, 0.3), 1.3e-3, rtol=1e-6)
    assert size_of_change(dark, 2 * dark) == pytest.approx(0.255, rel=1e-3)
    assert luma_in_255(dark) == pytest.approx(0.255, rel=1e-3)


def test_a_result_in_the_place_of_another_source_is_refused(blind: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    Image.fromarray(scene(16, 16)).save(tmp_path / "x" / "a.jpg")
    Image.fromarray(scene(16, 16)).save(tmp_path / "y" / "b.bmp")
    (tmp_path / "y" / "a.png").symlink_to(tmp_path / "y" / "b.bmp")
    words = ("-o", tmp_path / "y", "--format", "png", "--overwrite", "--weights", blind)
    code, _, err = command("restore", tmp_path / "x" / "a.jpg", tmp_path / "y" / "b.bmp", *words)
    assert code == 2
    assert "is a picture that is to be restored: give another folder for the results" in err


def test_a_kernel_larger_than_the_pictures_is_reported_once(
    folder: Path, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    for size in (16, 18, 20):
        Image.fromarray(scene(size, size)).save(folder / f"{size}.png")
    usrnet = saved("usrnet", tmp_path / "usrnet.pth")
    words = ("restore", folder, "--weights", usrnet, "--kernel", "gauss:6", "--sigma", 2, "-o")
    for time in (1, 2):  # once for each command
        assert command(*words, tmp_path / str(time))[0] == 0
        assert caplog.text.count("note: the kernel") == time


def test_bands_go_through_a_network_of_as_many_channels_alone(blind: Path, tmp_path: Path, command: Command) -> None:
    bands = np.dstack([scene(16, 16), scene(16, 16, seed=2)])
    tifffile.imwrite(tmp_path / "a.tif", bands, photometric="minisblack", planarconfig="contig")
    code, printed, _ = command("restore", tmp_path / "a.tif", "-o", tmp_path / "o", "--weights", blind)
    assert code == 2
    assert "a.tif has 6 channels, and the network takes 3" in printed
