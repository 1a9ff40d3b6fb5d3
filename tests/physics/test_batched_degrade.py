"""Batches are degraded on a device as single images are in NumPy."""

from __future__ import annotations

import numpy as np
import torch

from tests.synthetic import scene
from unfold.degradations.random_kernels import random_kernel
from unfold.physics.batched_degrade import blur_levels, degrade
from unfold.physics.degrade import blur_array, blur_uint8


def targets(count: int, height: int = 40, width: int = 52) -> torch.Tensor:
    return torch.stack([torch.from_numpy(scene(height, width, seed=i)) for i in range(count)]).permute(0, 3, 1, 2)


def kernels(count: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(np.stack([random_kernel(rng, 0.5) for _ in range(count)])).permute(0, 3, 1, 2)


def test_a_blurred_batch_is_the_exact_blur_of_each_image_cut_off_to_8_bits() -> None:
    batch, given = targets(6), kernels(6)
    for image, kernel, found in zip(batch, given[:, 0], blur_levels(batch, given), strict=True):
        pixels, k = image.permute(1, 2, 0).numpy(), kernel.double().numpy()
        exact, levels = blur_array(pixels, k), found.permute(1, 2, 0).numpy()
        expected = blur_uint8(pixels, k)
        differ = levels != expected
        assert (levels - expected)[differ].sum() == differ.sum(), "one level more, never less"
        assert (np.ceil(exact) - exact < 1e-9)[differ].all(), "where the exact result is whole"
        assert differ.mean() < 0.01


def test_where_the_exact_result_is_whole_no_level_is_lost() -> None:
    shift = torch.zeros(1, 1, 5, 5)
    shift[0, 0, 4, 1] = 1  # 2 down, 1 to the left
    batch = targets(3)
    assert torch.equal(blur_levels(batch, shift), batch.roll((2, -1), (2, 3)).float())
    box = torch.full((1, 1, 4, 4), 1 / 16)
    for level in (0, 1, 100, 255):
        even = torch.full((1, 3, 37, 41), level, dtype=torch.uint8)
        assert (blur_levels(even, box) == level).all()


def test_y_is_decimated_and_has_noise_of_its_map() -> None:
    batch, given = targets(2, 36, 48), kernels(2)
    noise = torch.randn(2, 3, 12, 16)
    sigma = torch.rand(2, 1, 12, 16)
    y = degrade(batch, given, sigma, noise, 3)
    assert y.dtype == torch.float32
    assert torch.equal(y, blur_levels(batch, given)[..., ::3, ::3] / 255 + sigma * noise)
