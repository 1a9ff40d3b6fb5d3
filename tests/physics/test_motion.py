"""Motion kernels are those of the published code, draw by draw; batches of them are the same kernels."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.physics.test_kernels import moments
from unfold.physics import batched_kernels, motion
from unfold.physics.batched_kernels import camera_paths, motion_kernels, random_motion_kernels
from unfold.physics.kernels import gaussian_kernel, normalised
from unfold.physics.motion import camera_path, centred, enlarged, path_histogram, random_motion_kernel, random_path

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "physics_kernels.npz")


def test_the_path_is_the_published_one() -> None:
    assert np.allclose(random_path(np.random.RandomState(11)), GOLDEN["trajectory_seed11"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_published_seeds_give_the_published_kernels(seed: int) -> None:
    kernel = random_motion_kernel(np.random.RandomState(seed), random.Random(seed))
    assert np.allclose(kernel, GOLDEN[f"motion25_seed{seed}"], rtol=0, atol=1e-15)


def test_a_path_follows_its_recurrence_step_by_step() -> None:
    rng = np.random.default_rng(0)
    start, forces = rng.standard_normal(3), rng.standard_normal((249, 2, 3))
    r, v, x = np.zeros(3), start, np.zeros(3)
    path = camera_path(start, forces)
    for t in range(1, 250):
        r = r + 2 * np.pi / 250 * (forces[t - 1, 0] / (t + 1) + r)
        v = v + forces[t - 1, 1] / (t + 1)
        (a, b, c), one = r, np.eye(3)
        rx, ry, rz = one.copy(), one.copy(), one.copy()
        rx[1:, 1:] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
        ry[::2, ::2] = [[np.cos(b), np.sin(b)], [-np.sin(b), np.cos(b)]]
        rz[:2, :2] = [[np.cos(c), -np.sin(c)], [np.sin(c), np.cos(c)]]
        x = x + rz @ ry @ rx @ v
        assert np.allclose(path[:, t], x, atol=1e-9)


def test_a_histogram_counts_the_cells_that_a_path_visits() -> None:
    corners = np.array([[0.0, 10.0, 4.5, 4.5, 4.5], [0.0, 10.0, 2.5, 2.5, 2.5]])
    counts = np.zeros((5, 5))
    counts[0, 0], counts[2, 1] = 1, 3  # the cell of the upper end stays empty
    expected = np.zeros((5, 5))
    for i, j in zip(*np.nonzero(counts), strict=True):
        for di, dj in np.ndindex(3, 3):
            if i + di >= 1 and j + dj >= 1:
                expected[i + di - 1, j + dj - 1] += counts[i, j] * gaussian_kernel(3, 1)[di, dj]
    assert np.allclose(path_histogram(corners, 5), expected / expected.sum(), atol=1e-15)


def test_a_smaller_kernel_is_put_into_the_middle_and_a_larger_one_is_cut() -> None:
    small = centred(np.ones((5, 5)) / 25)
    assert small.shape == (25, 25)
    assert np.array_equal(np.argwhere(small)[[0, -1]], [[10, 10], [14, 14]])
    large = np.arange(27.0 * 27).reshape(27, 27)
    assert np.array_equal(centred(large), large[:25, :25])


def test_another_number_of_bins_is_drawn_for_the_same_path_while_no_cell_is_visited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[bytes, int]] = []

    def empty_twice(path: np.ndarray, bins: int) -> np.ndarray:
        seen.append((path.tobytes(), bins))
        return path_histogram(path, bins) * (len(seen) > 2)

    monkeypatch.setattr(motion, "path_histogram", empty_twice)
    kernel = random_motion_kernel(np.random.RandomState(1), random.Random(1))
    assert kernel.sum() == pytest.approx(1)
    assert len(seen) == 3
    assert len({path for path, _ in seen}) == 1
    assert len({bins for _, bins in seen}) > 1


def test_a_gaussian_stands_in_where_cropping_leaves_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "enlarged", lambda kernel, height, width: np.zeros((25, 25)))
    kernel = random_motion_kernel(np.random.RandomState(2), random.Random(2))  # one that is enlarged
    _, covariance = moments(kernel)
    assert kernel.argmax() == 12 * 25 + 12
    assert abs(covariance[0, 1]) < 1e-12
    assert covariance[0, 0] == pytest.approx(covariance[1, 1])


def test_a_batch_of_paths_and_kernels_is_the_same_one_by_one() -> None:
    rng, n = np.random.default_rng(0), 100
    start, forces = rng.standard_normal((n, 3)), rng.standard_normal((n, 249, 2, 3))
    paths = np.stack([camera_path(a, b) for a, b in zip(start, forces, strict=True)])
    assert np.allclose(camera_paths(torch.from_numpy(start), torch.from_numpy(forces)), paths, rtol=0, atol=1e-9)

    bins, sigma = 2 * rng.integers(2, 14, n) + 1, 0.1 + 6 * rng.random(n)
    sides = np.where(rng.random((n, 1)) < 0.6, rng.integers(25, 126, (n, 2)), 25)
    batch = motion_kernels(*(torch.from_numpy(a) for a in (paths, bins, sides, sigma)))[:, 0].numpy()
    replaced = 0
    for i in range(n):
        kernel = enlarged(centred(path_histogram(paths[i], bins[i])), *sides[i])
        if kernel.sum() < 0.1:
            replaced, kernel = replaced + 1, gaussian_kernel(25, sigma[i])
        assert np.allclose(batch[i], normalised(kernel), rtol=0, atol=1e-7)
    assert replaced > 3
    assert {5, 27} <= set(bins)


def test_batches_pass_over_numbers_of_bins_whose_cells_are_not_visited(monkeypatch: pytest.MonkeyPatch) -> None:
    # The last column, the last row, and one point that leaves the last of 5 columns for the sixth of 7.
    path = torch.tensor([[[0, 0.5, 1, 1, 0.5], [1, 1, 1, 0, 0.82]]], dtype=torch.float64)
    sides, sigma = torch.full((1, 2), 25), torch.ones(1, dtype=torch.float64)
    five, seven = (motion_kernels(path, torch.tensor([n], dtype=torch.float64), sides, sigma) for n in (5, 7))
    assert np.allclose(five, gaussian_kernel(25, 1), atol=1e-12), "a Gaussian stands in for an empty histogram"
    assert np.allclose(seven, centred(path_histogram(path[0].numpy(), 7)), atol=1e-12)

    monkeypatch.setattr(batched_kernels, "camera_paths", lambda start, forces: path)
    monkeypatch.setattr(batched_kernels, "_bins", lambda shape, generator: torch.tensor([[5.0], [7.0], [9.0]]))
    kernel = random_motion_kernels(1, torch.Generator().manual_seed(0))  # one that is not enlarged
    assert torch.allclose(kernel, seven.float(), atol=1e-7)


def test_random_batches_have_the_distribution_of_single_kernels() -> None:
    rng, pick = np.random.RandomState(0), random.Random(0)
    single = [random_motion_kernel(rng, pick) for _ in range(500)]
    batch = random_motion_kernels(500, torch.Generator().manual_seed(0))
    assert batch.dtype == torch.float32
    assert torch.allclose(batch.sum((1, 2, 3)), torch.ones(500), atol=1e-6)
    for statistic in (
        lambda k: moments(k)[0][0],
        lambda k: moments(k)[0][1],
        lambda k: np.sqrt(np.trace(moments(k)[1])),
        lambda k: (k > 1e-7).mean(),  # the size of the support
        lambda k: k.max(),
    ):
        a = np.array([statistic(k) for k in single])
        b = np.array([statistic(k) for k in batch[:, 0].double().numpy()])
        assert abs(a.mean() - b.mean()) < 0.25 * a.std()
        assert abs(a.std() / b.std() - 1) < 0.25
        # As does the whole distribution: 0.103 is the 1 % point of Kolmogorov's statistic for 500 and 500.
        grid = np.sort(np.concatenate([a, b]))
        gap = np.searchsorted(np.sort(a), grid, "right") - np.searchsorted(np.sort(b), grid, "right")
        assert abs(gap).max() / 500 < 0.103


@pytest.mark.gpu
def test_kernels_are_the_same_on_a_gpu_given_the_draws() -> None:
    rng = np.random.default_rng(0)
    paths = np.stack([random_path(rng) for _ in range(64)])
    bins, sides, sigma = 2 * rng.integers(2, 14, 64) + 1.0, rng.integers(25, 126, (64, 2)), 0.1 + 6 * rng.random(64)
    draws = [torch.from_numpy(a) for a in (paths, bins, sides, sigma)]
    assert torch.allclose(motion_kernels(*(d.cuda() for d in draws)).cpu(), motion_kernels(*draws), atol=1e-9)
    batch = batched_kernels.random_kernels(64, 0.5, torch.Generator("cuda").manual_seed(0))
    assert batch.is_cuda
    assert torch.allclose(batch.sum((1, 2, 3)), torch.ones(64, device="cuda"), atol=1e-6)
    again = batched_kernels.random_kernels(64, 0.5, torch.Generator("cuda").manual_seed(0))
    assert torch.equal(batch, again)
