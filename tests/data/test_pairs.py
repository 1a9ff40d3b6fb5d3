"""Pairs are made by name, and images without a partner are reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import scene
from unfold.data.pairs import INPUTS, TARGETS, Pair, find_pairs, read_pair
from unfold.data.stores.image_stores import find_items
from unfold.errors import UnfoldError


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def names(pairs: list[Pair]) -> list[tuple[str, str, str]]:
    return [(pair.name, pair.input.name, pair.target.name) for pair in pairs]


def test_partners_have_one_name_whatever_their_extension_and_come_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path / "input", "10.png", "9.JPG", "b.c.png")
    touch(tmp_path / "target", "9.png", "10.bmp", "b.c.jpg", "notes.txt")
    expected = [("9", "9.JPG", "9.png"), ("10", "10.png", "10.bmp"), ("b.c", "b.c.png", "b.c.jpg")]
    assert names(find_pairs(str(tmp_path))) == expected


def test_a_slice_of_a_set_is_a_slice_of_its_pairs(tmp_path: Path) -> None:
    for side in ("input", "target"):
        touch(tmp_path / side, *(f"{i}.png" for i in range(11)))
    parts = [[pair.name for pair in find_pairs(f"{tmp_path}{part}")] for part in ("[:-2]", "[-2:]", "")]
    assert parts[0] + parts[1] == parts[2] == [str(i) for i in range(11)]
    assert parts[1] == ["9", "10"]
    assert find_items(f"{tmp_path}[:3]") == find_pairs(str(tmp_path))[:3]


@pytest.mark.parametrize("below", ["", "test"])
def test_every_layout_of_two_folders_is_found_also_below_unfold_data(
    below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path))
    for i in range(max(len(INPUTS), len(TARGETS))):
        home = tmp_path / f"set{i}" / below
        touch(home / INPUTS[i % len(INPUTS)], "a.png")
        touch(home / TARGETS[i % len(TARGETS)].upper(), "a.png")
        (pair,) = find_pairs(f"set{i}")
        assert pair.input.parent.parent == pair.target.parent.parent == home
        assert pair.target.parent.name.isupper()


def test_training_pairs_are_not_taken_for_test_pairs(tmp_path: Path) -> None:
    for split in ("train", "test"):
        touch(tmp_path / split / "blur", f"{split}.png")
        touch(tmp_path / split / "sharp", f"{split}.png")
    assert [pair.name for pair in find_pairs(str(tmp_path))] == ["test"]
    assert [pair.name for pair in find_pairs(str(tmp_path), "train")] == ["train"]
    with pytest.raises(UnfoldError, match=r"holds no pairs: neither folders .* there or in val"):
        find_pairs(str(tmp_path), "val")


def test_pairs_side_by_side_are_found_by_their_marks(tmp_path: Path) -> None:
    touch(tmp_path, "Flower_blur2.png", "Flower_blur10.png", "Flower_sharp10.png", "Flower_sharp2.jpg")
    touch(tmp_path, "sony_real_11_real.JPG", "sony_real_11_mean.JPG", "README.txt")
    assert names(find_pairs(str(tmp_path))) == [
        ("Flower_blur2", "Flower_blur2.png", "Flower_sharp2.jpg"),
        ("Flower_blur10", "Flower_blur10.png", "Flower_sharp10.png"),
        ("sony_real_11_real", "sony_real_11_real.JPG", "sony_real_11_mean.JPG"),
    ]


def test_images_without_a_partner_are_named_and_counted(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "input", "1.png", "2.png", "3.png")
    touch(tmp_path / "a" / "target", "1.png", "4.png", "5.png")
    with pytest.raises(UnfoldError) as caught:
        find_pairs(str(tmp_path / "a"))
    first = ", ".join(str(Path(*words)) for words in (("input", "2.png"), ("input", "3.png"), ("target", "4.png")))
    assert str(caught.value).endswith(f"a: 4 without a partner of the same name: {first} and 1 more")
    touch(tmp_path / "b", "x_blur1.png", "x_sharp1.png", "x_sharp2.png", "more.png")
    with pytest.raises(UnfoldError, match=r"b: 2 without a partner of the same name: more\.png, x_sharp2\.png$"):
        find_pairs(str(tmp_path / "b"))


def test_what_is_not_clear_is_refused_by_name(tmp_path: Path) -> None:
    touch(tmp_path / "double" / "input", "1.jpg", "1.png")
    touch(tmp_path / "double" / "gt", "1.png")
    touch(tmp_path / "side", "x_blur.png", "x_real.png", "x_sharp.png")
    touch(tmp_path / "many" / "rain", "1.png")
    touch(tmp_path / "many" / "rainy", "1.png")
    touch(tmp_path / "half" / "inputcrop", "1.png")
    touch(tmp_path / "other" / "test" / "clean", "1.png")
    touch(tmp_path / "none", "1.png", "2.png")
    touch(tmp_path / "empty" / "input")
    touch(tmp_path / "empty" / "target", "1.png")
    for name, expected in [
        ("double", "1.jpg and 1.png have one name"),
        ("side", "x_blur.png and x_real.png have one name"),
        ("many", "holds both rain and rainy"),
        ("half", "inputcrop has no folder of targets beside it, which would be one of target, "),
        ("other", "clean has no folder of inputs beside it, which would be one of input, "),
        ("none", "none holds no pairs"),
        ("empty", "input holds no images"),
        ("nowhere", "there is no folder"),
    ]:
        with pytest.raises(UnfoldError, match=expected) as caught:
            find_pairs(str(tmp_path / name))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_pair_is_read_to_the_digit_and_has_one_size(tmp_path: Path) -> None:
    pair = Pair("a", tmp_path / "a.png", tmp_path / "b.bmp")
    Image.fromarray(scene(20, 30, seed=1)).save(pair.input)
    Image.fromarray(scene(20, 30, seed=2)).save(pair.target)
    y, target = read_pair(pair)
    assert np.array_equal(y, scene(20, 30, seed=1))
    assert np.array_equal(target, scene(20, 30, seed=2))
    Image.fromarray(scene(30, 20)).save(pair.target)
    with pytest.raises(UnfoldError, match=r"a\.png is 30x20 and .*b\.bmp 20x30: a pair has one size"):
        read_pair(pair)
