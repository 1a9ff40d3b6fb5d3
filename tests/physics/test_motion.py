"""Motion kernels are those of the published code, draw by draw."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tests.physics.test_kernels import moments
from unfold.physics import motion
from unfold.physics.kernels import gaussian_kernel
from unfold.physics.motion import camera_path, centred, path_histogram, random_motion_kernel, random_path

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
