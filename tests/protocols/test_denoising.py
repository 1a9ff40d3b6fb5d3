"""The denoising protocol is what its page says, and its baselines are really tuned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.synthetic import scene
from unfold.data.crop_to_show import busiest_crop
from unfold.degradations.gaussian_noise import GaussianNoise
from unfold.evaluation.classical_methods import CLASSICAL, tune
from unfold.metrics import psnr
from unfold.physics.noise import add_gaussian
from unfold.protocols.gaussian_denoising import GaussianDenoising
from unfold.protocols.protocol import Case


def test_noise_has_the_stated_strength_and_is_not_clamped() -> None:
    x = np.ones((200, 200, 3), np.float32)
    y = add_gaussian(x, 0.1, np.random.default_rng(0))
    assert y.dtype == np.float32
    assert y.max() > 1.2
    assert abs((y - x).std() - 0.1) < 1e-3
    assert abs((y - x).mean()) < 1e-3


def test_blind_training_sees_all_strengths_alike_often() -> None:
    x, rng = np.zeros((40, 40, 3), np.float32), np.random.default_rng(0)
    found = np.sort([255 * GaussianNoise(50, blind=True).degrade(x, rng)["y"].std() for _ in range(200)])
    assert np.abs(found - np.linspace(0, 50, 200)).max() < 6


def test_every_run_sees_the_same_noise_on_the_same_picture(pictures: Path, tmp_path: Path) -> None:
    protocol = GaussianDenoising(25)
    case = protocol.cases(str(pictures))[0]
    a, b = (protocol.sample(case) for _ in range(2))
    assert np.array_equal(a.inputs["y"], b.inputs["y"])
    flat = [tmp_path / "one.png", tmp_path / "two.png"]
    for path in flat:
        Image.fromarray(np.full((20, 20, 3), 99, np.uint8)).save(path)
    one, two = (protocol.sample(Case(path.stem, (path,))).inputs["y"] for path in flat)
    assert not np.array_equal(one, two)
    assert a.target is not None
    assert np.allclose(a.target, scene(48, 40, 0) / 255, atol=1e-7)


def test_results_are_clamped_before_they_are_scored() -> None:
    target = np.ones((16, 16, 3), np.float32)
    protocol = GaussianDenoising(25)
    scores = protocol.score(protocol.finish(target + 5), target)
    assert scores == {"psnr": np.inf, "ssim": pytest.approx(1)}


@pytest.mark.parametrize("name", sorted(CLASSICAL))
def test_the_tuned_strength_is_the_best_of_those_tried_on_the_training_images(name: str, pictures: Path) -> None:
    protocol = GaussianDenoising(25)
    cases = protocol.cases(str(pictures), "train")
    method, strengths = CLASSICAL[name]
    samples = [(s.inputs["y"], s.target) for s in map(protocol.sample, cases)]

    def quality(strength: float) -> float:
        results = [method(y, 25 / 255, strength).clip(0, 1) for y, _ in samples]
        return float(np.mean([psnr(r, target) for r, (_, target) in zip(results, samples, strict=True)]))

    chosen = tune(name, protocol, cases)
    assert quality(chosen) == max(quality(strength) for strength in strengths)
    assert quality(chosen) > np.mean([psnr(y.clip(0, 1), target) for y, target in samples]) + 3


def test_the_busiest_crop_is_where_the_detail_is() -> None:
    image = np.zeros((60, 90, 3), np.float32)
    image[30:40, 50:60] = np.random.default_rng(0).random((10, 10, 3))
    rows, columns = busiest_crop(image, 16)
    assert rows.stop - rows.start == columns.stop - columns.start == 16
    assert rows.start <= 30 < 40 <= rows.stop
    assert columns.start <= 50 < 60 <= columns.stop
    rows, columns = busiest_crop(image, 70)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (60, 70)
