"""The weights that come with unfold are those of the registry, and restore photographs they were not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data

import unfold
from unfold.degradations.synthetic_rain import SyntheticRain
from unfold.metrics import psnr
from unfold.models.known.weight_facts import Weights
from unfold.physics.camera import Camera, add_camera_noise, colour_matrix
from unfold.physics.degrade import blur_array, decimate_array
from unfold.physics.kernels import gaussian_kernel
from unfold.physics.noise import add_gaussian
from unfold.physics.resize import imresize
from unfold.physics.sampling import lowest_frequencies, sample, sample_adjoint
from unfold.util.download import sha256_of
from unfold.weights.known_weights import WEIGHTS
from unfold.weights.resolve_weights import find_weights

ROOT = Path(__file__).parents[2]
OURS = [weights for weights in WEIGHTS.values() if weights.ours]


def test_the_package_holds_all_of_them_and_nothing_else() -> None:
    dgunets = {"dgunet_denoise_small", "dgunet_derain_small", "dgunet_cs_small"}
    names = {"usrnet_tiny_small", "nrl_gdn_small", "hqs_denoiser_small"} | dgunets
    assert {weights.name for weights in OURS} == names
    inside = ROOT / "unfold" / "pretrained"  # a link, through which the wheel is made
    assert {path.stem for path in inside.glob("*.safetensors")} == names
    assert sum(weights.size or 0 for weights in OURS) < 20e6


@pytest.mark.parametrize("weights", OURS, ids=lambda weights: weights.name)
def test_the_file_is_the_one_of_the_registry_and_small(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNFOLD_CACHE", str(tmp_path / "cache"))
    path = find_weights(weights.name)
    assert path.parent.name == "pretrained"
    assert (sha256_of(path), path.stat().st_size) == (weights.sha256, weights.size)
    assert path.stat().st_size < 3e6
    net = unfold.load_model(weights.name)
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) <= 7e5
    assert f"## {weights.name}" in (ROOT / "pretrained" / "README.md").read_text(), "it has a card"


def photograph() -> NDArray[np.float32]:
    """Part of a face, 128x128."""
    return (data.astronaut()[60:188, 170:298] / 255).astype(np.float32)


def grey_and_noise(sigma: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The photograph in three equal channels, and noise of sigma / 255 that is the same in all of them."""
    target = photograph().mean(-1, keepdims=True).repeat(3, axis=2)
    return target, np.random.default_rng(0).normal(0, sigma / 255, target.shape[:2])[..., None]


def gain(
    restored: NDArray[np.float32],
    before: NDArray[np.float64 | np.float32],
    target: NDArray[np.float32] | None = None,
) -> float:
    """In dB, inside a border of 8 pixels. target: the photograph if not given."""
    inside = (slice(8, -8), slice(8, -8))
    target = (photograph() if target is None else target)[inside]
    return psnr(restored[inside], target) - psnr(before[inside].clip(0, 1), target)


@pytest.mark.parametrize(("sigma", "least"), [(15, 7.5), (25, 9.5), (50, 12.0)])
def test_the_denoiser_takes_noise_away_without_being_given_its_level(sigma: int, least: float) -> None:
    noisy = add_gaussian(photograph(), sigma / 255, np.random.default_rng(0))
    assert gain(unfold.restore(noisy, unfold.load_model("dgunet_denoise_small")), noisy) > least


@pytest.mark.parametrize(("sigma", "least"), [(15, 4.0), (25, 6.0), (50, 8.0)])
def test_the_denoiser_takes_the_noise_of_a_grey_picture_away(sigma: int, least: float) -> None:
    target, noise = grey_and_noise(sigma)
    noisy = (target + noise).astype(np.float32)
    assert gain(unfold.restore(noisy, unfold.load_model("dgunet_denoise_small")), noisy, target) > least


def test_compressive_sensing_is_better_than_the_lowest_frequencies_of_the_same_number() -> None:
    x = torch.from_numpy(photograph().mean(-1))[None, None]
    lowest = torch.from_numpy(lowest_frequencies(256, 32)).float()
    low_pass = sample_adjoint(sample(x, lowest, 32), lowest, 32)
    net = unfold.load_model("dgunet_cs_small")
    with torch.inference_mode():
        m = net.measure(x)
        restored = net(m)
    assert m.shape == (1, 256, 4, 4), "a quarter of the numbers"
    assert psnr(restored[0, 0].numpy(), x[0, 0].numpy()) > psnr(low_pass[0, 0].numpy(), x[0, 0].numpy()) + 2


def test_the_derainer_takes_rain_away() -> None:
    given = {"target": (255 * photograph()).round().astype(np.uint8)}
    rainy = SyntheticRain().make(given, np.random.default_rng(0), 1)["y"] / np.float32(255)
    assert gain(unfold.restore(rainy, unfold.load_model("dgunet_derain_small")), rainy) > 6


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_super_resolution_is_better_than_bicubic(scale: int) -> None:
    kernel = gaussian_kernel(25, 1.6)
    low = decimate_array(blur_array(photograph()[:120, :120], kernel), scale).astype(np.float32)
    net = unfold.load_model("usrnet_tiny_small")
    restored = unfold.restore(low, net, kernel=kernel, scale=scale, sigma=0.0)
    inside, target = (slice(8, -8), slice(8, -8)), photograph()[:120, :120]
    bicubic = imresize(low, scale, offset=(scale - 1) / (2 * scale))  # in register
    assert psnr(restored[inside], target[inside]) > psnr(bicubic[inside].clip(0, 1), target[inside]) + 1


@pytest.mark.parametrize(("sigma", "least"), [(5, 3.0), (10, 3.5), (15, 4.8)])
def test_deblurring_of_a_grey_picture_takes_its_noise_away_at_the_true_level(sigma: int, least: float) -> None:
    target, noise = grey_and_noise(sigma)
    kernel = gaussian_kernel(15, 1.2)
    noisy = (blur_array(target, kernel) + noise).astype(np.float32)
    restored = unfold.restore(noisy, unfold.load_model("usrnet_tiny_small"), kernel=kernel, scale=1, sigma=sigma / 255)
    assert gain(restored, noisy, target) > least


def test_deblurring_under_noise_gains_on_the_input() -> None:
    kernel = gaussian_kernel(15, 1.6)
    noisy = add_gaussian(blur_array(photograph(), kernel).astype(np.float32), 10 / 255, np.random.default_rng(0))
    assert gain(unfold.restore(noisy, unfold.load_model("nrl_gdn_small"), kernel=kernel), noisy) > 2


def test_the_camera_denoiser_takes_camera_noise_away_and_nothing_at_strength_0() -> None:
    camera = Camera(6e-3, 1e-5, (2.1, 1.0, 1.7), colour_matrix(0.3), True, (0.6, 1.0))
    noisy = add_camera_noise(photograph(), camera, np.random.default_rng(0))
    net = unfold.load_model("hqs_denoiser_small")
    assert gain(unfold.restore(noisy, net), noisy) > 2
    np.testing.assert_array_equal(unfold.restore(noisy, net, strength=0.0), noisy)
