"""`unfold trace`: a page that stands alone, a strip and numbers."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.narrow import narrow, saved
from tests.pages import Page, pixels
from tests.synthetic import scene
from unfold import metrics, restore
from unfold.cli import trace_command as module
from unfold.inference import tile_size
from unfold.inference.kernel_and_noise import gaussian
from unfold.inference.photographs import tasks
from unfold.inference.picture_files import read_picture

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def usrnet(tmp_path: Path) -> Path:
    return saved("usrnet", tmp_path / "usrnet.pth")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.png"
    Image.fromarray(scene(16, 20)).save(path)
    return path


def test_page_strip_and_numbers_say_the_same(usrnet: Path, small: Path, tmp_path: Path, command: Command) -> None:
    target, out = scene(32, 40, seed=1), tmp_path / "deep" / "out"
    Image.fromarray(target).save(tmp_path / "target.png")
    words = (
        "--weights",
        usrnet,
        "--scale",
        2,
        "--kernel",
        "gauss:1",
        "--sigma",
        5,
        "--target",
        tmp_path / "target.png",
    )
    code, printed, _ = command("trace", small, "-o", out, *words)
    assert code == 0
    numbers = json.loads((out / "trace.json").read_text())
    assert (numbers["picture"], numbers["network"], numbers["scale"], numbers["sigma"]) == ("small.png", "usrnet", 2, 5)
    assert [stage["k"] for stage in numbers["stages"]] == [0, 1, 2, 3]
    lines = printed.splitlines()
    assert lines[0].split() == ["k", "psnr", "residual", "change", "alpha", "beta", "seconds"]
    assert [float(line.split()[1]) for line in lines[1:5]] == [round(stage["psnr"], 2) for stage in numbers["stages"]]
    assert lines[1].split()[3:6] == ["-", "-", "-"]

    page = Page((out / "trace.html").read_text())
    slider = page.all("input", type="range")[0]
    assert (slider["min"], slider["max"], slider["step"]) == ("0", "3", "1")
    figures = page.all("figure")
    assert [figure.get("data-k") for figure in figures] == ["0", "1", "2", "3", None, None]
    assert [row["data-k"] for row in page.all("tr")[1:]] == ["0", "1", "2", "3"]
    assert len(page.all("input", type="radio")) == 3
    pictures = [pixels(image["src"]) for image in page.all("img")]
    expected = restore(scene(16, 20), narrow("usrnet"), tile=None, kernel=gaussian(1, 2), scale=2, sigma=5 / 255)
    # weights that went through a file lie in memory otherwise, which rounds otherwise
    np.testing.assert_allclose(pictures[3].astype(int), expected, atol=1)
    np.testing.assert_array_equal(pictures[4], scene(16, 20))
    np.testing.assert_array_equal(pictures[5], target)
    assert numbers["stages"][3]["psnr"] == pytest.approx(metrics.psnr(expected, target), abs=0.05)
    assert len(page.all("svg")) == 6, "PSNR twice, residual, change, alpha, beta"
    with Image.open(out / "strip.png") as strip:
        assert strip.size == (5 * 166 - 6, 32 + 40)


def test_the_page_asks_for_nothing_and_escapes_names(usrnet: Path, tmp_path: Path, command: Command) -> None:
    name = "<img src=x onerror=alert(1)>&$width'\".png"
    Image.fromarray(scene(16, 16)).save(tmp_path / name)
    assert command("trace", tmp_path / name, "-o", tmp_path / "o", "--weights", usrnet, "--sigma", 1)[0] == 0
    text = (tmp_path / "o" / "trace.html").read_text()
    markup = re.sub(r"base64,[\w+/=]*", "", text)
    assert not re.search(r"//|url\(|@import|<link|<img src=x", markup)
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;$width" in text
    page = Page(text)
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert "default-src 'none'" in page.all("meta")[2]["content"]
    assert json.loads((tmp_path / "o" / "trace.json").read_text())["picture"] == name


def test_a_name_that_is_no_text_is_spelt_out(usrnet: Path, small: Path, tmp_path: Path, command: Command) -> None:
    odd = small.rename(tmp_path / os.fsdecode(b"\xff.png"))
    assert command("trace", odd, "-o", tmp_path / "out", "--weights", usrnet)[0] == 0
    assert "<title>\\udcff.png" in (tmp_path / "out" / "trace.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [(1, 1), (1, 30)])
def test_pictures_of_one_pixel_across_are_traced(
    size: tuple[int, int], usrnet: Path, tmp_path: Path, command: Command
) -> None:
    Image.fromarray(scene(30, 30)[: size[0], : size[1]]).save(tmp_path / "thin.png")
    given = (tmp_path / "thin.png", "--weights", usrnet)
    assert command("trace", *given, "-o", tmp_path / "out")[0] == 0
    assert command("restore", *given, "-o", tmp_path / "sheet.png", "--kernel", "grid")[0] == 0


def test_a_network_that_ends_by_itself_says_so_and_runs_on_when_asked(
    small: Path, tmp_path: Path, command: Command
) -> None:
    gdn = saved("nrl_gdn", tmp_path / "gdn.pth")
    words = ("trace", small, "-o", tmp_path / "o", "--weights", gdn, "--kernel", "gauss:1")
    code, printed, _ = command(*words)
    assert code == 0
    assert "The network's own rule ended it after stage 6 of at most 40." in printed
    assert command(*words, "--stages", 14, "--overwrite")[0] == 0
    numbers = json.loads((tmp_path / "o" / "trace.json").read_text())
    assert len(numbers["stages"]) == 15
    assert numbers["notes"] == []
    with Image.open(tmp_path / "o" / "strip.png") as strip:
        assert strip.width == 10 * 166 - 6, "no more than ten"


@pytest.mark.parametrize("own", [(), ("--sigma", "15")])
def test_a_kernel_chosen_from_the_evidence_is_named_with_the_noise_as_restore_does(
    own: tuple[str, ...],
    usrnet: Path,
    tmp_path: Path,
    command: Command,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO", logger="unfold")
    monkeypatch.setattr(tasks, "implausible", lambda *arguments: None)  # of random weights
    Image.fromarray(scene(32, 32)).save(tmp_path / "a.png")
    words = (tmp_path / "a.png", "-o", tmp_path / "o", "--weights", usrnet, "--scale", 2, *own)
    assert command("restore", *words)[0] == 0
    said = next(line for line in caplog.messages if "assumed it was made small by" in line)
    sentence = said.removeprefix("a.png: ").partition(";")[0]
    way = re.search(r"made small by (\w+)", sentence)
    assert way
    assert not own or "noise of 15 (of 255)" in sentence
    code, printed, _ = command("trace", *words)
    assert (code, printed.count(sentence)) == (0, 1)
    numbers = json.loads((tmp_path / "o" / "trace.json").read_text())
    assert numbers["kernel"] == f"{way[1]}, assumed"
    assert sentence in numbers["notes"][0]


def test_grey_pictures_with_sixteen_bits_are_traced(tmp_path: Path, command: Command) -> None:
    blind = saved("dgunet_deblur", tmp_path / "blind.pth")
    Image.fromarray(scene(20, 24)[..., 0].astype(np.uint16) * 257).save(tmp_path / "g.png")
    words = ("--weights", blind, "--target", tmp_path / "g.png")
    assert command("trace", tmp_path / "g.png", "-o", tmp_path / "o", *words)[0] == 0
    page = Page((tmp_path / "o" / "trace.html").read_text())
    np.testing.assert_array_equal(pixels(page.all("img")[0]["src"]), scene(20, 24)[..., 0])
    assert json.loads((tmp_path / "o" / "trace.json").read_text())["stages"][0]["psnr"] > 100


def test_a_picture_beyond_memory_is_cut_to_its_busiest_part(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEARCHED", 64)
    blind, image = saved("dgunet_deblur", tmp_path / "blind.pth"), np.full((200, 260, 3), 90, np.uint8)
    image[100:170, 150:230] = np.random.default_rng(0).integers(0, 255, (70, 80, 3))
    Image.fromarray(image).save(tmp_path / "a.png")
    net = narrow("dgunet_deblur")
    each = tile_size.bytes_per_pixel(net, {}, next(net.parameters()).device) + 4 * module.KEPT
    monkeypatch.setattr(
        tile_size, "available", lambda device: int(each * (64 + tile_size.WRAPPING) ** 2 / tile_size.SHARE["cpu"]) + 1
    )
    words = ("--weights", blind, "--target", tmp_path / "a.png")
    code, printed, _ = command("trace", tmp_path / "a.png", "-o", tmp_path / "o", *words)
    assert code == 0
    found = re.search(r"260x200, does not fit .* rows (\d+) to (\d+), columns (\d+) to (\d+)\.", printed)
    assert found
    top, bottom, left, right = map(int, found.groups())
    assert (bottom - top, right - left) == (64, 64)
    assert 95 <= top <= 111
    assert 145 <= left <= 171
    page = Page((tmp_path / "o" / "trace.html").read_text())
    np.testing.assert_array_equal(pixels(page.all("img")[0]["src"]), image[top:bottom, left:right])
    assert json.loads((tmp_path / "o" / "trace.json").read_text())["stages"][0]["psnr"] is None, "equal to the target"


def test_ordinary_mistakes_are_reported_in_one_line_before_anything_is_written(
    usrnet: Path, small: Path, tmp_path: Path, command: Command
) -> None:
    out, blind = tmp_path / "o", saved("dgunet_deblur", tmp_path / "blind.pth")
    for words, expected in [
        ([small, "-o", out, "--weights", usrnet, "--stages", 4], "stages is 1 to 3, not 4"),
        ([small, "-o", out, "--weights", usrnet, "--stages", -1], "stages is a whole number from 1"),
        ([small, "-o", out, "--weights", blind, "--stages", 2], "at least 3"),
        ([small, "-o", out, "--weights", usrnet, "--kernel", "grid"], "--kernel grid is for `unfold restore`"),
        ([small, "-o", out, "--weights", blind, "--sigma", 2], "does not take --sigma"),
        ([small, "-o", out, "--weights", usrnet, "--sigma", "nan"], "--sigma is a noise level"),
        ([small, "-o", out, "--weights", usrnet, "--scale", 2, "--target", small], "is 20x16, and the result 40x32"),
        ([small, "-o", out, "--weights", blind, "--target", tmp_path / "no.png"], "there is no picture"),
        ([tmp_path, "-o", out, "--weights", blind], "is a folder or a device"),
        ([tmp_path / "no.png", "-o", out, "--weights", blind], "there is no picture"),
        ([small, "-o", out, "--weights", tmp_path / "no.pth"], "no.pth"),
        ([small, "-o", out, "--weights", saved("dgunet_cs", tmp_path / "cs.pth")], "DGUNet-CS restores compressed"),
        ([small, "-o", small, "--weights", blind], "cannot be made"),
        ([small, "-o", out, "--weights", blind, "--device", "warp"], "the device warp"),
    ]:
        code, _, err = command("trace", *words)
        assert code == 2, words
        assert err.count("\n") == 1, err
        assert expected in err
        assert not out.exists()


def test_what_is_there_is_not_written_over_unasked_and_the_picture_itself_never(
    small: Path, tmp_path: Path, command: Command
) -> None:
    blind, out = saved("dgunet_deblur", tmp_path / "blind.pth"), tmp_path / "o"
    words = ("-o", out, "--weights", blind)
    assert command("trace", small, *words)[0] == 0
    code, _, err = command("trace", small, *words)
    assert (code, "is there already; --overwrite" in err) == (2, True)
    before = read_picture(out / "strip.png").pixels
    code, _, err = command("trace", out / "strip.png", *words, "--overwrite")
    assert (code, "is the picture itself" in err) == (2, True)
    np.testing.assert_array_equal(read_picture(out / "strip.png").pixels, before)
