"""Brightness as MATLAB and the papers have it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from unfold.metrics.colour import convert

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "metrics.npz")


def y_of(colours: np.ndarray) -> np.ndarray:
    """(N,3) uint8 -> the levels of Y."""
    return (255 * convert(torch.from_numpy(colours).T[None, :, None], "y")).flatten().numpy()


@pytest.mark.parametrize("name", ["hr", "noisy"])
def test_y_of_a_picture_is_the_published_one(name: str) -> None:
    image, expected = GOLDEN[f"usrnet_{name}"], GOLDEN[f"usrnet_y_{name}"]
    assert np.array_equal(np.rint(y_of(image.reshape(-1, 3))), expected.ravel())


def test_y_is_the_formula_in_exact_arithmetic_with_halves_up() -> None:
    r, g, b = np.ogrid[:256, :256, :256]
    ties = np.argwhere((65481 * r + 128553 * g + 24966 * b).astype(np.int32) % 255000 == 127500)
    assert len(ties) == 194
    colours = np.concatenate([np.random.default_rng(0).integers(0, 256, (2000, 3)), ties])
    weights = [Fraction(65481, 255000), Fraction(128553, 255000), Fraction(24966, 255000)]
    expected = []
    for colour in colours.tolist():
        y = 16 + sum(w * c for w, c in zip(weights, colour, strict=True))
        expected.append(int(y + Fraction(1, 2)))
    assert np.abs(y_of(colours.astype(np.uint8)) - expected).max() < 1e-12


def test_black_white_and_the_primaries() -> None:
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    batch = torch.from_numpy(colours).T[None, :, None]
    assert y_of(colours).tolist() == pytest.approx([16, 235, 81, 145, 41], abs=1e-12)
    assert (255 * convert(batch, "y_float")).flatten().tolist() == pytest.approx([16, 235, 81.481, 144.553, 40.966])
    assert convert(batch, "luma").flatten().tolist() == pytest.approx([0, 1, 0.299, 0.587, 0.114])
    assert convert(batch, "rgb").flatten().tolist() == (colours.T.flatten() / 255).tolist()


def test_floats_are_rounded_for_y_and_only_for_y() -> None:
    levels = torch.tensor([100.4, 20.6, 300.0]).view(1, 3, 1, 1)
    rounded = torch.tensor([100, 21, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert convert(levels / 255, "y") == convert(rounded, "y")
    for channel in ("y_float", "luma"):
        assert convert(levels / 255, channel) != convert(rounded, channel)
        assert convert(levels / 255, channel, round8=True) == convert(rounded, channel)
