"""SIDD and GoPro are cut into pairs whose pixels are the sources', the same at every time, and never half a set."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import scene
from unfold.data import parallel
from unfold.data.images import read_uint8
from unfold.data.pairs import Pair, find_pairs, read_pair
from unfold.data.prepare import cut_patches
from unfold.data.prepare.cut_patches import grid_windows, prepare_gopro, prepare_sidd, random_windows
from unfold.errors import UnfoldError

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "processors", lambda: 1)
    monkeypatch.setattr(cut_patches, "SIDD_SIZE", 16)
    monkeypatch.setattr(cut_patches, "SIDD_COUNT", 5)
    monkeypatch.setattr(cut_patches, "GOPRO_SIZE", 32)
    monkeypatch.setattr(cut_patches, "GOPRO_STEP", 16)


def save(path: Path, *size: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(noise).save(path, "PNG")
    return path


@pytest.fixture
def sidd(tmp_path: Path) -> Path:
    """Three pairs in a folder each, as published; the tenth after the second in natural order."""
    for i, (name, size) in enumerate({"0002_": (30, 40), "0010_": (16, 16), "0001_": (50, 20)}.items()):
        for k, kind in enumerate(("NOISY", "GT")):
            save(tmp_path / "sidd" / f"{name}S6" / f"{name}{kind}_SRGB_010.PNG", *size, seed=10 * i + k)
    return tmp_path / "sidd"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_patches_of_sidd_are_parts_of_the_images_at_one_place_of_both(
    sidd: Path, tmp_path: Path, command: Command
) -> None:
    output = tmp_path / "new" / "patches"
    code, out, err = command("data", "prepare", "sidd", sidd, "-o", output)
    assert (code, err) == (0, "")
    assert "15 pairs out of 3, 30 files written now" in out
    pairs = find_pairs(str(output))
    assert [pair.name for pair in pairs] == [f"{i}_{j}" for i in (1, 2, 3) for j in range(1, 6)]
    sources = [next(sidd.rglob(f"{name}NOISY*")) for name in ("0001_", "0002_", "0010_")]
    for pair in pairs:
        i, j = (int(word) for word in pair.name.split("_"))
        noisy = sources[i - 1]
        clean = noisy.with_name(noisy.name.replace("NOISY", "GT"))
        row, column, height, width = random_windows(Pair("", noisy, clean), 16, 5)[j - 1]
        part = np.s_[row : row + height, column : column + width]
        y, target = read_pair(pair)
        assert y.shape == (16, 16, 3)
        assert np.array_equal(y, read_uint8(noisy)[part])
        assert np.array_equal(target, read_uint8(clean)[part])


def test_places_depend_on_the_name_alone_and_reach_every_border(tmp_path: Path) -> None:
    path = save(tmp_path / "a" / "0001_NOISY.PNG", 20, 18, seed=0)
    again = save(tmp_path / "b" / "0001_NOISY.PNG", 20, 18, seed=1)
    other = save(tmp_path / "a" / "0002_NOISY.PNG", 20, 18, seed=0)
    windows, same, others = (random_windows(Pair("", path, path), 16, 300) for path in (path, again, other))
    assert windows == same
    assert windows != others
    assert {window.row for window in windows} == set(range(5))
    assert {window.column for window in windows} == set(range(3))
    assert random_windows(Pair("", path, path), 16, 10) != random_windows(Pair("", path, path), 16, 300)[10:20]


def test_the_grid_of_gopro_is_that_of_16824_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (1280, 720)).save(path)
    windows = grid_windows(Pair("", path, path), 512, 256)
    assert [(window.row, window.column) for window in windows] == [
        (row, column) for row in (0, 208) for column in (0, 256, 512, 768)
    ]
    assert 2103 * len(windows) == 16824
    Image.new("RGB", (512, 513)).save(path)
    assert [window.row for window in grid_windows(Pair("", path, path), 512, 256)] == [0, 1]


@pytest.mark.parametrize("layout", ["published", "folders", "train"])
def test_gopro_is_read_in_every_layout_and_its_parts_cover_it(tmp_path: Path, layout: str) -> None:
    inputs = {
        "published": ["train/GOPR1/blur/1.png", "train/GOPR2/blur/1.png"],
        "folders": ["input/a.png", "input/b.png"],
        "train": ["train/input/a.png", "train/input/b.png"],
    }[layout]
    for i, name in enumerate(inputs):
        save(tmp_path / "gopro" / name, 40, 64, seed=i)
        target = name.replace("blur", "sharp").replace("input", "target")
        save(tmp_path / "gopro" / target, 40, 64, seed=100 + i)
    names = ["GOPR1_1", "GOPR2_1"] if layout == "published" else ["a", "b"]
    assert "12 pairs out of 2" in prepare_gopro(str(tmp_path / "gopro"), tmp_path / "parts")
    pairs = {pair.name: read_pair(pair) for pair in find_pairs(str(tmp_path / "parts"))}
    assert len(pairs) == 12
    for i, name in enumerate(names):
        for k, start in enumerate((0, 100)):
            whole = read_uint8(tmp_path / "gopro" / (inputs[i] if k == 0 else inputs[i].replace("blur", "sharp")))
            if layout != "published" and k == 1:
                whole = read_uint8(tmp_path / "gopro" / inputs[i].replace("input", "target"))
            assert np.array_equal(whole, np.random.default_rng(start + i).integers(0, 255, (40, 64, 3), np.uint8))
            number = 1
            for row in (0, 8):
                for column in (0, 16, 32):
                    part = pairs[f"{name}_{number}"][k]
                    assert np.array_equal(part, whole[row : row + 32, column : column + 32])
                    number += 1


def test_scenes_of_gopro_that_would_give_one_name_or_are_half_are_reported(tmp_path: Path) -> None:
    home = tmp_path / "gopro"
    for name in ("s1/blur/1_2", "s1/sharp/1_2", "s1_1/blur/2", "s1_1/sharp/2"):
        save(home / f"{name}.png", 32, 32, seed=0)
    with pytest.raises(UnfoldError, match=r"blur/1_2\.png and .*s1_1/blur/2\.png would both be called s1_1_2: give"):
        prepare_gopro(str(home), tmp_path / "parts")
    assert not (tmp_path / "parts").exists()
    for kind in ("blur", "sharp"):
        (home / "s1" / kind / "1_2.png").rename(home / "s1" / kind / "1_3.png")
    assert "2 pairs out of 2" in prepare_gopro(str(home), tmp_path / "parts")
    for kind, missing in (("blur", "targets"), ("sharp", "inputs")):
        save(home / f"s2{kind}" / kind / "1.png", 32, 32, seed=0)
        with pytest.raises(UnfoldError, match=f"s2{kind}/{kind} has no folder of {missing} beside it"):
            prepare_gopro(str(home), tmp_path / "more")
        (home / f"s2{kind}" / kind / "1.png").unlink()
        (home / f"s2{kind}" / kind).rmdir()


def test_processes_write_the_same_files(sidd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_sidd(str(sidd), tmp_path / "one")
    monkeypatch.setattr(parallel, "processors", lambda: 2)
    prepare_sidd(str(sidd), tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_broken_run_leaves_no_set_and_the_next_writes_what_is_missing(
    sidd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_sidd(str(sidd), tmp_path / "whole")
    output, save = tmp_path / "new", Image.Image.save

    def fail_late(self: Image.Image, file: Any, *rest: Any, **options: Any) -> None:
        if len(list((tmp_path / ".new.part").rglob("*_*.png"))) == 17:
            file.write(b"half a")
            raise OSError(28, "No space left on device")
        save(self, file, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fail_late)
        with pytest.raises(OSError, match="No space left"):
            prepare_sidd(str(sidd), output)
    assert not output.exists()
    assert "13 files written now" in prepare_sidd(str(sidd), output)
    assert content(output) == content(tmp_path / "whole")
    assert not (tmp_path / ".new.part").exists()
    for path in output.rglob("*.png"):
        os.utime(path, (1, 1))
    assert "all was there already" in prepare_sidd(str(sidd), output)
    assert {path.stat().st_mtime for path in output.rglob("*.png")} == {1}


def test_what_was_begun_of_other_files_is_not_mixed_in(
    sidd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an image more, numbers mean other images."""

    def fail(*_: object) -> int:
        raise RuntimeError("broken")

    output = tmp_path / "new"
    with monkeypatch.context() as patch:
        cut, calls = cut_patches._cut_pair, []
        patch.setattr(cut_patches, "_cut_pair", lambda job: calls.append(job) or (cut if len(calls) < 3 else fail)(job))
        with pytest.raises(RuntimeError, match="broken"):
            prepare_sidd(str(sidd), output)
    for k, kind in enumerate(("NOISY", "GT")):
        save(sidd / "0000" / f"0000_{kind}_SRGB_010.PNG", 33, 33, seed=k)
    assert "40 files written now" in prepare_sidd(str(sidd), output)
    (sidd / "0000" / "0000_NOISY_SRGB_010.PNG").unlink()
    (sidd / "0000" / "0000_GT_SRGB_010.PNG").unlink()
    with pytest.raises(UnfoldError, match="new already exists and holds something else"):
        prepare_sidd(str(sidd), output)
    plan = json.loads((output / "prepared.json").read_text())
    assert len(plan["sources"]) == 8
    assert str(tmp_path) not in json.dumps(plan)


