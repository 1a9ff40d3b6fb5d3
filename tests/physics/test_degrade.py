"""Blur, decimation, resizing and boundaries of arrays: the digits of the published evaluations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import kronsum
from scipy.sparse.linalg import spsolve

from unfold.physics.blur import Boundary, blur
from unfold.physics.boundary import wrap_boundary
from unfold.physics.degrade import blur_array, blur_uint8, crop_to_multiple, decimate_array
from unfold.physics.resize import imresize

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "degrade.npz")


@pytest.mark.parametrize("scale", [1, 3, 4])
@pytest.mark.parametrize("kernel", [3, 10])
def test_the_published_blur_of_8_bit_images_is_matched_bit_for_bit(scale: int, kernel: int) -> None:
    target = crop_to_multiple(GOLDEN["hr"], np.lcm(scale, 8))
    y = decimate_array(blur_uint8(target, GOLDEN[f"kernel{kernel}"]), scale)
    assert np.array_equal(y, GOLDEN[f"lr_u8_x{scale}_k{kernel}"])


def test_the_published_noise_is_matched() -> None:
    y = GOLDEN["lr_u8_x3_k10"].astype(np.float32) / 255
    y = y + np.random.RandomState(0).normal(0, 7.65 / 255, y.shape)
    assert np.abs(y - GOLDEN["lr_noisy765_x3_k10"]).max() < 1e-7


@pytest.mark.parametrize("boundary", ["circular", "zero", "replicate"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (1, 6)])
def test_arrays_are_blurred_like_tensors(boundary: Boundary, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image, kernel = rng.random((9, 8, 3)), rng.random(shape)
    tensor = blur(torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(kernel)[None, None], boundary)
    assert np.allclose(blur_array(image, kernel, boundary), tensor[0].permute(1, 2, 0).numpy(), atol=1e-14)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_imresize_equals_the_published_one(scale: int) -> None:
    """Which computes in float32: 1.1e-6 is what its own rounding comes to."""
    target = GOLDEN["hr"] / 255
    small = imresize(crop_to_multiple(target, scale), 1 / scale)
    large = imresize(target[:20, :17], scale)
    assert np.abs(small - GOLDEN[f"imresize_down_x{scale}"]).max() < 2e-7
    assert np.abs(large - GOLDEN[f"imresize_up_x{scale}"]).max() < 1.2e-6


@pytest.mark.parametrize("scale", [0.5, 0.37, 1.0, 2.5])
def test_imresize_keeps_constants_and_the_middle_of_ramps(scale: float) -> None:
    ramp = np.arange(40.0)[:, None] * np.ones(23)
    result = imresize(ramp, scale)
    assert result.shape == (np.ceil(40 * scale), np.ceil(23 * scale))
    inside = slice(int(8 * scale) + 8 // 2, -int(8 * scale) - 8 // 2)
    places = (np.arange(len(result)) + 0.5) / scale - 0.5
    # Shrinking by a fraction samples the kernel unevenly: MATLAB's definition does not quite keep ramps there.
    assert np.allclose(result[inside], places[inside, None], atol=5e-3 if scale == 0.37 else 1e-10)
    assert np.allclose(imresize(np.ones((9, 12, 3)), scale), 1, atol=1e-14)
    with pytest.raises(ValueError, match="scale must be positive"):
        imresize(ramp, -1)


def test_wrapping_equals_the_published_one() -> None:
    small = GOLDEN["imresize_down_x3"].repeat(3, 0).repeat(3, 1)
    assert np.abs(wrap_boundary(small, (80, 80))[::2, 1::2] - GOLDEN["wrap_full_x3"]).max() < 1e-12


def test_the_strips_solve_laplaces_equation_between_the_borders_they_join() -> None:
    """Against a sparse solver: the strip below, whose first row repeats the image's last."""
    image = np.random.default_rng(0).random((6, 9, 1))
    extra = 5
    strip = wrap_boundary(image, (6 + extra, 9 + 4))[6:, :9, 0]
    frame = np.zeros((extra + 2, 9))
    frame[0], frame[-1] = image[-1, :, 0], image[0, :, 0]
    part = np.linspace(0, 1, extra)
    for side in (0, -1):
        frame[1:-1, side] = (1 - part) * frame[0, side] + part * frame[-1, side]

    def second(n: int) -> np.ndarray:
        return -2 * np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)

    given = frame.copy()
    given[1:-1, 1:-1] = 0
    around = given[:-2, 1:-1] + given[2:, 1:-1] + given[1:-1, :-2] + given[1:-1, 2:]
    inside = spsolve(kronsum(second(7), second(extra), format="csc"), -around.ravel()).reshape(extra, 7)
    assert np.array_equal(strip[0], image[-1, :, 0])
    assert np.allclose(strip[1:, 1:-1], inside[:-1], atol=1e-12)


def test_a_wrapped_image_is_as_smooth_across_its_seams_as_inside() -> None:
    rows, columns = np.mgrid[0:40, 0:30] / 20
    image = (rows + np.sin(3 * columns))[..., None]
    wrapped = wrap_boundary(image, (60, 50))
    assert np.array_equal(wrapped[:40, :30], image)
    for axis in (0, 1):
        steps = np.abs(np.diff(np.concatenate([wrapped, wrapped.take([0], axis)], axis), axis=axis))
        assert steps.max() < 0.3, "the image itself jumps by 2 from its last row to its first"
    with pytest.raises(ValueError, match="must exceed the image"):
        wrap_boundary(image, (41, 50))
