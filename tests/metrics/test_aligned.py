"""RealBlur's scores: alignment undoes a known motion and gain, and the masked formulas are right."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.metrics import aligned, psnr, ssim
from unfold.metrics.aligned import aligned_scores


def picture(seed: int = 0) -> np.ndarray:
    """(96,112,3) float32, smooth enough to be interpolated well."""
    image = scene(96, 112, seed).astype(np.float32) / 255
    return cv2.GaussianBlur(image, (0, 0), 2)


def moved(image: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """What a camera sees whose pixel p shows the point motion(p) of the image."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(image, motion, image.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REFLECT)


SHIFT = np.array([[1, 0, 1.6], [0, 1, -2.3], [0, 0, 1]])
TILT = np.array([[1.004, 0.003, -1.2], [-0.002, 0.997, 1.7], [2e-5, -3e-5, 1]])


@pytest.mark.parametrize("motion", [SHIFT, TILT])
def test_a_motion_and_a_gain_are_undone(motion: np.ndarray) -> None:
    x = picture()
    z = np.float32(0.8) * moved(x, motion)
    found = aligned_scores(z, x)
    assert psnr(z, x) < 22
    assert found[0] > 42, "what is left is interpolation"
    assert found[1] > 0.997 > ssim(z, x) + 0.05


def test_noise_sets_the_ceiling_not_the_motion() -> None:
    x = picture(1)
    noise = 0.02 * np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    at_rest, _ = aligned_scores(x + noise, x)
    shifted, _ = aligned_scores(moved(x, SHIFT) + noise, x)
    assert 0 < at_rest - psnr(x + noise, x) < 1, "interpolation averages some of the noise away"
    assert abs(shifted - at_rest) < 2
    assert psnr(moved(x, SHIFT) + noise, x) < 28


def test_equal_images_score_very_high() -> None:
    for image in (picture(), scene(64, 64)):
        found = aligned_scores(image, image)
        assert found[0] > 80
        assert found[1] == pytest.approx(1, abs=1e-6)


def test_bytes_and_floats_score_alike() -> None:
    x = scene(48, 64)
    z = cv2.GaussianBlur(x, (0, 0), 1)
    as_float = [(image / 255).astype(np.float32) for image in (z, x)]
    assert aligned_scores(z, x) == pytest.approx(aligned_scores(*as_float), abs=1e-6)


def test_without_a_motion_the_scores_are_those_of_the_scaled_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "findTransformECC", lambda *_: (1.0, np.eye(3, dtype=np.float32)))
    x = picture(2)
    z = (0.7 * x + 0.05 * np.random.default_rng(1).random(x.shape)).astype(np.float32)
    scaled = z * np.vdot(x.astype(np.float64), z) / np.vdot(z.astype(np.float64), z)
    assert aligned_scores(z, x) == pytest.approx((psnr(scaled, x), ssim(scaled, x)), abs=2e-5)


def test_what_comes_from_outside_the_result_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A motion of six columns, done here by slices."""
    monkeypatch.setattr(cv2, "findTransformECC", lambda *_: (1.0, np.float32([[1, 0, 6], [0, 1, 0], [0, 0, 1]])))
    x = picture(5).astype(np.float64)
    z = 0.9 * x + 0.05 * np.random.default_rng(3).random(x.shape)
    seen = (z * np.sum(x * z) / np.sum(z * z))[:, 6:]
    expected_psnr = -10 * np.log10(np.mean((seen - x[:, :-6]) ** 2))
    pair = [np.pad(image, ((0, 0), (0, 6), (0, 0))) for image in (seen, x[:, :-6])]
    options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1, "channel_axis": 2}
    _, full = structural_similarity(*pair, full=True, **options)
    assert aligned_scores(z, x) == pytest.approx((expected_psnr, full[5:-5, 5:-6].mean()), abs=2e-5)


def test_outside_the_mask_nothing_counts() -> None:
    """PSNR and SSIM as RealBlur's evaluation defines them, by scikit-image's map."""
    x = picture(3).astype(np.float64)
    z = x + 0.05 * np.random.default_rng(2).standard_normal(x.shape)
    mask = np.zeros((96, 112, 1))
    mask[3:80, 20:] = 1
    z, x = z * mask, x * mask
    error = np.sum((z - x) ** 2) / (3 * np.sum(mask))
    options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1, "channel_axis": 2}
    _, full = structural_similarity(x, z, full=True, **options)
    counted = (mask * full)[5:-5, 5:-5].sum(axis=(0, 1)) / mask[5:-5, 5:-5].sum(axis=(0, 1))
    found = aligned._masked_scores(z, x, mask)
    assert found == pytest.approx((10 * np.log10(1 / error), counted.mean()), abs=1e-10)
    with pytest.raises(UnfoldError, match="nothing of the result lies on its target"):
        aligned._masked_scores(z, x, np.zeros_like(mask))


def test_the_mask_marks_what_the_warp_takes_from_inside() -> None:
    x = picture(4)
    z = moved(x, np.array([[1, 0, 6.0], [0, 1, 0], [0, 0, 1]]))
    _, mask = aligned._align(z, x)
    assert mask[:, 7:].all()
    assert not mask[:, :5].any(), "x's first columns are nowhere in z"


def test_images_that_do_not_align_are_refused() -> None:
    x = picture()
    for z, reason in (
        (np.zeros_like(x), "black result"),
        (np.full_like(x, 0.5), "cannot be aligned with its target"),
        (x[:, ::-1] * np.nan, "numbers that are not finite"),
        (x[:50], "differ in shape"),
        (x[..., 0], r"shape \(H,W,3\), not \(96, 112\)"),
        (x[..., :2], r"shape \(H,W,3\), not \(96, 112, 2\)"),
        (torch.from_numpy(x), r"tensors of images have shape .*: image\[None\] is a batch of one"),
    ):
        with pytest.raises(UnfoldError, match=reason) as caught:
            aligned_scores(z, torch.from_numpy(x) if isinstance(z, torch.Tensor) else x)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnfoldError, match="at least 11x11 pixels, not 96x10"):
        aligned_scores(x[:10, :96], x[:10, :96])