def test_what_was_deleted_from_a_finished_set_is_written_again(sidd: Path, tmp_path: Path) -> None:
    output = tmp_path / "new"
    prepare_sidd(str(sidd), output)
    whole = content(output)
    for name in ("input/1_1.png", "target/3_2.png"):
        (output / name).unlink()
    assert "2 files written now" in prepare_sidd(str(sidd), output)
    assert content(output) == whole
    assert "all was there already" in prepare_sidd(str(sidd), output)


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_folder_that_is_at_hand_is_not_written_into(
    sidd: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(sidd)
    before = content(tmp_path)
    code, _, err = command("data", "prepare", "sidd", sidd, "-o", name)
    assert code == 2
    assert f"{Path(name).resolve()} already exists and holds something else" in err
    assert content(tmp_path) == before


def test_sources_that_do_not_fit_are_reported(sidd: Path, tmp_path: Path, command: Command) -> None:
    def error_of(*arguments: object) -> str:
        output = tmp_path / ("new.h5" if arguments[1] == "nowhere" else "new")
        code, _, err = command("data", "prepare", *arguments, "-o", output)
        assert code == 2
        assert err.count("\n") == 1
        assert not (tmp_path / "new").exists()
        return err

    (tmp_path / "empty").mkdir()
    assert "no *NOISY*.PNG of SIDD" in error_of("sidd", tmp_path / "empty")
    assert "holds no pairs" in error_of("gopro", tmp_path / "empty")
    assert "no folder nowhere" in error_of("cache", "nowhere")
    assert "ends in .h5" in error_of("cache", sidd)
    small = save(sidd / "0003" / "0003_NOISY_SRGB_010.PNG", 15, 40, seed=0)
    assert "0003_GT_SRGB_010.PNG has no partner, or is one that is missing" in error_of("sidd", sidd)
    save(sidd / "0003" / "0003_GT_SRGB_010.PNG", 15, 40, seed=0)
    assert "0003_NOISY_SRGB_010.PNG is 40x15, and parts of 16x16 are wanted" in error_of("sidd", sidd)
    save(small, 16, 40, seed=0)
    assert "one size and depth" in error_of("sidd", sidd)
    small.rename(sidd / "0001_S6" / "0003_NOISY_SRGB_010.PNG")
    assert "no partner" in error_of("sidd", sidd)
    small.unlink(missing_ok=True)
    (sidd / "0001_S6" / "0003_NOISY_SRGB_010.PNG").rename(sidd / "0003" / "0001_NOISY_SRGB_010.PNG")
    (sidd / "0003" / "0003_GT_SRGB_010.PNG").rename(sidd / "0003" / "0001_GT_SRGB_010.PNG")
    assert "have one name, and are to be different images of SIDD" in error_of("sidd", sidd)


def test_a_cache_is_prepared_from_a_folder(tmp_path: Path, pictures: Path, command: Command) -> None:
    code, out, err = command("data", "prepare", "cache", pictures, "-o", tmp_path / "all.h5")
    assert (code, err) == (0, "")
    assert "3 of 3 images decoded now" in out
    assert "0 of 3 images decoded now" in command("data", "prepare", "cache", pictures, "-o", tmp_path / "all.h5")[1]
    Image.fromarray(scene(9, 9)).save(pictures / "picture1.png")
    assert "3 of 3 images decoded now" in command("data", "prepare", "cache", pictures, "-o", tmp_path / "all.h5")[1]
