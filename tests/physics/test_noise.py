"""Noise is that of the published code, draw by draw, and has the statistics it promises."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from unfold.physics.batched_degrade import quadrant_map
from unfold.physics.noise import (
    gaussian_noise,
    impulse_noise,
    poisson_gaussian,
    quadrant_noise,
    random_level,
    random_quadrant_levels,
)

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "physics_noise.npz")


@pytest.mark.parametrize("kernel", [2, 10])
def test_a_published_seed_gives_the_published_noise(kernel: int) -> None:
    clean = GOLDEN[f"lr_u8_x3_k{kernel}"].astype(np.float32) / np.float32(255)
    noisy = clean + gaussian_noise(clean.shape, 7.65 / 255, np.random.RandomState(0))
    assert np.array_equal(noisy.astype(np.float32), GOLDEN[f"lr_noisy765_x3_k{kernel}"])


@pytest.mark.parametrize(
    ("name", "sigmas"), [("four_noise_61x53", (0.01, 0.02, 0.03, 0.04)), ("one_noise_61x53", (0.02,) * 4)]
)
def test_a_published_seed_gives_the_published_quadrants(name: str, sigmas: tuple[float, float, float, float]) -> None:
    noise = quadrant_noise((61, 53, 3), sigmas, np.random.RandomState(0))
    assert np.array_equal(noise[::4, ::4], GOLDEN[name].transpose(1, 2, 0))


@pytest.mark.parametrize("kind", ["rd", "sp"])
def test_a_published_seed_gives_the_published_impulses(kind: str) -> None:
    noisy = impulse_noise(np.full((16, 16, 3), 100 / 255), 0.1, kind, np.random.RandomState(0))
    assert np.allclose(255 * noisy, GOLDEN[f"impulse_{kind}_0.1"], rtol=0, atol=1e-10)


def test_noise_follows_its_map() -> None:
    sigma = np.linspace(0, 0.1, 200)[:, None, None] * np.ones((200, 300, 1))
    noise = gaussian_noise((200, 300, 3), sigma, np.random.default_rng(0))
    assert np.allclose(noise.std((1, 2)), sigma[:, 0, 0], atol=0.008)
    assert np.array_equal(noise, sigma * gaussian_noise((200, 300, 3), 1, np.random.default_rng(0)))


def test_the_variance_of_photon_noise_grows_with_the_light() -> None:
    for level in (0.2, 0.5):
        noisy = poisson_gaussian(np.full((300, 300), level), 128, 0.05, np.random.default_rng(0))
        assert noisy.mean() == pytest.approx(level, abs=1e-3)
        assert noisy.var() == pytest.approx(level / 128 + 0.05**2, rel=0.05)
    bright = poisson_gaussian(np.ones((50, 50)), 128, 0.05, np.random.default_rng(0))
    assert bright.max() == 1


@pytest.mark.parametrize("rng", [np.random.RandomState(1), np.random.default_rng(1)])
def test_impulses_hit_the_share_asked_for_in_all_channels(rng: np.random.Generator) -> None:
    x = np.full((200, 200, 3), 0.5)
    noisy = impulse_noise(x, 0.2, "sp", rng)
    assert (x == 0.5).all(), "the input stays"
    assert (noisy == noisy[..., :1]).all()
    assert [(noisy == v).mean() for v in (0, 0.5, 1)] == pytest.approx([0.1, 0.8, 0.1], abs=0.01)
    replaced = impulse_noise(x, 0.2, "rd", rng)
    hit = (replaced != 0.5).all(-1)
    assert hit.mean() == pytest.approx(0.2, abs=0.01)
    assert replaced[hit].mean() == pytest.approx(0.5, abs=0.02)
    assert replaced[hit].std() == pytest.approx(12**-0.5, abs=0.02)


def test_levels_are_drawn_as_the_papers_say() -> None:
    rng, pick = np.random.RandomState(0), random.Random(0)
    levels = np.array([random_level(rng, pick) for _ in range(9000)])
    counts = np.bincount(np.round(255 * levels).astype(int), minlength=25)
    assert len(counts) == 25
    assert counts[0] == pytest.approx(1000 + 320, abs=120)  # 1/9, and 1/25 of the rest
    assert counts[1:] == pytest.approx(np.full(24, 320), abs=80)

    fours = np.array([random_quadrant_levels(rng) for _ in range(3000)])
    uniform = (fours == fours[:, :1]).all(1)
    assert uniform.mean() == pytest.approx(2 / 3, abs=0.03)
    assert 255 * fours.mean(0) == pytest.approx(np.full(4, 12.75 / 2), abs=0.3)
    assert 12.7 < 255 * fours.max() <= 12.75
    assert np.abs(np.corrcoef(fours[~uniform].T) - np.eye(4)).max() < 0.12


def test_a_quadrant_map_is_cut_where_quadrant_noise_is() -> None:
    levels = (0.01, 0.02, 0.03, 0.04)
    sigma = quadrant_map(torch.tensor([levels, levels[::-1]], dtype=torch.float64), (61, 52))
    assert sigma.shape == (2, 1, 61, 52)
    noise = quadrant_noise((61, 52, 1), levels, np.random.default_rng(0))
    unit = quadrant_noise((61, 52, 1), (1, 1, 1, 1), np.random.default_rng(0))
    assert np.allclose(sigma[0, 0].numpy(), (noise / unit)[..., 0])
    assert np.allclose(sigma[1, 0].numpy(), 0.05 - sigma[0, 0].numpy())
