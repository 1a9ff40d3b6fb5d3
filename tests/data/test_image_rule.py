"""One rule for images in training, validation and protocols: 8 or 16 bits, grey or colour, or bands."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import unfold
from tests.synthetic import scene
from unfold.data.images import read_channels, read_image, read_uint8, to_float
from unfold.data.patches import random_patch, read_store
from unfold.degradations.paired import Paired
from unfold.errors import UnfoldError
from unfold.inference.picture_files import read_picture
from unfold.protocols.any_pairs import Pairs
from unfold.protocols.deblur import Deblur
from unfold.protocols.gaussian_denoising import GaussianDenoising
from unfold.protocols.nrl_gdn_evaluations import NRLGDNReal
from unfold.util import log_once

Command = Callable[..., tuple[int, str, str]]
DEEP = np.random.default_rng(0).integers(0, 65536, (24, 32, 3)).astype(np.uint16)
CUBE = np.random.default_rng(1).integers(0, 256, (48, 40, 6)).astype(np.uint8)
NET = "{NAME: dgunet_denoise, ARGS: {stages: 3, width: 8, growth: 4, tail: 4, operator_width: 4, channels: %d}}"
SHORT = "{PATCH: 16, BATCH: 1, PATCHES: 1, EPOCHS: 1, WORKERS: 0}"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    log_once.forget()


def png16(pixels: np.ndarray, transparent: np.ndarray) -> bytes:
    """A PNG of 16 bits, grey or colour, with one value that is transparent, which no library here writes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, 0 if channels == 1 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = chunk(b"IHDR", head) + chunk(b"tRNS", transparent.astype(">u2").tobytes())
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".tif":
        bands = pixels.ndim == 3 and pixels.shape[2] > 1
        kind = "rgb" if bands and pixels.shape[2] in (3, 4) else "minisblack"
        tifffile.imwrite(path, pixels, planarconfig="contig" if bands else None, photometric=kind)
    else:
        Image.fromarray(pixels).save(path)


def recipe(tmp_path: Path, kind: str, channels: int, data: Path, extra: str = "") -> Path:
    path = tmp_path / f"{kind}{channels}.yaml"
    path.write_text(
        f"MODEL: {NET % channels}\nDATA: {{KIND: {kind}, TRAIN: {data}, VAL: {data}, TEST: {data}}}\n"
        f"TRAIN: {SHORT}\nOUTPUT: {tmp_path / f'run_{kind}{channels}_{data.name}'}\nDEVICE: cpu\n{extra}"
    )
    return path


def test_channels_are_fitted_to_the_network_in_the_depth_of_the_file(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "deep.tif", DEEP, photometric="rgb")
    tifffile.imwrite(tmp_path / "grey.tif", DEEP[..., 0])
    assert np.array_equal(read_channels(tmp_path / "deep.tif", 3), DEEP)
    assert np.array_equal(read_channels(tmp_path / "grey.tif", 1), DEEP[..., :1])
    assert np.array_equal(read_channels(tmp_path / "grey.tif", 3), DEEP[..., [0, 0, 0]])
    bright = read_channels(tmp_path / "deep.tif", 1)[..., 0]
    assert bright.dtype == np.uint16
    assert np.abs(DEEP @ np.array([0.299, 0.587, 0.114]) - bright).max() < 2
    assert np.array_equal(read_uint8(tmp_path / "deep.tif"), np.rint(DEEP / 257).astype(np.uint8))


