"""Deraining and deblurring: every score recomputed from its definition, and the numbers of real inputs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from skimage.metrics import structural_similarity

from tests import narrow
from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.evaluation.methods import BASELINES
from unfold.evaluation.run_protocol import evaluate
from unfold.models.run_on_arrays import network
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.deblur import Deblur, RealBlur
from unfold.protocols.derain import Derain, DerainSynthetic
from unfold.protocols.given_pairs import PairProtocol

Command = Callable[..., tuple[int, str, str]]
ROOT = Path(os.environ.get("UNFOLD_DATA", "nowhere"))
ALL = (Derain(), Deblur(), RealBlur())
WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


def blurred(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A blurred, noisy picture and the sharp one, 8 bits."""
    target = scene(height, width, seed)
    noise = np.random.default_rng(seed).normal(0, 6, target.shape)
    return (cv2.GaussianBlur(target, (0, 0), 1.5) + noise).clip(0, 255).astype(np.uint8), target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pairs, one of a size that is no multiple of 8."""
    for i, size in enumerate([(48, 64), (45, 51)]):
        for name, image in zip(("input", "target"), blurred(*size, seed=i), strict=True):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / "set" / name / f"{i}.png")
    return tmp_path / "set"


@pytest.mark.parametrize("protocol", ALL, ids=lambda protocol: protocol.name)
def test_inputs_are_the_files_and_results_are_saved_as_8_bits(protocol: PairProtocol, folder: Path) -> None:
    cases = protocol.cases(str(folder))
    assert [case.name for case in cases] == ["0", "1"]
    y, target = blurred(45, 51, seed=1)
    sample = protocol.sample(cases[1])
    assert set(sample.inputs) == set(protocol.inputs) == {"y"}
    assert sample.inputs["y"].dtype == np.float32
    assert np.array_equal(sample.inputs["y"], y.astype(np.float32) / np.float32(255))
    assert sample.target is not None
    assert np.array_equal(sample.target, target)
    assert np.array_equal(protocol.restore(BASELINES["identity"].method, sample), y)
    halves = np.array([-3, 0.5, 1.5, 2.5, 254.5, 300], np.float32).reshape(1, 2, 3) / np.float32(255)
    assert protocol.finish(halves).tolist() == [[[0, 0, 2], [2, 254, 255]]], "clamped; half to even"


def test_derain_y_scores_the_brightness_of_8_bit_images() -> None:
    result, target = blurred(48, 64)

    def brightness(image: np.ndarray) -> np.ndarray:
        """MATLAB's rgb2ycbcr of uint8."""
        return np.floor(16.5 + image @ np.array([65.481, 128.553, 24.966]) / 255)

    scores = Derain().score(result, target)
    a, b = brightness(result), brightness(target)
    assert scores["psnr"] == pytest.approx(20 * np.log10(255 / np.sqrt(np.mean((a - b) ** 2))), abs=1e-9)
    _, full = structural_similarity(a, b, data_range=255, full=True, **WANG)
    assert scores["ssim"] == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-9)
    error = np.mean((result.astype(float) - target) ** 2)
    assert scores["psnr_rgb"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)
    assert scores["psnr"] > scores["psnr_rgb"] + 1, "they differ"


def test_deblur_rgb_scores_colours_and_the_ssim_of_a_volume() -> None:
    result, target = blurred(40, 56)
    scores = Deblur().score(result, target)
    x, y = result.astype(float), target.astype(float)
    assert scores["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean((x - y) ** 2)), abs=1e-9)
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None, None] ** 2 + offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(values: np.ndarray) -> np.ndarray:
        return ndimage.correlate(values, window, mode="nearest")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mx, my = mean(x), mean(y)
    upper = (2 * mx * my + c1) * (2 * (mean(x * y) - mx * my) + c2)
    lower = (mx**2 + my**2 + c1) * (mean(x * x) - mx**2 + mean(y * y) - my**2 + c2)
    assert scores["ssim"] == pytest.approx((upper / lower).mean(), abs=1e-9)


