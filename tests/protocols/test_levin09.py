"""The evaluation on Levin's real blurs: geometry, turned kernels, scores up to a shift."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import convolve, shift

from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.evaluation.methods import baseline
from unfold.evaluation.run_protocol import evaluate
from unfold.metrics import psnr
from unfold.metrics.shifted import undo_shift
from unfold.physics.degrade import blur_array
from unfold.protocols.levin09 import BORDER, REACH, Levin09, read_kernel

ROOT = Path(os.environ.get("UNFOLD_DATA", "nowhere"))
SHIFTS = {3: (2, -1), 4: (-1, 3)}
REAL = ROOT / "Levin09"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A set of two kernels, the way that its files lie, whose blurred images are shifted against their references."""
    rng = np.random.default_rng(0)
    (tmp_path / "gt").mkdir()
    truth = scene(96, 104)[..., 0]
    Image.fromarray(truth).save(tmp_path / "gt" / "im1.png")
    for number, move in SHIFTS.items():
        kernel = (255 * rng.random((7, 5)) ** 6).astype(np.uint8)
        blurred = convolve(truth.astype(float), kernel / kernel.sum(), mode="nearest")  # scipy's turns the kernel
        pixels = np.rint(shift(blurred, move, order=0, mode="nearest")).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"im1_kernel{number}_img.png")
        Image.fromarray(kernel if number == 4 else kernel[::-1, ::-1]).save(tmp_path / "gt" / f"kernel{number}.png")
    return tmp_path


def test_photographs_are_continued_and_results_cropped_again(folder: Path) -> None:
    protocol = Levin09(sigma=5.1)
    three, four = protocol.cases(str(folder))
    assert (three.name, four.options) == ("im1_kernel3", {"image": 1, "kernel": 4})
    sample = protocol.sample(four)
    y, blurred = sample.inputs["y"], np.asarray(Image.open(four.files[0]))
    assert y.shape == (120, 128, 3), "96 and 104 by three sides of 7, to multiples of 8"
    assert sample.window == (slice(0, 96), slice(0, 104))
    for channel in range(3):
        assert np.array_equal(np.rint(y[:96, :104, channel] * 255), blurred)
    assert np.abs(np.diff(y, axis=0, append=y[:1])).max() <= np.abs(np.diff(y[:96], axis=0)).max() + 1e-6, "no jump"
    assert (sample.inputs["scale"], sample.inputs["sigma"]) == (1, 5.1 / 255)
    assert sample.target is not None
    assert np.array_equal(sample.target[..., 0], np.asarray(Image.open(folder / "gt" / "im1.png")))


def test_kernels_are_those_of_a_convolution(folder: Path) -> None:
    """Blurred by its kernel, the reference is the image, but for its shift and 8 bits."""
    protocol = Levin09()
    for case in protocol.cases(str(folder)):
        sample = protocol.sample(case)
        assert sample.target is not None
        assert sample.inputs["kernel"].sum() == pytest.approx(1)
        model = blur_array(sample.target / 255, sample.inputs["kernel"].astype(np.float64))
        image = sample.inputs["y"][:96, :104, :1].astype(np.float64)
        moved, by = undo_shift(model, image, BORDER, REACH)
        assert by == SHIFTS[case.options["kernel"]]
        assert np.abs(moved - image)[BORDER:-BORDER, BORDER:-BORDER].max() < 0.6 / 255


def test_a_known_kernel_sharpens_whatever_its_shift(folder: Path) -> None:
    protocol = Levin09(sigma=0.5)
    cases = protocol.cases(str(folder))
    scores = {
        name: [result.scores["psnr"] for result in evaluate(protocol, baseline(name, protocol), cases)]
        for name in ("identity", "wiener")
    }
    gains = [sharp - blurred for sharp, blurred in zip(scores["wiener"], scores["identity"], strict=True)]
    assert min(gains) > 2


def test_the_mean_of_channels_is_scored_without_a_border_after_the_shift() -> None:
    protocol, target = Levin09(), scene(90, 90)[..., :1]
    noise = np.random.default_rng(1).normal(0, 0.02, (90, 90, 3))
    result = np.roll(target / 255 + noise, (4, -7), axis=(0, 1))
    finished = protocol.finish(result)
    assert finished.dtype == np.uint8
    assert finished.shape == (90, 90, 1)
    grey = np.rint(255 * (target / 255 + noise).mean(axis=2, keepdims=True).clip(0, 1))
    inside = (grey - target)[BORDER:-BORDER, BORDER:-BORDER]
    expected = 10 * np.log10(255**2 / np.mean(inside**2))
    assert protocol.score(finished, target)["psnr"] == pytest.approx(expected, abs=1e-9)


def test_mistakes_are_one_line(folder: Path, command: Callable[..., tuple[int, str, str]]) -> None:
    given = ("--data", folder, "--model", "identity")
    assert "sigma is in 255 units and not negative" in command("test", "--protocol", "levin09:sigma=-1", *given)[2]
    (folder / "gt" / "kernel3.png").unlink()
    assert "kernel3.png, which belongs to im1_kernel3_img.png" in command("test", "--protocol", "levin09", *given)[2]
    (folder / "im1_kernel3_img.png").rename(folder / "other.png")
    assert "other.png is not called as an image of this set" in command("test", "--protocol", "levin09", *given)[2]
    (folder / "other.png").unlink()
    Image.fromarray(scene(50, 50)[..., 0]).save(folder / "im1_kernel4_img.png")
    assert "they are of one size, and more than 54 pixels" in command("test", "--protocol", "levin09", *given)[2]
    with pytest.raises(UnfoldError, match="not negative"):
        Levin09(sigma=float("nan"))


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="no Levin09 below UNFOLD_DATA: not ours to ship")
@pytest.mark.parametrize("number", range(1, 9))
def test_turned_the_other_way_every_kernel_of_the_real_set_fits_worse(number: int) -> None:
    case = Levin09().cases("Levin09")[number - 1]
    image, target = (np.asarray(Image.open(path))[..., None] / 255 for path in case.files[:2])
    kernel = read_kernel(case.files[2], number)
    fits = []
    for turned in (kernel, kernel[::-1, ::-1]):
        moved, _ = undo_shift(blur_array(target, turned), image, BORDER, REACH)
        fits.append(psnr(moved, image, BORDER))
    assert fits[0] > fits[1] + 1
