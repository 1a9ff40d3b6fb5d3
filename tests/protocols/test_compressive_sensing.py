"""Compressive sensing: grey images, tiles that know nothing of each other, and weights of the ratio asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from tests import narrow
from tests.synthetic import scene
from unfold.data.images import read_grey
from unfold.evaluation.run_protocol import evaluate
from unfold.models.dgunet_cs import measurements_of
from unfold.models.run_on_arrays import network
from unfold.protocols.compressive_sensing import CompressiveSensing

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A grey image, and one in colour."""
    root = tmp_path / "set"
    root.mkdir()
    Image.fromarray(scene(70, 100, 1)[..., 0]).save(root / "a.tif")
    Image.fromarray(scene(64, 96, 2)).save(root / "b.png")
    return root


def test_grey_images_are_read_as_the_published_script_reads_them(tmp_path: Path) -> None:
    """cv2.imread in colour, then Y: of colour images, palettes of greys and of colours, grey and black and white."""
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    grey = Image.fromarray(pixels[..., 0])
    palette = grey.copy()
    palette.putpalette([value for i in range(256) for value in (255 - i,) * 3])
    pictures = {
        "colour": Image.fromarray(pixels),
        "grey": grey,
        "grey_palette": palette,
        "colour_palette": Image.fromarray(pixels).quantize(64),
        "one_bit": grey.convert("1"),
    }
    for name, picture in pictures.items():
        for ending in ("png", "tif"):
            path = tmp_path / f"{name}.{ending}"
            picture.save(path)
            found = read_grey(path)
            expected = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2YCrCb)[..., 0]
            assert found.dtype == np.uint8
            assert np.array_equal(found, expected), path.name
    assert np.array_equal(read_grey(tmp_path / "grey.tif"), pixels[..., 0])
    assert np.array_equal(read_grey(tmp_path / "grey_palette.tif"), 255 - pixels[..., 0])
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert abs(read_grey(tmp_path / "colour.png") - luma).max() < 0.51


def test_tiles_are_restored_each_by_itself_with_zeros_beyond_the_image(folder: Path) -> None:
    def mirror(given: dict[str, Any]) -> np.ndarray:
        return given["image"][::-1] + np.float32(0.25)

    grey = scene(70, 100, 1)[..., :1] / np.float32(255)
    for tile, size in ((32, (96, 128)), (64, (128, 128)), (128, (128, 128))):
        protocol = CompressiveSensing(tile=tile)
        result, _ = evaluate(protocol, mirror, protocol.cases(str(folder)))
        padded = np.zeros((*size, 1), np.float32)
        padded[:70, :100] = grey
        turned = padded.reshape(-1, tile, size[1], 1)[:, ::-1].reshape(padded.shape)
        assert np.array_equal(result.image, np.minimum(turned[:70, :100] + np.float32(0.25), 1)), tile
    protocol = CompressiveSensing(tile=0)
    result, _ = evaluate(protocol, mirror, protocol.cases(str(folder)))
    assert np.array_equal(result.image, np.minimum(grey[::-1] + np.float32(0.25), 1))


def test_a_network_gets_each_tile_as_if_it_were_the_image(folder: Path) -> None:
    net = narrow.narrow("dgunet_cs")
    protocol = CompressiveSensing(ratio=10, tile=32)
    results = evaluate(protocol, network(net, torch.device("cpu")), protocol.cases(str(folder)))
    _, result = results
    image = torch.from_numpy(read_grey(folder / "b.png") / np.float32(255))
    blocks = image.view(2, 32, 3, 32).transpose(1, 2).reshape(6, 1, 32, 32)
    with torch.inference_mode():
        expected = net(image=blocks).view(2, 3, 32, 32).transpose(1, 2).reshape(64, 96).clamp(0, 1)
    assert np.abs(result.image[..., 0] - expected.numpy()).max() < 1e-5
    whole = CompressiveSensing(ratio=10, tile=0)
    case = whole.cases(str(folder))[1]
    (other,) = evaluate(whole, network(net, torch.device("cpu")), [case])
    assert np.abs(other.image - result.image).max() > 1e-3