def test_realblur_is_scored_after_brightness_and_position_are_fitted() -> None:
    """The published evaluation, step by step."""
    smooth = cv2.GaussianBlur(scene(96, 112, seed=3), (0, 0), 2)
    shift = np.array([[1, 0, 1.4], [0, 1, -2.2]])
    result = (0.85 * cv2.warpAffine(smooth, shift, (112, 96), borderMode=cv2.BORDER_REFLECT)).astype(np.uint8)
    z, x = (image.astype(np.float32) / np.float32(255) for image in (result, smooth))
    z = z * (np.sum(x * z) / np.sum(z * z))
    grey_x, grey_z = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (x, z))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 0)
    begin = np.eye(3, dtype=np.float32)
    _, motion = cv2.findTransformECC(grey_x, grey_z, begin, cv2.MOTION_HOMOGRAPHY, stop, None, 5)
    inverse = cv2.WARP_INVERSE_MAP
    z = cv2.warpPerspective(z, motion, (112, 96), flags=cv2.INTER_CUBIC | inverse, borderMode=cv2.BORDER_REFLECT)
    mask = cv2.warpPerspective(np.ones_like(x), motion, (112, 96), flags=cv2.INTER_NEAREST | inverse)
    expected = 10 * np.log10(mask.sum() / np.sum((z * mask - x * mask) ** 2, dtype=np.float64))
    _, full = structural_similarity(x * mask, z * mask, data_range=1, channel_axis=2, full=True, **WANG)
    inside = mask[5:-5, 5:-5]
    found = RealBlur().score(result, smooth)
    assert found["psnr"] == pytest.approx(expected, abs=1e-3)
    assert found["ssim"] == pytest.approx(
        np.mean((full[5:-5, 5:-5] * inside).sum((0, 1)) / inside.sum((0, 1))), abs=1e-4
    )
    assert found["psnr"] > Deblur().score(result, smooth)["psnr"] + 8


