"""Rain100H's clean side is cut out of BSDS: whole, once, and with an error where that fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import scene
from unfold.data.images import read_uint8
from unfold.data.pairs import find_pairs, read_pair
from unfold.data.prepare import from_bsds500
from unfold.data.prepare.from_bsds500 import BSD100, RAIN100H, prepare_bsd100, prepare_rain100h
from unfold.errors import UnfoldError

Command = Callable[..., tuple[int, str, str]]
MAP = {"1": "100", "2": "200", "10": "100"}


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """UNFOLD_DATA with small stand-ins for Rain100H and BSDS, one photograph upright, one lying."""
    monkeypatch.setattr(from_bsds500, "RAIN100H", MAP)
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path))
    for name, size in (("train/100", (321, 481)), ("val/200", (481, 321))):
        path = tmp_path / "BSDS" / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True)
        Image.fromarray(scene(*size, seed=len(name))).save(path)
    (tmp_path / "Rain100H" / "inputcrop").mkdir(parents=True)
    for name, size in (("1", (320, 480)), ("2", (480, 320)), ("10", (320, 480))):
        Image.fromarray(scene(*size, seed=int(name))).save(tmp_path / "Rain100H" / "inputcrop" / f"{name}.png")
    return tmp_path


def clean(sets: Path, name: str) -> np.ndarray:
    """The upper left part of the photograph, as Pillow decodes it."""
    (path,) = (sets / "BSDS").rglob(f"{MAP[name]}.jpg")
    with Image.open(path) as image:
        return np.asarray(image.crop((0, 0, image.width - 1, image.height - 1)))


def test_the_map_has_the_hundred_images_of_rain100h() -> None:
    assert list(RAIN100H) == [str(i) for i in range(1, 101)]
    assert all(number.isdigit() for number in RAIN100H.values())
    assert len(set(RAIN100H.values())) == 91, "some photographs are there twice"


def test_the_clean_side_lies_beside_the_inputs_pixel_for_pixel(sets: Path, command: Command) -> None:
    code, out, err = command("data", "prepare", "rain100h", "--bsds", "BSDS")
    assert (code, err) == (0, "")
    assert "3 clean images written, 0 were there already" in out
    pairs = find_pairs("Rain100H")
    assert [pair.name for pair in pairs] == ["1", "2", "10"]
    for pair in pairs:
        y, target = read_pair(pair)
        assert pair.target.parent == sets / "Rain100H" / "target"
        assert np.array_equal(target, clean(sets, pair.name))
        assert np.array_equal(y, scene(*y.shape[:2], seed=int(pair.name)))


def test_an_output_folder_is_a_set_of_its_own(sets: Path, command: Command, tmp_path: Path) -> None:
    before = sorted(sets.rglob("*"))
    code, _, err = command("data", "prepare", "rain100h", "--bsds", sets / "BSDS", "-o", tmp_path / "new" / "rain")
    assert (code, err) == (0, "")
    (sets / "Rain100H").rename(sets / "gone")
    for pair in find_pairs(str(tmp_path / "new" / "rain")):
        assert np.array_equal(read_pair(pair)[1], clean(sets, pair.name))
        assert pair.input.read_bytes() == (sets / "gone" / "inputcrop" / f"{pair.name}.png").read_bytes()
    (sets / "gone").rename(sets / "Rain100H")
    beside = [path for path in sorted(sets.rglob("*")) if tmp_path / "new" not in (path, *path.parents)]
    assert beside == before, "nothing else is written"


def test_what_is_right_is_kept_and_what_is_missing_is_written(sets: Path) -> None:
    output = sets / "new"
    prepare_rain100h("BSDS", output=output)
    (output / "target" / "1.png").unlink()
    (output / "input" / "10.png").unlink()
    for path in sets.rglob("*.png"):
        os.utime(path, (1, 1))
    assert "1 clean images written, 2 were there already" in prepare_rain100h("BSDS", output=output)
    kept = {str(path.relative_to(output).as_posix()) for path in output.rglob("*.png") if path.stat().st_mtime == 1}
    assert kept == {"target/2.png", "target/10.png", "input/1.png", "input/2.png"}
    assert all(np.array_equal(read_pair(pair)[1], clean(sets, pair.name)) for pair in find_pairs("new"))


@pytest.mark.parametrize("own", ["target/1.png", "target/1.jpg", "target/a.bmp", "input/10.png", "input/1.JPG"])
@pytest.mark.parametrize("begun", [False, True])
def test_images_of_the_user_are_never_replaced_nor_mixed_with(sets: Path, own: str, begun: bool) -> None:
    output = sets / "Test100"
    if begun:
        prepare_rain100h("BSDS", output=output)
        (output / "target" / "2.png").unlink()
    (output / own).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene(20, 30)).save(output / own)
    before = {path: path.read_bytes() for path in output.rglob("*.*")}
    said = f"{own} already exists, and is damaged or not what is to be written: .*--output"
    with pytest.raises(UnfoldError, match=said):
        prepare_rain100h("BSDS", output=output)
    assert {path: path.read_bytes() for path in output.rglob("*.*")} == before


def test_other_targets_beside_the_inputs_are_not_replaced_nor_damaged_ones(sets: Path) -> None:
    prepare_rain100h("BSDS")
    target = sets / "Rain100H" / "target" / "1.png"
    Image.fromarray(clean(sets, "1") ^ 1).save(target)
    for content in (target.read_bytes(), target.read_bytes()[:5000]):
        target.write_bytes(content)
        with pytest.raises(UnfoldError, match=r"target/1\.png already exists, and is damaged or not"):
            prepare_rain100h("BSDS")
        assert target.read_bytes() == content


def test_a_broken_run_leaves_whole_files_and_no_set_that_looks_finished(
    sets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Image.Image.save

    def fail_at_the_second(self: Image.Image, file: object, *rest: object) -> None:
        if any((sets / "new" / "target").glob("*.png")):
            raise OSError(28, "No space left on device")
        save(self, file, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "save", fail_at_the_second)
    with pytest.raises(OSError, match="No space left"):
        prepare_rain100h("BSDS", output=sets / "new")
    assert [path.name for path in (sets / "new" / "target").iterdir()] == ["1.png"]
    with pytest.raises(UnfoldError, match="2 without a partner"):
        find_pairs("new")
    monkeypatch.undo()
    monkeypatch.setattr(from_bsds500, "RAIN100H", MAP)
    assert "2 clean images written, 1 were" in prepare_rain100h(
        str(sets / "BSDS"), str(sets / "Rain100H"), sets / "new"
    )


def test_data_that_do_not_fit_are_reported_in_one_line(sets: Path, command: Command) -> None:
    def error_of(*options: object) -> str:
        code, _, err = command("data", "prepare", "rain100h", "--bsds", "BSDS", *options)
        assert code == 2
        assert err.count("\n") == 1
        return err

    assert "no folder Nowhere" in error_of("--rain", "Nowhere")
    assert "has no folder of inputs" in error_of("--rain", "BSDS")
    photograph = sets / "BSDS" / "images" / "val" / "200.jpg"
    Image.fromarray(scene(480, 320)).save(photograph)
    assert "200.jpg is 320x480, and photographs of BSDS 321x481 or 481x321" in error_of()
    photograph.unlink()
    assert "BSDS has no 200.jpg: all of BSDS500 is needed" in error_of()
    (sets / "BSDS" / "images" / "train" / "100.jpg").unlink()
    assert "BSDS has no 100.jpg and 1 more: all of" in error_of()
    inputs = sets / "Rain100H" / "inputcrop"
    (inputs / "1.png").rename(inputs / "norain-1.png")
    assert "is not Rain100H's" in error_of()


def test_a_folder_that_cannot_be_written_asks_for_another(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UnfoldError, match=r"Rain100H cannot be written \(Read-only file system\); .*--output"):
        prepare_rain100h("BSDS")


def test_bsd100_has_its_hundred_photographs() -> None:
    assert len(BSD100) == len(set(BSD100)) == 100
    assert all(number.isdigit() for number in BSD100)
    assert (BSD100[0], BSD100[1], BSD100[-1]) == ("101085", "101087", "97033")


def test_bsd100_is_cut_out_whole_once_and_by_number(
    sets: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_bsds500, "BSD100", ["200", "100"])
    code, out, err = command("data", "prepare", "bsd100", "--bsds", "BSDS", "-o", sets / "BSD100")
    assert (code, err) == (0, "")
    assert "2 images written" in out
    for i, name in enumerate(("2", "1"), start=1):
        assert np.array_equal(read_uint8(sets / "BSD100" / f"img_{i:03}_SRF_2_HR.png"), clean(sets, name))
    assert "already" in command("data", "prepare", "bsd100", "--bsds", "BSDS", "-o", sets / "BSD100")[1]
    (sets / "BSDS" / "images" / "val" / "200.jpg").unlink()
    code, _, err = command("data", "prepare", "bsd100", "--bsds", "BSDS", "-o", sets / "BSD100")
    assert code == 2
    assert "no 200.jpg" in err


@pytest.mark.slow
def test_bsd100_of_the_real_photographs(tmp_path: Path) -> None:
    if "UNFOLD_DATA" not in os.environ:
        pytest.skip("UNFOLD_DATA is not set")
    assert "100 images written" in prepare_bsd100("BSDS500", tmp_path / "BSD100")
    sizes = [read_uint8(path).shape for path in (tmp_path / "BSD100").glob("*.png")]
    assert set(sizes) == {(320, 480, 3), (480, 320, 3)}
