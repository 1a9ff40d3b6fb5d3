"""What people compare: values of another range, alpha, channels on another axis, other types."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.metrics import aligned_scores, lpips, psnr, ssim
from unfold.util.value_checks import checking, unchecked

A = (scene(40, 44) / 255).astype(np.float32)
C = (A + 0.05 * np.random.default_rng(0).standard_normal(A.shape)).astype(np.float32)  # not clamped
TENSORS = [torch.from_numpy(x.transpose(2, 0, 1).copy())[None] for x in (C, A)]
METRICS = (psnr, ssim, aligned_scores, lpips)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("estimate", "target", "expected"),
    [
        (255 * C, 255 * A, r"values from -\d.* to \d{3}.*peak=255"),
        (65535 * C, 65535 * A, "peak=65535"),
        (255 * C, A, "estimate, .* peak=255"),
        (C, 255 * A, "target, .* peak=255"),
        (2 * C - 1, 2 * A - 1, r"target, .* values from -[01].*a target is in \[0,1\].*peak=255"),
        (A, 2 * A - 1, "target"),
        (A, A - 0.1, "an estimate that is not clamped comes first"),
        (A + 2.5, A, "estimate"),
        (A - 2.5, A, "estimate"),
        (C * np.float32("nan"), A, "estimate, .* not finite"),
        (A, np.where(A > 0.5, np.float32("inf"), A), "target, .* not finite"),
    ],
)
def test_values_that_are_no_images_are_refused_with_the_range_found(
    metric: Callable[..., Any], estimate: np.ndarray, target: np.ndarray, expected: str
) -> None:
    with pytest.raises(UnfoldError, match=expected) as caught:
        metric(estimate, target)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channel", ["rgb", "y", "y_float", "luma"])
@pytest.mark.parametrize("peak", [255, 255.0, np.float32(255), 1023, 65535])
def test_peak_is_what_both_images_are_divided_by(channel: Any, peak: float) -> None:
    for metric in (psnr, ssim):
        expected = metric(C, A, 2, channel)
        assert metric(peak * C, peak * A, 2, channel, peak=peak) == pytest.approx(expected, abs=2e-3)
        scaled = [peak * x.double() for x in TENSORS]
        assert metric(*scaled, 2, channel, peak=peak).item() == pytest.approx(expected, abs=2e-3)


def test_integers_have_the_peak_of_their_type_or_the_one_that_is_said() -> None:
    levels = np.rint(A * 255)
    b = np.rint(C.clip(0, 1) * 255)
    expected = 20 * np.log10(255 / np.sqrt(np.mean((levels - b) ** 2)))
    assert psnr(b.astype(np.uint8), levels.astype(np.uint8)) == pytest.approx(expected)
    assert psnr((257 * b).astype(np.uint16), (257 * levels).astype(np.uint16)) == pytest.approx(expected)
    assert psnr((257 * b).astype(np.uint16), levels.astype(np.uint8)) == pytest.approx(expected)
    for kind in (np.uint8, np.int32, np.int64, np.uint16, np.float16):
        assert psnr(b.astype(kind), levels.astype(kind), peak=255) == pytest.approx(expected), kind
    deep = [torch.from_numpy((257 * x).astype(np.uint16)).permute(2, 0, 1)[None] for x in (b, levels)]
    assert psnr(*deep).item() == pytest.approx(expected)
    with pytest.raises(UnfoldError, match=r"uint8 or float in .0,1., not int64; with peak=255"):
        psnr(b.astype(np.int64), levels.astype(np.int64))
    with pytest.raises(UnfoldError, match="over the peak of 100"):
        psnr(255 * C, 255 * A, peak=100)
    for wrong in (0, -1, float("nan"), float("inf"), "255", True, [255]):
        with pytest.raises(UnfoldError, match="peak is the value of white"):
            psnr(A, A, peak=wrong)


def test_alpha_does_not_count_unasked_and_bands_of_other_numbers_are_said() -> None:
    for count in (2, 4, 6):
        c, a = (np.dstack([x, x])[..., :count] for x in (C, A))
        for pair in ((c, a), [torch.from_numpy(x.transpose(2, 0, 1).copy())[None] for x in (c, a)]):
            for metric in (psnr, ssim):
                with pytest.raises(UnfoldError, match=f"has {count} channels; say channels={count}"):
                    metric(*pair)
                with pytest.raises(UnfoldError, match="channels=3 was asked for"):
                    metric(*pair, channels=3)
                assert np.isfinite(float(metric(*pair, channels=count)))
    assert psnr(C[..., :1], A[..., :1]) == psnr(C[..., 0], A[..., 0])
    assert psnr(C, A, channels=3) == psnr(C, A)
    with pytest.raises(UnfoldError, match="LPIPS takes colour images of three channels, not 4"):
        lpips(np.dstack([C, C[..., :1]]), np.dstack([A, A[..., :1]]))


@pytest.mark.parametrize("border", [0, 1, 2])
def test_channels_on_another_axis_are_refused_with_how_to_turn(border: int) -> None:
    for count in (1, 3):
        first = [x[..., :count].transpose(2, 0, 1) for x in (C, A)]
        for metric in (psnr, ssim):
            with pytest.raises(UnfoldError, match=r"another axis: give image.transpose\(1, 2, 0\)"):
                metric(*first, border)
    with pytest.raises(UnfoldError, match=r"give image.permute\(0, 3, 1, 2\)"):
        psnr(*(x.permute(0, 2, 3, 1) for x in TENSORS), border)
    four = [np.dstack([x, x[..., :1]]).transpose(2, 0, 1) for x in (C, A)]
    with pytest.raises(UnfoldError, match=r"give image.transpose\(1, 2, 0\)"):
        psnr(*four, border, channels=4)


@pytest.mark.parametrize("other", [Image.new("RGB", (44, 40)), [1, 2], None, "a.png", 3.0])
def test_what_is_no_array_is_named(other: Any) -> None:
    for pair in ((other, A), (A, other)):
        with pytest.raises(UnfoldError, match="images are arrays or tensors, not"):
            psnr(*pair)


def test_legal_values_pass_and_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for estimate in (C, A * 3, A * 5 - 2, A.astype(np.float64), np.asfortranarray(C), C[::-1]):
            assert np.isfinite(psnr(estimate, A + np.float32(1e-6)))
        assert psnr(TENSORS[0][:0], TENSORS[1][:0]).shape == (0,)
        tensor = TENSORS[0].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(ssim(tensor, TENSORS[1]).sum(), tensor)
    assert gradient.isfinite().all()
    assert not caplog.records


def test_inside_the_package_nothing_is_looked_at_and_afterwards_again() -> None:
    with unchecked(), unchecked():
        assert psnr(255 * C, 255 * A) < 0
        assert not checking()
    assert checking()
    with pytest.raises(UnfoldError):
        psnr(255 * C, 255 * A)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("border", ["a", "2", None, [1, 2], {}, float("nan"), float("inf"), 1.5, -1, np.array([1, 2])])
def test_a_border_that_is_no_number_of_pixels_is_one_line(metric: Callable[..., Any], border: Any) -> None:
    with pytest.raises(UnfoldError, match="a border is a whole number of pixels") as caught:
        metric(C, A, border)
    assert "\n" not in str(caught.value)
    assert metric(C, A, np.int64(2)) == metric(C, A, 2.0) == metric(C, A, 2)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_do_not_hold_their_numbers_one_by_one_are_one_line(metric: Callable[..., Any]) -> None:
    sparse, quantized = TENSORS[1].to_sparse(), torch.quantize_per_tensor(TENSORS[1], 0.1, 0, torch.quint8)
    with pytest.raises(UnfoldError, match=r"sparse_coo.*\.to_dense\(\)"):
        metric(sparse, sparse)
    with pytest.raises(UnfoldError, match=r"\.dequantize\(\)"):
        metric(quantized, quantized)
