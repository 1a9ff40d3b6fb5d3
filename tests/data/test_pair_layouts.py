"""Every usual layout of pairs is found, by one rule that is named; an ambiguous one is an error that names both."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.synthetic import scene
from unfold.data.images import find_images
from unfold.data.pairs import Given, Pair, find_paired_set, find_pairs
from unfold.data.stores.image_stores import find_items
from unfold.errors import UnfoldError


def touch(home: Path, *names: str) -> None:
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()


def names_of(home: Path, pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.input.relative_to(home).as_posix(), pair.target.relative_to(home).as_posix()) for pair in pairs]


FOLDERS = [
    *("input/target", "noisy/clean", "blur/sharp", "LR/HR", "lr/hr", "Low/High", "lq/gt", "LQ/GT", "hazy/clear"),
    *("rain/norain", "rainy/clean", "degraded/clean", "Low/Normal", "rainy_image/ground_truth", "LRx4/HR", "snow/gt"),
    *(
        "A/B",
        "photos_A/photos_B",
        "in/out",
        "rain_in/rain_out",
        "DIV2K_LR_bicubic/DIV2K_HR",
        "my_set-noisy/my_set-clean",
    ),
    *(
        "Flickr2K_LR_unknown_X2/Flickr2K_HR",
        "LR_bicubic_X2/GTmod12",
        "train_blur/train_sharp",
        "input_train/target_train",
        "Noisy-Images/Clean-Images",
    ),
]


@pytest.mark.parametrize("folders", FOLDERS)
@pytest.mark.parametrize("split", ["", "train/", "Training/", "/train", "/TRAIN"])
def test_usual_folders_are_known_with_a_split_above_or_below(folders: str, split: str, tmp_path: Path) -> None:
    y, x = (f"{side}{split}" if split.startswith("/") else f"{split}{side}" for side in folders.split("/"))
    touch(tmp_path, f"{y}/2.png", f"{y}/10.JPG", f"{x}/10.png", f"{x}/2.png", f"{y}/._2.png", f"{x}/.DS_Store")
    touch(tmp_path, f"{x}/Thumbs.db")
    assert names_of(tmp_path, find_pairs(str(tmp_path), "train")) == [
        (f"{y}/2.png", f"{x}/2.png"),
        (f"{y}/10.JPG", f"{x}/10.png"),
    ]
    assert len(find_items(str(tmp_path))) == 2


@pytest.mark.parametrize(
    ("folders", "wanted"),
    [
        (["trainA", "trainB", "testA", "testB"], {"train": ("trainA", "trainB"), "test": ("testA", "testB")}),
        (["train_A", "train_B"], {"train": ("train_A", "train_B")}),
        (
            ["DIV2K_train_LR_bicubic/X2", "DIV2K_train_HR", "DIV2K_valid_LR_bicubic/X2", "DIV2K_valid_HR"],
            {
                "train": ("DIV2K_train_LR_bicubic/X2", "DIV2K_train_HR"),
                "val": ("DIV2K_valid_LR_bicubic/X2", "DIV2K_valid_HR"),
            },
        ),
    ],
)
def test_splits_and_names_of_sets_stand_in_the_names_of_the_folders(
    folders: list[str], wanted: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    for i, folder in enumerate(folders):
        scale = "x2" if folder.endswith("X2") else ""
        touch(tmp_path, *(f"{folder}/{10 * (i // 2) + n:04}{scale}.png" for n in (1, 2)))
    for split, (y, x) in wanted.items():
        found = {(pair.input.parent, pair.target.parent) for pair in find_pairs(str(tmp_path), split)}
        assert found == {(tmp_path / y, tmp_path / x)}


def test_a_known_name_comes_before_one_with_more_and_what_it_is_not_counts_for_nothing(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{folder}/1.png" for folder in ("noisy", "clean", "old_noisy", "old_clean")))
    assert names_of(tmp_path, find_pairs(str(tmp_path))) == [("noisy/1.png", "clean/1.png")]
    touch(tmp_path / "two", *(f"{folder}/1.png" for folder in ("a_LR", "a_HR", "b_LR", "b_HR")))
    with pytest.raises(
        UnfoldError, match="holds a_LR, a_HR, b_LR, b_HR, and two of them are wanted: the options input"
    ):
        find_pairs(str(tmp_path / "two"))
    touch(tmp_path / "not", "photo_non_blur/1.png", "photo_sharp/1.png")
    with pytest.raises(UnfoldError, match="holds no pairs"):
        find_pairs(str(tmp_path / "not"))
    touch(tmp_path / "other", "cats_noisy/1.png", "dogs_clean/1.png")
    with pytest.raises(UnfoldError, match="holds no pairs"):
        find_pairs(str(tmp_path / "other"))


NAMES = [
    ("0_in.png", "0_out.png"),
    ("a_noisy.png", "a_clean.png"),
    ("0_lq.jpg", "0_gt.png"),
    ("x-input.png", "x-target.png"),
    ("NOISY_3.png", "GT_3.png"),
    ("0001_NOISY_SRGB_010.PNG", "0001_GT_SRGB_010.PNG"),
    ("a_low.png", "a_high.png"),
    ("01_hazy.png", "01_GT.png"),
    ("clean_street_rain.png", "clean_street_norain.png"),
]


@pytest.mark.parametrize(("y", "x"), NAMES)
def test_marks_in_names_find_pairs_side_by_side_and_in_two_folders(y: str, x: str, tmp_path: Path) -> None:
    touch(tmp_path / "one", y, x, f"._{y}")
    assert names_of(tmp_path / "one", find_pairs(str(tmp_path / "one"))) == [(y, x)]
    touch(tmp_path / "two", f"data/{y}", f"gt/{x}")
    assert names_of(tmp_path / "two", find_pairs(str(tmp_path / "two"), input="data")) == [(f"data/{y}", f"gt/{x}")]


RULES = [
    ({"lq/0x4.png": "gt/0.png", "lq/10x4.png": "gt/10.png"}, "scale"),
    ({"LR/img_LR_x2.png": "HR/img_HR.png"}, "scale"),
    ({"rain/rain-001.png": "norain/norain-001.png", "rain/rain-002.png": "norain/norain-002.png"}, "marks"),
    ({"hazy/0001_0.8_0.2.jpg": "clear/0001.png", "hazy/0001_1_0.2.jpg": "clear/0001.png"}, "many inputs of one"),
    (
        {"rainy/901_1.jpg": "clean/901.jpg", "rainy/901_14.jpg": "clean/901.jpg", "rainy/90_1.jpg": "clean/90.jpg"},
        "many",
    ),
    ({"blur/seq1/0.png": "sharp/seq1/0.png", "blur/seq2/0.png": "sharp/seq2/0.png"}, "the same name"),
    ({"LR_bicubic/X2/1x2.png": "HR/1.png", "LR_bicubic/X2/2x2.png": "HR/2.png"}, "scale"),
    ({"noisy/iso100/a/1.png": "clean/1.png", "noisy/iso100/a/2.png": "clean/2.png"}, "the same name"),
    ({"noisy/1_a.png": "clean/v2/1.png", "noisy/1_b.png": "clean/v2/1.png"}, "many inputs of one"),
    ({"lq/1.png": "gt/0001.png", "lq/10.png": "gt/0010.png", "lq/0.png": "gt/0000.png"}, "zeros before numbers"),
    ({"noisy/img_001_lq.png": "clean/img_1.png", "noisy/img_012_lq.png": "clean/img_12.png"}, "zeros before numbers"),
    ({"A/s1/noisy/0.png": "A/s1/gt/0.png", "B/s1/noisy/0.png": "B/s1/gt/0.png"}, "folders of scenes"),
    ({"seq1/blur/0.png": "seq1/sharp/0.png", "seq2/blur/0.png": "seq2/sharp/0.png"}, "folders of scenes"),
    ({"a/seq1/noisy/0.png": "a/seq1/gt/0.png", "b/seq1/noisy/0.png": "b/seq1/gt/0.png"}, "folders of scenes"),
    ({"test/s1/1_blur.png": "test/s1/1_sharp.png", "test/s2/1_blur.png": "test/s2/1_sharp.png"}, "folders of scenes"),
]


@pytest.mark.parametrize(("pairs", "rule"), RULES)
def test_partners_of_other_names_are_found_by_the_rule_that_leaves_none_over(
    pairs: dict[str, str], rule: str, tmp_path: Path
) -> None:
    touch(tmp_path, *pairs, *pairs.values())
    found = find_paired_set(str(tmp_path))
    assert dict(names_of(tmp_path, found.pairs)) == pairs
    assert rule in found.rule
    names = [pair.name for pair in found.pairs]
    assert len(set(names)) == len(names)
    if not any(name.startswith("test/") for name in pairs):  # of which no training is made
        assert find_items(str(tmp_path)) == found.pairs


def test_options_name_the_two_folders_and_how_inputs_are_called(tmp_path: Path) -> None:
    touch(tmp_path, "a/1_x.png", "a/1_y.png", "a/12_x.png", "b/1.png", "b/12.png", "c/0.png")
    wanted = [("a/1_x.png", "b/1.png"), ("a/1_y.png", "b/1.png"), ("a/12_x.png", "b/12.png")]
    assert names_of(tmp_path, find_pairs(str(tmp_path), input="a", target="b", name="{id}_*")) == wanted
    touch(tmp_path, "d/p1x4.png", "d/p12x4.png")
    assert names_of(tmp_path, find_pairs(str(tmp_path), input="d", target="b", name="p{id}x?.png")) == [
        ("d/p1x4.png", "b/1.png"),
        ("d/p12x4.png", "b/12.png"),
    ]
    touch(tmp_path / "one", "5.png", "5_bad.png", "6.png", "6_bad.jpg")
    assert names_of(tmp_path / "one", find_pairs(str(tmp_path / "one"), name="{id}_bad")) == [
        ("5_bad.png", "5.png"),
        ("6_bad.jpg", "6.png"),
    ]
    touch(tmp_path / "split", "test/a/1.png", "test/b/1.png")
    assert names_of(tmp_path / "split", find_pairs(str(tmp_path / "split"), input="a", target="b")) == [
        ("test/a/1.png", "test/b/1.png")
    ]


def test_what_is_not_clear_names_both_candidates_and_what_is_left_over_is_counted(tmp_path: Path) -> None:
    touch(tmp_path / "two", "hazy/a_b_1.png", "clear/a.png", "clear/a_b.png")
    touch(tmp_path / "left", "hazy/1_1.png", "hazy/1_2.png", "hazy/7_1.png", "clear/1.png", "clear/2.png")
    touch(tmp_path / "template", "hazy/a_b_1.png", "clear/a.png", "clear/a_b.png")
    touch(tmp_path / "scales", "lq/0x2.png", "lq/0x4.png", "gt/0.png")
    touch(tmp_path / "both", "LRx2/0.png", "LRx4/0.png", "HR/0.png")
    touch(tmp_path / "scenes", "s1/blur/0.png", "s1/sharp/0.png", "s2/0.png", "s2/1.png")
    touch(tmp_path / "halfscene", "s1/blur/0.png", "s1/sharp/0.png", "s2/blur/1.png")
    touch(tmp_path / "wrong", "a/0.png", "b/0.png")
    touch(tmp_path / "names", "noisy/L0_FD.png", "clean/L0_QD.png")
    for name, given, parts in [
        ("two", Given(), ["a_b_1.png may belong to", "a.png or to a_b.png"]),
        ("template", Given(name="{id}_*"), ["a_b_1.png may belong to", "a.png or to a_b.png"]),
        ("left", Given(), ["2 without a partner", "7_1.png", "2.png"]),
        ("scales", Given(), ["0x2.png and 0x4.png have one name"]),
        ("both", Given(), ["both LRx2 and LRx4", "the option input says which"]),
        ("scenes", Given(), ["2 without a partner", "s2/0.png"]),
        ("halfscene", Given(), ["s2/blur has no folder of targets"]),
        ("wrong", Given(), ["holds no pairs", "input and target name the folders (there are a, b)"]),
        ("wrong", Given("a", "c"), ["has no folder c, which the option target names (there are a, b)"]),
        ("wrong", Given("x", "y"), ["holds no pairs by the options input x, target y", "a text file with the two"]),
        ("wrong", Given(), ["holds no pairs", "a text file with the two paths of a pair per line names any others"]),
        ("names", Given(), ["2 without a partner", "the option name says how inputs are called", "a text file"]),
        ("wrong", Given("a", "b", "*_x"), ["name is a template", "'*_x'"]),
        ("wrong", Given("a", "a"), ["would hold both sides"]),
    ]:
        with pytest.raises(UnfoldError) as caught:
            find_paired_set(str(tmp_path / name), "test", given)
        message = str(caught.value).replace("\\", "/")
        assert all(part in message for part in parts), message
        assert "\n" not in message


def test_a_list_names_pairs_or_clean_images_line_by_line(tmp_path: Path) -> None:
    touch(tmp_path, "p/0.png", "q/0.png", "p2/0.png", "q2/0.png", "with space/a b.png", "c.png")
    (tmp_path / "pairs.txt").write_text(
        "# input target\np/0.png q/0.png\n\np2/0.png\tq2/0.png\nwith space/a b.png,c.png\n"
    )
    pairs = find_pairs(str(tmp_path / "pairs.txt"))
    assert names_of(tmp_path, pairs) == [
        ("p/0.png", "q/0.png"),
        ("p2/0.png", "q2/0.png"),
        ("with space/a b.png", "c.png"),
    ]
    assert len({pair.name for pair in pairs}) == 3
    assert find_pairs(f"{tmp_path}/pairs.txt[1:2]") == pairs[1:2]
    assert find_items(str(tmp_path / "pairs.txt")) == pairs
    (tmp_path / "clean.txt").write_text("path\np/0.png\nwith space/a b.png\n")
    assert find_images(str(tmp_path / "clean.txt"), "train") == [tmp_path / "p/0.png", tmp_path / "with space/a b.png"]
    for text in (
        "input,target\np/0.png,q/0.png\n",
        '"noisy","clean"\r\n"p/0.png","q/0.png"\r\n',
        "\ufefflow dose\thigh dose\np/0.png\tq/0.png\n",
        "# of 2026\nfiles partners\np/0.png q/0.png\n",
    ):
        (tmp_path / "head.csv").write_text(text, encoding="utf-8")
        assert names_of(tmp_path, find_pairs(str(tmp_path / "head.csv"))) == [("p/0.png", "q/0.png")], text
    for text in ('"with space/a b.png" c.png', '"with space/a b.png","c.png"', '"with space/a b.png"\tc.png'):
        (tmp_path / "quoted.txt").write_text(f"{text}\n")
        assert names_of(tmp_path, find_pairs(str(tmp_path / "quoted.txt"))) == [("with space/a b.png", "c.png")], text
    for text, part in [
        ("input,target\n", "line 1: there is no"),
        ("p/0.png,q/0.png\ninput,target\n", "line 2: there is no"),
        ("p/0 q/0\np/0.png q/0.png", "line 1: there is no"),
        ("p p2\np/0.png q/0.png", "line 1: there is no"),
        ("p/0.tif input\np/0.png q/0.png", "line 1: there is no"),
        ("with space/a b.png c.png", 'in "quotes" where a path has such itself'),
        ("p/0.png q/0.png c.png", "line 1: two paths are wanted"),
        ("p/0.png q/1.png", "line 1: there is no"),
        ("p/0.png q/0.png\np/0.png c.png", "line 2: p/0.png stands in line 1"),
        ("p/0.png p/0.png", "line 1: p/0.png is both the input and the target"),
        ("# nothing", "lists nothing"),
    ]:
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(UnfoldError, match=part):
            find_pairs(str(tmp_path / "bad.txt"))


def test_the_doctor_names_the_rule_and_shows_three_pairs(tmp_path: Path, command) -> None:  # type: ignore[no-untyped-def]
    for i in range(2):
        for name in (f"hazy/{i}_1.png", f"hazy/{i}_2.png", f"clear/{i}.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.fromarray(scene(20, 30, seed=i + len(name))).save(tmp_path / name)
    (tmp_path / "hazy" / "._0_1.png").write_bytes(b"macOS")
    code, out, _ = command("data", "doctor", str(tmp_path))
    assert code == 0
    assert "4 pairs by folders hazy and clear, the target's name and more behind it" in out
    assert "hazy/0_1.png with clear/0.png" in out.replace("\\", "/")
    assert out.count(" with ") == 3
    (tmp_path / "list.txt").write_text("hazy/0_1.png clear/0.png\n")
    code, out, _ = command("data", "doctor", str(tmp_path / "list.txt"))
    assert (code, "1 pairs by a list" in out) == (0, True)


def test_the_doctor_looks_pairs_over_that_lie_as_its_options_say(tmp_path: Path, command) -> None:  # type: ignore[no-untyped-def]
    for split in ("", "train/", "val/"):
        for i, name in enumerate(("shots/1_a.png", "shots/1_b.png", "truth/1.png")):
            path = tmp_path / (f"split/{split}{name}" if split else f"one/{name}")
            path.parent.mkdir(exist_ok=True, parents=True)
            Image.fromarray(scene(20, 30, seed=i + len(split))).save(path)
    said = ("--input", "shots", "--target", "truth", "--name", "{id}_*")
    code, out, _ = command("data", "doctor", tmp_path / "one", *said)
    assert (code, out.count("pairs by folders shots and truth, the template {id}_*")) == (0, 1), out
    assert "2 pairs, PSNR of the inputs" in out
    assert out.strip().endswith("sets: 1, errors: 0, warnings: 0, the same photograph in two sets: 0 times")
    code, out, _ = command("data", "doctor", tmp_path / "split", *said)
    assert (code, out.count("2 pairs by folders")) == (0, 2), out
    Image.fromarray(scene(20, 30, seed=9)).save(tmp_path / "split/val/shots/2_a.png")
    code, out, _ = command("data", "doctor", tmp_path / "split", *said)
    assert (code, "1 without a partner" in out, "2_a.png" in out) == (1, True, True), out
    code, out, _ = command("data", "doctor", tmp_path / "one", "--input", "nowhere", "--target", "truth")
    assert (code, out.count("has no folder nowhere")) == (1, 1), out


def test_the_doctor_takes_targets_a_whole_number_of_times_as_large(tmp_path: Path, command) -> None:  # type: ignore[no-untyped-def]
    for side, size in (("LR", 16), ("HR", 32)):
        (tmp_path / side).mkdir()
        Image.fromarray(scene(size, size)).save(tmp_path / side / "0.png")
    code, out, _ = command("data", "doctor", str(tmp_path))
    assert code == 0, out
    Image.fromarray(scene(15, 16)).save(tmp_path / "LR" / "0.png")
    code, out, _ = command("data", "doctor", str(tmp_path))
    assert code == 1
    assert "0.png is 16x15" in out


def test_fifty_thousand_names_take_seconds(tmp_path: Path) -> None:
    """By one tenth of them: scripts/bench_pairs.py has all."""
    import time

    touch(tmp_path, *(f"lq/{i}x4.png" for i in range(5000)), *(f"gt/{i}.png" for i in range(5000)))
    start = time.perf_counter()
    assert len(find_pairs(str(tmp_path))) == 5000
    assert time.perf_counter() - start < 5


def test_accents_pair_in_either_form_that_file_systems_write_them(tmp_path: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    touch(tmp_path, f"hazy/{composed}_1.png", f"hazy/{composed}_2.png", f"clear/{apart}.png")
    assert len(find_pairs(str(tmp_path), "train")) == 2
    touch(tmp_path / "one", f"input/{apart}.png", f"target/{composed}.png")
    assert [pair.target.name for pair in find_pairs(str(tmp_path / "one"), "train")] == [f"{composed}.png"]
