"""The protocol `pairs` takes any two folders of pictures, and its numbers are plain ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from tests.synthetic import scene
from unfold.data.pairs import Pair
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.protocols import any_pairs
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.protocol import Case

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pairs of JPEG files, one of them grey."""
    rng = np.random.default_rng(0)
    for kind in ("input", "target"):
        (tmp_path / kind).mkdir()
    for i in range(2):
        clean = scene(40, 48, seed=i)
        noisy = (clean + rng.normal(0, 9, clean.shape)).clip(0, 255).astype(np.uint8)
        for kind, pixels in (("input", noisy), ("target", clean)):
            picture = Image.fromarray(pixels)
            (picture.convert("L") if i else picture).save(tmp_path / kind / f"{i}.jpg", quality=95)
    return tmp_path


def read(path: Path) -> Any:
    return np.asarray(Image.open(path).convert("RGB"))


def test_the_scores_of_the_input_itself_are_those_of_the_files(folder: Path, command: Command) -> None:
    words = ("--data", folder, "--model", "identity", "--json", folder / "found.json")
    assert command("test", "--protocol", "pairs", *words)[0] == 0
    found = json.loads((folder / "found.json").read_text())
    for i, row in enumerate(found["images"]):
        y, target = (read(folder / kind / f"{i}.jpg") for kind in ("input", "target"))
        assert row["psnr"] == pytest.approx(peak_signal_noise_ratio(target, y), abs=1e-4)
        assert row["ssim"] == pytest.approx(ssim(y, target), abs=1e-6)
    assert found["protocol"]["options"] == {"crop": 0, "channel": "rgb"}


@pytest.mark.parametrize(("channels", "ending"), [(3, "png"), (5, "tif")])
def test_results_whose_names_hold_folders_are_saved_in_them(tmp_path: Path, channels: int, ending: str) -> None:
    result = np.random.default_rng(0).random((8, 9, channels))
    for name in ("seq1/0", "seq2/0"):
        parse_protocol("pairs").save(result, Case(name, (tmp_path / "0.png",)), tmp_path)
    saved = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))
    assert saved == [f"seq1/0.{ending}", f"seq2/0.{ending}"]


def test_a_result_is_clamped_and_not_rounded(folder: Path) -> None:
    protocol = parse_protocol("pairs")
    case = protocol.cases(str(folder))[0]
    sample = protocol.sample(case)
    assert sample.target is not None
    fine = sample.target + np.float32(0.3 / 255)
    result = protocol.restore(lambda inputs: fine * 1, sample)
    assert protocol.score(result, sample.target)["psnr"] == pytest.approx(psnr(fine.clip(0, 1), sample.target))
    assert protocol.score(result, sample.target)["psnr"] > 58, "rounded, it would be infinite"
    assert protocol.finish(np.full((1, 1, 3), 1.5, np.float32)).max() == 1


@pytest.mark.parametrize("channel", ["y", "y_float", "luma"])
def test_a_crop_and_a_channel(folder: Path, channel: str) -> None:
    protocol = parse_protocol(f"pairs:crop=20,channel={channel}")
    sample = protocol.sample(protocol.cases(str(folder))[0])
    y, target = (read(folder / kind / "0.jpg")[10:30, 14:34] for kind in ("input", "target"))
    assert sample.target is not None
    scores = protocol.score(sample.inputs["y"], sample.target)
    assert scores["psnr"] == pytest.approx(psnr(y, target, channel=channel), abs=1e-3)  # type: ignore[call-overload]
    assert scores["ssim"] == pytest.approx(ssim(y, target, channel=channel), abs=1e-4)  # type: ignore[call-overload]


def test_sixteen_bits_count_in_full(tmp_path: Path) -> None:
    for kind, value in (("input", 30000), ("target", 30010)):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / "a.png"), np.full((16, 16, 3), value, np.uint16))
    protocol = parse_protocol("pairs")
    sample = protocol.sample(protocol.cases(str(tmp_path))[0])
    assert sample.target is not None
    assert protocol.score(sample.inputs["y"], sample.target)["psnr"] == pytest.approx(
        -20 * np.log10(10 / 65535), abs=0.05
    )


def test_pictures_of_two_sizes_are_reported(folder: Path) -> None:
    Image.fromarray(scene(40, 40)).save(folder / "target" / "0.jpg")
    protocol = parse_protocol("pairs")
    with pytest.raises(UnfoldError, match=r"input/0\.jpg is 48x40 and .*target/0\.jpg 40x40: a pair has one size"):
        protocol.sample(protocol.cases(str(folder))[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("pairs:crop=-1", "crop is a number"), ("pairs:channel=yy", "channel"), ("pairs:size=3", "no option")],
)
def test_options_that_cannot_be_are_one_line(text: str, expected: str) -> None:
    with pytest.raises(UnfoldError, match=expected):
        parse_protocol(text)


def test_folders_and_a_template_of_names_are_handed_on_where_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def finder(source: str, split: str, **options: str) -> list[Pair]:
        seen.append((source, split, options))
        return [Pair("a", Path("x"), Path("y"))]

    monkeypatch.setattr(any_pairs, "find_pairs", finder)
    parse_protocol("pairs").cases("set")
    protocol = parse_protocol("pairs:input=hazy,target=clear,name={id}_*")
    protocol.cases("set", "val")
    given = {"input": "hazy", "target": "clear", "name": "{id}_*"}
    assert seen == [("set", "test", {}), ("set", "val", given)]
    assert protocol.name == "pairs", "by which results call it"
    assert protocol.options() == {"crop": 0, "channel": "rgb", **given}