@pytest.mark.parametrize("protocol", ALL, ids=lambda protocol: protocol.name)
def test_the_network_pads_by_reflection_as_the_published_realblur_test_does(
    protocol: PairProtocol, folder: Path
) -> None:
    net = narrow.narrow("dgunet_deblur")
    method = network(net, torch.device("cpu"))
    sample = protocol.sample(protocol.cases(str(folder))[1])
    height, width = ((n + 8) // 8 * 8 for n in (45, 51))
    padded = np.pad(sample.inputs["y"], ((0, height - 45), (0, width - 51), (0, 0)), mode="reflect")
    expected = method({"y": padded})[:45, :51]
    found = protocol.restore(method, sample)
    assert np.array_equal(found, protocol.finish(expected))
    assert not np.array_equal(found, protocol.finish(sample.inputs["y"])), "the network does something"


def test_a_pair_of_two_sizes_is_reported(folder: Path) -> None:
    Image.fromarray(scene(48, 48)).save(folder / "target" / "0.png")
    protocol = Deblur()
    with pytest.raises(UnfoldError, match=r"is 64x48 and .* 48x48"):
        list(evaluate(protocol, BASELINES["identity"].method, protocol.cases(str(folder))))


def test_the_command_line_writes_numbers_and_pictures(folder: Path, command: Command, tmp_path: Path) -> None:
    for protocol in ALL:
        name = protocol.name
        code, out, err = command(
            *("test", "--protocol", name, "--data", folder, "--model", "identity", "--device", "cpu"),
            *("--json", tmp_path / f"{name}.json", "--output", tmp_path / name),
        )
        assert (code, err) == (0, "")
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found["protocol"] == {"name": name, "version": 1, "options": {"crop": 0}}
        y, target = blurred(45, 51, seed=1)
        row = {key: value for key, value in found["images"][1].items() if key in found["mean"] and key != "seconds"}
        assert row == protocol.score(y, target)
        assert np.array_equal(np.asarray(Image.open(tmp_path / name / "1.png")), y)
        assert f"{row['psnr']:.3f}" in out
    assert "wiener needs kernel" in command("test", "--protocol", name, "--data", folder, "--model", "wiener")[2]


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "GoPro_pairs").is_dir(), reason="no GoPro_pairs below UNFOLD_DATA: not ours to ship")
def test_blurred_pictures_of_gopro_have_their_known_psnr(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    given = ("--data", "GoPro_pairs", "--model", "identity", "--device", "cpu", "--json", path)
    assert command("test", "--protocol", "deblur_rgb", *given)[0] == 0
    assert [row["psnr"] for row in json.loads(path.read_text())["images"]] == pytest.approx([25.107, 24.050], abs=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(
    not ((ROOT / "Rain100H").is_dir() and (ROOT / "BSDS500").is_dir()),
    reason="no Rain100H and BSDS500 below UNFOLD_DATA: not ours to ship",
)
def test_rainy_pictures_of_rain100h_have_their_known_psnr(command: Command, tmp_path: Path) -> None:
    """With the clean side that is made of BSDS."""
    path = tmp_path / "numbers.json"
    assert command("data", "prepare", "rain100h", "--bsds", "BSDS500", "--output", tmp_path / "rain")[0] == 0
    given = ("--data", tmp_path / "rain", "--model", "identity", "--device", "cpu", "--json", path)
    assert command("test", "--protocol", "derain_y", *given)[0] == 0
    found = json.loads(path.read_text())
    assert len(found["images"]) == 100
    assert found["mean"]["psnr_rgb"] == pytest.approx(12.1255, abs=1e-3)
    assert found["mean"]["psnr"] == pytest.approx(13.5505, abs=1e-3)


def test_crop_takes_the_square_in_the_middle_where_there_is_one(folder: Path) -> None:
    _, target = blurred(45, 51, seed=1)
    case = Derain().cases(str(folder))[1]
    cut = Derain(crop=32).sample(case)
    assert cut.target is not None
    assert np.array_equal(cut.target, target[6:38, 9:41])
    assert cut.inputs["y"].shape == (32, 32, 3)
    assert np.array_equal(cut.inputs["y"], Derain().sample(case).inputs["y"][6:38, 9:41])
    assert Derain(crop=46).sample(case).inputs["y"].shape == (45, 51, 3), "too small: all of it"
    with pytest.raises(UnfoldError, match="crop is a number of pixels"):
        Deblur(crop=-1)


def test_synthetic_rain_falls_on_clean_images_in_the_same_way_every_time(tmp_path: Path) -> None:
    picture = scene(64, 48, seed=3)
    for name in ("a.png", "b.png"):
        Image.fromarray(picture).save(tmp_path / name)
    protocol = DerainSynthetic()
    first, other = (protocol.sample(case) for case in protocol.cases(str(tmp_path)))
    again = protocol.sample(protocol.cases(str(tmp_path))[0])
    assert np.array_equal(first.inputs["y"], again.inputs["y"])
    assert not np.array_equal(first.inputs["y"], other.inputs["y"]), "every picture has rain of its own"
    assert np.array_equal(first.target, picture)
    rain = 255 * first.inputs["y"] - picture
    assert rain.min() > -0.01, "rain brightens"
    assert rain.max() > 5
    small = DerainSynthetic(crop=32).sample(protocol.cases(str(tmp_path))[0])
    assert np.array_equal(small.target, picture[16:48, 8:40])


def test_a_share_of_the_synthetic_rain_is_rendered(tmp_path: Path) -> None:
    Image.fromarray(scene(64, 48, seed=3)).save(tmp_path / "a.png")
    drops, rendered = (DerainSynthetic(rendered=share) for share in (0.0, 1.0))
    (case,) = drops.cases(str(tmp_path))
    first, again, other = (p.sample(case).inputs["y"] for p in (rendered, rendered, drops))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    for wrong in ("2", "-1"):
        with pytest.raises(UnfoldError, match="rendered is a share, from 0 to 1"):
            parse_protocol(f"derain_synthetic:rendered={wrong}")