def test_results_are_scored_in_255_units_against_8_bits_without_rounding() -> None:
    target = scene(40, 50, 0)[..., :1]
    result = (target / 255 + np.random.default_rng(0).normal(0, 0.05, target.shape)).astype(np.float32)
    finished = CompressiveSensing().finish(result)
    assert finished.min() == 0 or result.min() > 0
    assert finished.max() == 1
    scores = CompressiveSensing().score(finished, target)
    wide = finished.astype(np.float64) * 255
    rms = math.sqrt(np.square(wide - target).mean())
    assert scores["psnr"] == pytest.approx(20 * math.log10(255 / rms), abs=1e-9)
    ours = structural_similarity(wide[..., 0], target[..., 0].astype(np.float64), data_range=255)
    assert scores["ssim"] == pytest.approx(ours, abs=1e-9)


def test_the_measurements_of_a_block_are_those_of_the_published_ratios() -> None:
    ratios = (1, 4, 10, 25, 30, 40, 50, 100)
    assert [measurements_of(ratio) for ratio in ratios] == [11, 41, 103, 256, 308, 410, 512, 1024]


def test_the_command_line_takes_weights_of_the_ratio_asked_for_and_no_others(
    folder: Path, command: Command, tmp_path: Path
) -> None:
    given = (
        "test",
        "--data",
        folder,
        "--weights",
        narrow.saved("dgunet_cs", tmp_path / "net.pth"),
        "--device",
        "cpu",
        "--protocol",
    )
    expected = ("--json", tmp_path / "numbers.json", "--output", tmp_path / "out")
    code, table, err = command(*given, "compressive_sensing:ratio=10", *expected)
    assert (code, err) == (0, "")
    assert len(table.splitlines()) == 6
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert found["protocol"]["options"] == {"ratio": 10, "tile": 128}
    saved = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert saved.shape == (70, 100)
    mse = np.square(saved.astype(float) - scene(70, 100, 1)[..., 0]).mean()
    assert found["images"][0]["psnr"] == pytest.approx(20 * math.log10(255 / math.sqrt(mse)), abs=0.02)
    for option in ("", ":ratio=25", ":ratio=9"):
        code, table, err = command(*given, f"compressive_sensing{option}", *expected)
        assert (code, table, err.count("\n")) == (2, "", 1)
        assert "these weights take 103 measurements of a block, and ratio=" in err
        assert "give compressive_sensing:ratio=10" in err


def test_mistakes_are_one_line(folder: Path, command: Command, tmp_path: Path) -> None:
    for options, message in {
        "ratio=0": "ratio is per cent",
        "ratio=101": "ratio is per cent",
        "ratio=nan": "ratio is a number, and 'nan' is not",
        "tile=100": "tile is a multiple of 32",
        "tile=-32": "tile is a multiple of 32",
        "tile=0": "identity needs y, which compressive_sensing does not give",
    }.items():
        given = ("--data", folder, "--model", "identity")
        code, _, err = command("test", "--protocol", f"compressive_sensing:{options}", *given)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err
    given = ("--data", folder, "--weights", narrow.saved("dgunet_deblur", tmp_path / "net.pth"), "--device", "cpu")
    code, _, err = command("test", "--protocol", "compressive_sensing", *given)
    assert code == 2
    assert "dgunet_deblur takes y, and compressive_sensing gives image" in err


def test_sixteen_bits_are_measured_and_scored_in_full_depth(folder: Path) -> None:
    deep = scene(40, 40)[..., 0].astype(np.uint16) * 257 - (scene(40, 40)[..., 0] > 0)
    Image.fromarray(deep).save(folder / "deep.png")
    protocol = CompressiveSensing()
    sample = next(protocol.sample(case) for case in protocol.cases(str(folder)) if case.name == "deep")
    assert sample.target is not None
    assert np.array_equal(sample.inputs["image"][..., 0], deep.astype(np.float32) / np.float32(65535))
    assert np.array_equal(sample.target, sample.inputs["image"])
