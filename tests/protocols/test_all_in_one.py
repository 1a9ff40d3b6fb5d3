"""The protocol of all-in-one restoration gives the input scores of its published data code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import scene
from unfold.data.images import data_root
from unfold.data.stores.cut_store import centred
from unfold.data.stores.image_stores import inside
from unfold.errors import UnfoldError
from unfold.evaluation.methods import baseline
from unfold.evaluation.run_protocol import evaluate
from unfold.metrics import psnr
from unfold.physics.noise import truncated_gaussian
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.protocol import Protocol

Command = Callable[..., tuple[int, str, str]]
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "all_in_one_inputs.json").read_text())
SIGMAS = ("15", "25", "50")


def save(path: Path, height: int, width: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene(height, width, seed=seed)).save(path)


def scores(protocol: Protocol, source: str, *names: str) -> dict[str, dict[str, float]]:
    cases = [case for case in protocol.cases(source) if not names or case.name in names]
    return {found.case.name: found.scores for found in evaluate(protocol, baseline("identity", protocol), cases)}


@pytest.mark.parametrize("size", GOLDEN["crop"])
def test_sides_are_cut_in_the_middle_to_multiples_of_16(size: str) -> None:
    height, width = map(int, size.split("x"))
    image = np.arange(height * width * 3).reshape(height, width, 3)
    cut = image[inside(centred((height, width), 16), (height, width))]
    assert [*cut.shape[:2]] == GOLDEN["crop"][size]["shape"]
    assert cut[0, 0, 0] == GOLDEN["crop"][size]["first"]


def listed(tmp_path: Path) -> str:
    """CBSD68, of BSDS500."""
    folder = data_root() / "BSDS500" / "val"
    if not folder.is_dir():
        pytest.skip("needs BSDS500/val below UNFOLD_DATA")
    path = tmp_path / "cbsd68.txt"
    ids = [image[0] for image in GOLDEN["cbsd68"]["15"]["images"]]
    path.write_text("".join(f"{(folder / name).resolve()}.jpg\n" for name in ids[::-1]))
    return str(path)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_published_stream_of_noise_gives_the_published_inputs(sigma: str, tmp_path: Path) -> None:
    """The first, one amid and one that needs all the noise before it, in no order."""
    wanted = {name: found for name, *found in GOLDEN["cbsd68"][sigma]["images"]}
    chosen = ("223061", "101085", "12084")
    found = scores(parse_protocol(f"aio:sigma={sigma},noise=published"), listed(tmp_path), *chosen)
    for name in chosen:
        assert found[name]["psnr"] == pytest.approx(wanted[name][0], abs=1e-4)
        assert found[name]["ssim"] == pytest.approx(wanted[name][1], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", SIGMAS)
def test_the_published_stream_of_noise_gives_the_published_means(sigma: str, tmp_path: Path) -> None:
    found = scores(parse_protocol(f"aio:sigma={sigma},noise=published"), listed(tmp_path))
    golden = GOLDEN["cbsd68"][sigma]
    assert np.mean([one["psnr"] for one in found.values()]) == pytest.approx(golden["mean_psnr"], abs=1e-4)
    assert np.mean([one["ssim"] for one in found.values()]) == pytest.approx(golden["mean_ssim"], abs=1e-5)


@pytest.mark.parametrize("data", ["all_in_one/SOTS", "all_in_one/Rain100L", "GoPro_pairs"])
def test_real_pairs_have_the_published_scores_of_their_inputs(data: str) -> None:
    if not (data_root() / data).is_dir():
        pytest.skip(f"needs {data} below UNFOLD_DATA")
    of = data.removeprefix("all_in_one/").removesuffix("_pairs")
    wanted = {
        name.partition("/")[2].removesuffix(".png").removesuffix(".jpg"): one
        for name, one in GOLDEN["pairs"].items()
        if name.startswith(of)
    }
    found = scores(parse_protocol("aio"), data)
    assert {name.removesuffix("_blur1") for name in found} == wanted.keys()
    for name, one in found.items():
        assert one["psnr"] == pytest.approx(wanted[name.removesuffix("_blur1")]["psnr"], abs=1e-4)
        assert one["ssim"] == pytest.approx(wanted[name.removesuffix("_blur1")]["ssim"], abs=1e-5)


def test_the_published_stream_goes_by_the_sorted_names_whatever_is_asked_for_first(tmp_path: Path) -> None:
    for name, size in (("b", (33, 47)), ("a10", (40, 40)), ("a9", (20, 36))):
        save(tmp_path / "set" / f"{name}.png", *size)
    stream = np.random.RandomState(0)
    wanted = {}
    for name in ("a10", "a9", "b"):
        clean = np.asarray(Image.open(tmp_path / "set" / f"{name}.png"))
        clean = clean[inside(centred(clean.shape[:2], 16), clean.shape[:2])]
        wanted[name] = truncated_gaussian(clean, 25, stream.randn(*clean.shape))
    for order in (("b", "a9", "a10"), ("a9", "b", "a10")):
        protocol = parse_protocol("aio:sigma=25,noise=published")
        cases = {case.name: case for case in protocol.cases(str(tmp_path / "set"))}
        for name in (*order, *order):
            y = protocol.sample(cases[name]).inputs["y"]
            assert np.array_equal(np.rint(y * 255), wanted[name]), (order, name)
    (last,) = parse_protocol("aio:sigma=25,noise=published").cases(f"{tmp_path / 'set'}[-1:]")
    assert np.array_equal(np.rint(protocol.sample(last).inputs["y"] * 255), wanted["b"]), "of a slice, as of the set"


def test_noise_is_cut_off_and_fractions_are_dropped() -> None:
    x = np.array([[[0, 100, 255]]], np.uint8)
    assert truncated_gaussian(x, 10, np.array([[[-1.0, 0.09, 1.0]]])).tolist() == [[[0, 100, 255]]]
    assert truncated_gaussian(x, 10, np.array([[[0.19, -0.01, -0.01]]])).tolist() == [[[1, 99, 254]]]


def test_by_default_noise_goes_by_the_file_s_name_and_results_are_not_rounded(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        save(tmp_path / folder / "x.png", 32, 32)
    save(tmp_path / "b" / "w.png", 32, 32)
    protocol = parse_protocol("aio:sigma=15")
    a, b = (protocol.cases(str(tmp_path / folder))[-1] for folder in "ab")
    one, other = protocol.sample(a), protocol.sample(b)
    assert np.array_equal(one.inputs["y"], other.inputs["y"])
    assert one.inputs["sigma"] == pytest.approx(15 / 255)
    target = one.target
    assert target is not None
    result = (target * 0.9 + 0.003).astype(np.float32)
    assert protocol.score(protocol.finish(result), target)["psnr"] == pytest.approx(psnr(result, target))
    assert protocol.finish(target + 2).max() == 1


def test_many_hazy_images_may_have_one_clean_one(tmp_path: Path) -> None:
    save(tmp_path / "target" / "0001.png", 40, 33)
    for name in ("0001_0.8_0.2", "0001_0.9_0.08"):
        save(tmp_path / "input" / f"{name}.jpg", 40, 33, seed=1)
    protocol = parse_protocol("aio")
    cases = protocol.cases(str(tmp_path))
    assert [case.name for case in cases] == ["0001_0.8_0.2", "0001_0.9_0.08"]
    assert protocol.sample(cases[1]).inputs["y"].shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("sigma=-1", "sigma is the noise's standard deviation"),
        ("sigma=25,noise=mine", "noise is one of"),
        ("noise=published", "sigma is 0"),
    ],
)
def test_mistakes_are_reported_in_one_line(options: str, said: str) -> None:
    with pytest.raises(UnfoldError, match=said):
        parse_protocol(f"aio:{options}")


def test_images_of_which_nothing_is_left_are_refused_by_name(tmp_path: Path) -> None:
    save(tmp_path / "small.png", 15, 40)
    protocol = parse_protocol("aio:sigma=25")
    with pytest.raises(UnfoldError, match=r"small.png is 40x15 pixels, and at least 16x16"):
        protocol.sample(protocol.cases(str(tmp_path))[0])


def test_cbsd68_is_prepared_from_bsds500(tmp_path: Path, command: Command) -> None:
    for name, *_ in GOLDEN["cbsd68"]["15"]["images"]:
        (tmp_path / "BSDS500" / "val").mkdir(parents=True, exist_ok=True)
        (tmp_path / "BSDS500" / "val" / f"{name}.jpg").write_bytes(os.urandom(8))
    asked = ("data", "prepare", "cbsd68", "--bsds", tmp_path / "BSDS500", "-o", tmp_path / "CBSD68")
    assert command(*asked)[0] == 0
    assert len(list((tmp_path / "CBSD68").glob("*.jpg"))) == 68
    assert "already" in command(*asked)[1]
    (tmp_path / "BSDS500" / "val" / "101085.jpg").unlink()
    code, _, err = command(*asked[:-1], tmp_path / "other")
    assert code == 2
    assert "has no 101085.jpg" in err