@pytest.mark.parametrize("channels", [4, 5, 6])
def test_bands_beside_rgb_are_never_left_out_without_a_word(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a.tif"
    cube = CUBE.repeat(2, axis=2)[..., :channels]
    tifffile.imwrite(path, cube, photometric="rgb", extrasamples=["unspecified"] * (channels - 3))
    assert np.array_equal(read_channels(path, channels), cube)
    for read in (read_image, lambda path: read_channels(path, 3), lambda path: read_channels(path, 1)):
        with pytest.raises(UnfoldError, match=f"a.tif has {channels} channels"):
            read(path)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_colour_that_a_png_of_16_bits_calls_transparent_is_not_taken_for_opaque(
    tmp_path: Path, channels: int
) -> None:
    deep = DEEP[..., :channels]
    for name, colour in (("seen", deep[4, 5]), ("unseen", np.array([1, 2, 3])[:channels])):
        (tmp_path / f"{name}.png").write_bytes(png16(deep, colour))
    with pytest.raises(UnfoldError, match="is transparent in places"):
        read_channels(tmp_path / "seen.png", channels)
    assert np.array_equal(read_channels(tmp_path / "unseen.png", channels), deep)
    found = read_picture(tmp_path / "seen.png")
    assert np.array_equal(found.pixels, deep)
    assert np.array_equal(found.alpha == 0, (deep == deep[4, 5]).all(axis=2))


@pytest.mark.parametrize("grey", [False, True])
def test_a_colour_that_a_png_calls_transparent_is_not_taken_for_opaque(tmp_path: Path, grey: bool) -> None:
    picture = Image.fromarray(scene(20, 24)).convert("L" if grey else "RGB")
    seen, unseen = picture.getpixel((0, 0)), 1 if grey else (1, 2, 3)
    picture.save(tmp_path / "seen.png", transparency=seen)
    picture.save(tmp_path / "unseen.png", transparency=unseen)
    with pytest.raises(UnfoldError, match="is transparent in places"):
        read_channels(tmp_path / "seen.png", 3)
    assert np.array_equal(read_channels(tmp_path / "unseen.png", 1 if grey else 3).squeeze(), np.asarray(picture))


@pytest.mark.parametrize("ending", ["npy", "tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 31])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_bands_are_read_as_they_are(ending: str, channels: int, dtype: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(channels)
    cube = rng.random((12, 10, channels))
    cube = cube.astype(dtype) if np.issubdtype(dtype, np.floating) else (cube * np.iinfo(dtype).max).astype(dtype)
    path = tmp_path / f"a.{ending}"
    save(cube, path)
    found = read_channels(path, channels)
    assert found.dtype == (np.float32 if np.issubdtype(dtype, np.floating) else dtype)
    assert np.array_equal(found, cube.astype(found.dtype))


def test_bands_in_other_layouts_of_tiff_and_alpha_as_a_band(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "pages.tif", CUBE.transpose(2, 0, 1), photometric="minisblack")
    tifffile.imwrite(tmp_path / "rows.tif", CUBE)
    planes = CUBE.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="minisblack", planarconfig="separate")
    for name in ("pages", "rows", "planes"):
        assert np.array_equal(read_channels(tmp_path / f"{name}.tif", 6), CUBE), name
    Image.fromarray(CUBE[..., :4], "RGBA").save(tmp_path / "raw.png")
    assert np.array_equal(read_channels(tmp_path / "raw.png", 4), CUBE[..., :4])
    with pytest.raises(UnfoldError, match="transparent in places"):
        read_channels(tmp_path / "raw.png", 3)


def test_what_no_network_of_so_many_channels_takes_is_one_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, array, channels, expected in [
        ("a", rng.random((8, 8, 6)) * 255, 6, "floats from .* have to be in \\[0,1\\]"),
        ("b", np.full((8, 8, 6), np.nan), 6, "have to be in"),
        ("c", rng.integers(0, 9, (8, 8, 6)), 6, "numbers of kind int64"),
        ("d", CUBE.transpose(2, 0, 1), 6, "channels come last"),
        ("e", CUBE, 4, "has 6 channels, and a network of 4 channels takes images of 4"),
        ("f", CUBE, 3, "has 6 channels, and a network of 3 channels takes colour or grey"),
        ("g", np.array([[{}]]), 1, "is no array that can be read"),
        ("h", np.zeros((2, 8, 8, 3), np.uint8), 3, "an image is .H,W. or .H,W,C."),
    ]:
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(UnfoldError, match=expected) as caught:
            read_channels(tmp_path / f"{name}.npy", channels)
        assert "\n" not in str(caught.value)
    Image.fromarray(scene()).save(tmp_path / "colour.png")
    with pytest.raises(UnfoldError, match="is in colour, and a network of 6 channels takes images of 6: TIFF"):
        read_channels(tmp_path / "colour.png", 6)


@pytest.mark.parametrize("kind", ["gaussian", "paired"])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_deep_images_train_validate_and_test_whatever_the_kind(
    kind: str, channels: int, tmp_path: Path, command: Command
) -> None:
    data = tmp_path / "set"
    for i, name in enumerate(["input", "target"] if kind == "paired" else [""]):
        save(scene(40, 40, seed=i)[..., 0], data / name / "0.png")
        save(scene(40, 40, seed=i), data / name / "1.jpg")
        save(np.tile(DEEP, (2, 2, 1)), data / name / "2.tif")
        save(scene(40, 40)[..., 0].astype(np.uint16) * 255, data / name / "3.png")
        (data / name / "._0.png").write_bytes(b"macOS")
    path = recipe(tmp_path, kind, channels, data)
    code, _, err = command("train", "--config", path)
    assert (code, err) == (0, "")
    weights = tmp_path / f"run_{kind}{channels}_set" / "checkpoints" / "last.pth"
    protocol = "gaussian_denoise" if kind == "gaussian" else "pairs"
    code, _, err = command("test", "--protocol", protocol, "--data", data, "--weights", weights, "--device", "cpu")
    assert (code, err) == (0, "")
    assert command("test", "--config", path, "--weights", weights)[::2] == (0, "")


@pytest.mark.parametrize("kind", ["gaussian", "paired"])
@pytest.mark.parametrize("ending", ["npy", "tif"])
def test_a_network_of_six_channels_trains_and_tests_on_bands(
    kind: str, ending: str, tmp_path: Path, command: Command
) -> None:
    data = tmp_path / "set"
    for i, name in enumerate(["input", "target"] if kind == "paired" else [""]):
        save(np.roll(CUBE, i, axis=0), data / name / f"0.{ending}")
        save(CUBE.astype(np.uint16) * 255, data / name / f"1.{ending}")
    path = recipe(tmp_path, kind, 6, data)
    assert command("train", "--config", path)[::2] == (0, "")
    weights = tmp_path / f"run_{kind}6_set" / "checkpoints" / "last.pth"
    assert command("test", "--config", path, "--weights", weights)[::2] == (0, "")
    protocol = "gaussian_denoise" if kind == "gaussian" else "pairs"
    given = ("--protocol", protocol, "--data", data, "--weights", weights, "--output", tmp_path / "out")
    assert command("test", *given, "--device", "cpu")[::2] == (0, "")
    assert tifffile.imread(tmp_path / "out" / "0.tif").shape == (48, 40, 6)


def test_that_grey_becomes_three_channels_is_said_once_per_run(tmp_path: Path, caplog: Any) -> None:
    for i in range(3):
        save(scene(40, 40, seed=i)[..., 0], tmp_path / f"{i}.png")
    caplog.set_level(logging.INFO, "unfold")
    for run in (1, 2):
        log_once.forget()
        protocol = GaussianDenoising()
        for case in protocol.cases(str(tmp_path)):
            protocol.sample(case)
        assert sum("three equal channels" in record.message for record in caplog.records) == run


@pytest.mark.parametrize("kind", ["usrnet", "nrl_gdn", "rain", "compressive_sensing"])
def test_every_kind_takes_deep_and_grey_images_and_says_where_it_rounds(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "unfold")
    save(np.tile(DEEP, (4, 3, 1)), tmp_path / "0.tif")
    save(np.tile(DEEP, (4, 3, 1))[..., 0], tmp_path / "1.png")
    degradation = unfold.registry.find(unfold.registry.DEGRADATION, kind).build({})
    for path in sorted(tmp_path.iterdir()):
        images = degradation.read(path)
        sample = degradation.make(images, np.random.default_rng(0), 1)
        assert sample["target"].shape[:2] == (96, 96)
    rounded = [record for record in caplog.records if "rounded to 8" in record.message]
    assert len(rounded) == (0 if kind == "compressive_sensing" else 1)


def test_pairs_of_sixteen_bits_are_given_in_full_depth(tmp_path: Path) -> None:
    save(DEEP, tmp_path / "input" / "0.tif")
    save(DEEP[::-1].copy(), tmp_path / "target" / "0.tif")
    degradation = Paired(saturation=True)
    (pair,) = degradation.sources(str(tmp_path))
    sample = degradation.make(degradation.read(pair), np.random.default_rng(1), 1)
    assert sample["y"].dtype == np.float32
    (case,) = Pairs().cases(str(tmp_path))
    found = Pairs().sample(case)
    assert found.target is not None
    assert np.array_equal(found.inputs["y"], DEEP.astype(np.float32) / np.float32(65535))
    assert np.array_equal(found.target, to_float(DEEP[::-1]))
    published = Deblur().sample(case)
    assert published.target is not None
    assert np.array_equal(published.target, np.rint(DEEP[::-1] / 257).astype(np.uint8)), "scored as files of 8 bits are"
    assert np.array_equal(published.inputs["y"], found.inputs["y"])


def test_deep_photographs_reach_unscored_protocols_in_full_depth(tmp_path: Path) -> None:
    save(DEEP, tmp_path / "0.tif")
    save(np.eye(3, dtype=np.uint8) * 255, tmp_path / "kernels" / "0.png")
    protocol = NRLGDNReal()
    (case,) = protocol.cases(str(tmp_path))
    y = protocol.sample(case).inputs["y"]
    assert np.array_equal(y[3:-3, 3:-3], DEEP.astype(np.float32) / np.float32(65535))


ENLARGER = """
import torch
from unfold.facts import image, whole
from unfold.models.unfolding import UnfoldingNetwork


class Larger(UnfoldingNetwork):
    def __init__(self, stages: int = 1) -> None:
        super().__init__(stages)
        self.gain = torch.nn.Parameter(torch.tensor(1.0))

    @property
    def inputs(self):
        return {"y": image(3), "scale": whole()}

    def begin(self, y, *, scale):
        return torch.nn.functional.interpolate(y, scale_factor=scale), None

    def stage(self, k, x, memory, context):
        return self.gain * x, None


class Twice(UnfoldingNetwork):
    def __init__(self, stages: int = 1) -> None:
        super().__init__(stages)
        self.gain = torch.nn.Parameter(torch.tensor(1.0))

    @property
    def inputs(self):
        return {"y": image(3)}

    def begin(self, y):
        return torch.nn.functional.interpolate(y, scale_factor=2), None

    def stage(self, k, x, memory, context):
        return self.gain * x, None
"""


def low_and_high(home: Path, scale: int, count: int = 2) -> None:
    """Targets of blocks, and inputs with a pixel for each."""
    for i in range(count):
        small = scene(30 + i, 20, seed=i)
        save(small, home / "LR" / f"{i}x{scale}.png")
        save(small.repeat(scale, axis=0).repeat(scale, axis=1), home / "HR" / f"{i}.png")


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("patch", [12, 48, 144])
def test_patches_of_low_and_high_resolution_are_cut_in_register(scale: int, patch: int, tmp_path: Path) -> None:
    low_and_high(tmp_path, scale)
    degradation = Paired()
    store, _ = read_store(degradation.sources(str(tmp_path)), degradation.read)
    assert (store.scale, tuple(degradation.scales)) == (scale, (scale,))
    places = set()
    for seed in range(20):
        parts = random_patch(store, patch, np.random.default_rng(seed))
        assert parts["target"].shape == (patch, patch, 3)
        assert np.array_equal(parts["input"].repeat(scale, axis=0).repeat(scale, axis=1), parts["target"])
        places.add(parts["input"].tobytes())
    assert len(places) > 4


@pytest.mark.parametrize("name", ["Larger", "Twice"])
def test_networks_of_peoples_own_train_and_test_on_low_and_high_resolution(
    name: str, tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "unfold")
    low_and_high(tmp_path / "set", 2)
    (tmp_path / "larger.py").write_text(ENLARGER)
    data = tmp_path / "set"
    path = tmp_path / "a.yaml"
    path.write_text(
        f"MODEL: {{NAME: 'larger.py:{name}'}}\nDATA: {{KIND: paired, TRAIN: {data}, VAL: {data}, TEST: {data}}}\n"
        f"TRAIN: {SHORT}\nOUTPUT: {tmp_path / 'run'}\nDEVICE: cpu\n"
    )
    code, _, err = command("train", "--config", path)
    assert (code, err) == (0, "")
    assert sum("2 pairs in" in record.message and "a scale" in record.message for record in caplog.records) == 1
    weights = tmp_path / "run" / "checkpoints" / "last.pth"
    given = ("--data", data, "--weights", weights, "--model", f"{tmp_path / 'larger.py'}:{name}", "--device", "cpu")
    code, _, err = command("test", "--protocol", "pairs", *given)
    assert (code, err) == (0, "")
    assert command("train", "--config", path, "TRAIN.PATCH", 17, "--overwrite")[0] == 2


def test_a_network_that_does_not_enlarge_is_one_line(tmp_path: Path, command: Command) -> None:
    low_and_high(tmp_path / "set", 2)
    data = tmp_path / "set"
    text = (
        f"DATA: {{KIND: paired, TRAIN: {data}, VAL: {data}}}\nTRAIN: {SHORT}\nOUTPUT: {tmp_path / 'run'}\nDEVICE: cpu\n"
    )
    (tmp_path / "usrnet.yaml").write_text(f"MODEL: {{NAME: usrnet_tiny}}\n{text}")
    code, _, err = command("train", "--config", tmp_path / "usrnet.yaml")
    assert (code, err.count("\n")) == (2, 1)
    assert "usrnet_tiny takes kernel, scale, sigma, y, and samples of DATA.KIND paired hold y, scale" in err
    (tmp_path / "dgunet.yaml").write_text(f"MODEL: {NET % 3}\n{text}")
    code, _, err = command("train", "--config", tmp_path / "dgunet.yaml")
    assert (code, err.count("\n")) == (2, 1), err
    save(scene(90, 60), data / "HR" / "1.png")
    (tmp_path / "larger.py").write_text(ENLARGER)
    (tmp_path / "own.yaml").write_text(f"MODEL: {{NAME: 'larger.py:Larger'}}\n{text}")
    code, _, err = command("train", "--config", tmp_path / "own.yaml")
    assert (code, err.count("\n")) == (2, 1), err
    assert "1.png" in err


def test_options_of_the_kind_reach_its_validation(tmp_path: Path, command: Command) -> None:
    data = tmp_path / "set"
    for name in ("a/0_1.png", "a/0_2.png", "b/0.png"):
        save(scene(40, 40), data / name)
    args = "  ARGS: {input: a, target: b, name: '{id}_*'}\n"
    path = tmp_path / "a.yaml"
    path.write_text(
        f"MODEL: {NET % 3}\nDATA:\n  KIND: paired\n  TRAIN: {data}\n  VAL: {data}\n{args}"
        f"TRAIN: {SHORT}\nOUTPUT: {tmp_path / 'run'}\nDEVICE: cpu\n"
    )
    code, _, err = command("train", "--config", path)
    assert (code, err) == (0, "")
    protocol = "pairs:input=a,target=b,name={id}_*"
    code, out, err = command("test", "--protocol", protocol, "--data", data, "--model", "identity")
    assert (code, err) == (0, "")
    assert "0_2" in out
