"""Maps of the noise level are the published ones, whole or in a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unfold.physics.sigma_maps import gaussian_mixture, peaks, sigma_map, waves

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "physics_noise.npz")
FULL, RESIZED = (slice(None, None, 8), slice(3, None, 8)), (slice(None, None, 16), slice(3, None, 16))


def test_raw_maps_are_the_published_ones() -> None:
    assert np.allclose(peaks()[FULL], GOLDEN["peaks_raw"], rtol=0, atol=1e-14)
    assert np.allclose(waves()[FULL], GOLDEN["sincos_raw"], rtol=0, atol=1e-14)
    rng = np.random.RandomState(0)
    mixture = gaussian_mixture(rng)
    assert mixture.dtype == np.float32
    assert np.allclose(mixture[FULL], GOLDEN["gauss_mix_raw_seed0"], rtol=0, atol=2e-11)  # of 2e-5
    assert np.array_equal(rng.standard_normal(8), GOLDEN["gauss_mix_next_randn"]), "the stream goes on as published"


@pytest.mark.parametrize(
    ("kind", "name", "tolerance"),
    [("peaks", "peaks", 1e-10), ("gauss", "sincos", 1e-10), ("gauss_mix", "gauss_mix", 1e-6)],
)
def test_scaled_and_resized_maps_are_the_published_ones(kind: str, name: str, tolerance: float) -> None:
    seed = "_seed0" if kind == "gauss_mix" else ""
    for size, part, stored in (((256, 256), FULL, "256"), ((481, 321), RESIZED, "_w321_h481")):
        found = sigma_map(kind, size, np.random.RandomState(0))
        assert found.shape == size
        assert np.allclose(found[part], GOLDEN[f"{name}_sigma{stored}{seed}"], rtol=0, atol=tolerance)
    assert found.min() * 255 == pytest.approx(5, abs=0.05)
    assert found.max() * 255 == pytest.approx(25, abs=0.05)


def test_a_map_has_the_levels_asked_for() -> None:
    found = 255 * sigma_map("peaks", (256, 256), np.random.default_rng(0), lowest=0, highest=50)
    assert found.min() == pytest.approx(0, abs=1e-12)
    assert found.max() == pytest.approx(50)
