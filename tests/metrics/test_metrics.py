"""PSNR and SSIM equal independent formulas and the published code."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from scipy.signal import convolve2d
from skimage.metrics import structural_similarity

from tests.synthetic import scene
from unfold.errors import UnfoldError
from unfold.metrics import psnr, ssim
from unfold.metrics.colour import CHANNELS
from unfold.metrics.ssim import KINDS
from unfold.util.value_checks import unchecked

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "metrics.npz")


def noisy_pair(seed: int = 0, height: int = 40, width: int = 50) -> tuple[np.ndarray, np.ndarray]:
    clean = scene(height, width, seed) / 255
    return clean, (clean + 0.1 * np.random.default_rng(seed).standard_normal(clean.shape)).clip(0, 1)


def as_tensors(*images: np.ndarray) -> list[torch.Tensor]:
    """Each as a batch of two: the image, and the image upside down."""
    return [torch.from_numpy(np.stack([x, x[::-1]]).transpose(0, 3, 1, 2).copy()) for x in images]


def test_psnr_is_the_formula_for_arrays_tensors_and_integers() -> None:
    a, b = noisy_pair()
    expected = 10 * np.log10(1 / np.mean((a - b) ** 2))
    assert psnr(a, b) == pytest.approx(expected, abs=1e-12)
    assert psnr(*as_tensors(a, b)).tolist() == pytest.approx([expected] * 2, abs=1e-12)
    whole = [np.rint(x * 255).astype(np.uint8) for x in (a, b)]
    mse = np.mean((whole[0].astype(float) - whole[1]) ** 2)
    expected = 20 * np.log10(255 / np.sqrt(mse))
    assert psnr(*whole) == pytest.approx(expected, abs=1e-12)
    assert psnr(*as_tensors(*whole)).tolist() == pytest.approx([expected] * 2, abs=1e-12)
    assert psnr(whole[0], whole[1] / 255) == pytest.approx(expected, abs=1e-12), "a file against floats"
    assert psnr(a[..., 0], b[..., 0]) == pytest.approx(-10 * np.log10(np.mean((a - b)[..., 0] ** 2)))


def test_psnr_leaves_the_border_out_and_is_infinite_for_equal_images() -> None:
    a, b = noisy_pair()
    b[4:-4, 4:-4] = a[4:-4, 4:-4] + 0.01
    assert psnr(a, b, border=4) == pytest.approx(40)
    tensors = as_tensors(a, b)
    assert psnr(*tensors, border=4)[0].item() == pytest.approx(40)
    assert psnr(a, a) == np.inf
    assert psnr(tensors[0], tensors[0])[0].item() == np.inf


@pytest.mark.parametrize("offset", [-1.5, -0.25, 1e-3, 0.1, 0.7, 1.9])
def test_psnr_of_an_offset_is_its_level_and_nothing_is_clamped(offset: float) -> None:
    a, _ = noisy_pair()
    expected = -20 * np.log10(abs(offset))
    for channel, range_ in (("rgb", 1), ("luma", 1), ("y_float", 219 / 255)):
        assert psnr(a + offset, a, 3, channel) == pytest.approx(expected - 20 * np.log10(range_), abs=1e-9)


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_tensors_and_arrays_get_the_same_value_for_every_channel_border_and_rounding(kind: str | None) -> None:
    b, a = (x.astype(np.float32) for x in noisy_pair(2, 31, 26))
    a = a * 1.1 - 0.05
    pairs = [(a, b), tuple(np.rint(x.clip(0, 1) * 255).astype(np.uint8) for x in (a, b))]
    for (x, y), channel, border, round8 in itertools.product(pairs, CHANNELS, (0, 1, 4), (False, True)):
        found = [
            psnr(p, q, border, channel, round8=round8)
            if kind is None
            else ssim(p, q, border, channel, kind, round8=round8)
            for p, q in ((x, y), (x[::-1], y[::-1]), as_tensors(x, y))
        ]
        assert isinstance(found[0], float)
        assert found[2].dtype == torch.float64
        assert found[2].tolist() == pytest.approx(found[:2], rel=1e-12)


def test_how_an_array_lies_in_memory_changes_nothing() -> None:
    a, b = (x.astype(np.float32) for x in noisy_pair())
    expected = psnr(a, b)
    a.flags.writeable = False
    assert psnr(a, np.asfortranarray(b)) == expected
    assert psnr(a[::-1, ::-1], b[::-1, ::-1]) == pytest.approx(expected, rel=1e-14)
    assert psnr(a.astype(">f4"), b.astype(np.longdouble)) == expected


def test_half_precision_is_computed_in_full() -> None:
    pair = as_tensors(*noisy_pair())
    for dtype in (torch.float16, torch.bfloat16):
        halves = [x.to(dtype) for x in pair]
        for round8 in (False, True):
            expected = psnr(*(x.float() for x in halves), round8=round8)
            assert psnr(*halves, round8=round8).tolist() == expected.tolist()


def test_round8_is_what_a_saved_file_scores() -> None:
    b, a = (x.astype(np.float32) for x in noisy_pair(3))
    a = 1.3 * a - 0.1
    saved = [np.rint(x.clip(0, 1) * np.float32(255)).astype(np.uint8) for x in (a, b)]
    for channel in CHANNELS:
        assert psnr(a, b, 2, channel, round8=True) == psnr(*saved, 2, channel)
        assert ssim(a, b, 2, channel, round8=True) == ssim(*saved, 2, channel)
    assert abs(psnr(a, b, round8=True) - psnr(a, b)) > 1e-3
    halves = np.array([0.5, 1.5, 2.5, 253.5]) / 255
    even = np.array([0, 2, 2, 254], np.uint8)
    assert psnr(np.tile(halves, (4, 1)), np.tile(even, (4, 1)), round8=True) == np.inf


def test_nan_is_refused_and_passed_on_inside_the_package_where_a_training_may_fail() -> None:
    a, b = noisy_pair()
    b[20, 20, 1] = np.nan
    with unchecked():
        for channel in CHANNELS:
            assert np.isnan(psnr(a, b, channel=channel, round8=True))
        assert np.isnan(ssim(a, b))
    with pytest.raises(UnfoldError, match="target, the second image, has numbers that are not finite"):
        psnr(a, b)


def test_published_values_of_nrl_gdn() -> None:
    a, b = (torch.from_numpy(GOLDEN[f"nrlgdn_{name}"]) for name in "ab")
    for channel, name in (("rgb", "rgb"), ("luma", "gray")):  # computed there in float32
        assert psnr(a, b, channel=channel).item() == pytest.approx(float(GOLDEN[f"nrlgdn_psnr_{name}"]), abs=2e-7)
        assert ssim(a, b, channel=channel).item() == pytest.approx(float(GOLDEN[f"nrlgdn_ssim_{name}"]), abs=2e-9)


@pytest.mark.parametrize("border", [0, 2, 4, 9])
def test_published_values_of_usrnet(border: int) -> None:
    hr, noisy = GOLDEN["usrnet_hr"], GOLDEN["usrnet_noisy"]
    assert psnr(noisy, hr, border) == pytest.approx(float(GOLDEN[f"usrnet_psnr_b{border}"]), abs=1e-12)
    assert ssim(noisy, hr, border) == pytest.approx(float(GOLDEN[f"usrnet_ssim_rgb_ref_b{border}"]), abs=1e-12)
    if border < 9:
        assert psnr(noisy, hr, border, "y") == pytest.approx(float(GOLDEN[f"usrnet_psnr_y_b{border}"]), abs=1e-12)
        assert ssim(noisy, hr, border, "y") == pytest.approx(float(GOLDEN[f"usrnet_ssim_y_b{border}"]), abs=1e-12)


def gaussian() -> np.ndarray:
    bell = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    return bell / bell.sum()


def similarity(a: np.ndarray, b: np.ndarray, weights: np.ndarray, peak: float = 1, unbiased: float = 1) -> float:
    """SSIM of one window, by its definition."""
    ma, mb = (weights * a).sum(), (weights * b).sum()
    va, vb, cov = (
        unbiased * (weights * p * q).sum() for p, q in ((a - ma, a - ma), (b - mb, b - mb), (a - ma, b - mb))
    )
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    return float((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))


def wang(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of one channel as the 2004 paper has it, by plain 2-d convolutions."""
    window = np.outer(gaussian(), gaussian())

    def mean(x: np.ndarray) -> np.ndarray:
        return convolve2d(x, window, mode="valid")

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return float(np.mean((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))))


@pytest.mark.parametrize("border", [0, 3])
def test_ssim_is_wangs(border: int) -> None:
    a, b = noisy_pair(1)
    inside = slice(border, -border or None)
    expected = np.mean([wang(a[inside, inside, c], b[inside, inside, c]) for c in range(3)])
    assert ssim(a, b, border) == pytest.approx(expected, abs=1e-12)
    assert ssim(a[..., 0], b[..., 0]) == pytest.approx(wang(a[..., 0], b[..., 0]), abs=1e-12)
    assert ssim(a, a) == pytest.approx(1)


def test_wangs_ssim_is_scikit_images_away_from_the_edges() -> None:
    a, b = noisy_pair(1)
    gaussian_window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, full = structural_similarity(a, b, data_range=1, channel_axis=2, full=True, **gaussian_window)
    assert ssim(a, b) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-12)


def test_ssim_of_a_tiny_image_is_the_mean_over_its_windows() -> None:
    a, b = noisy_pair(4, 13, 12)
    found = {"wang": [], "skimage": []}
    for kind, weights, unbiased in (
        ("wang", np.outer(gaussian(), gaussian()), 1),
        ("skimage", np.full((7, 7), 1 / 49), 49 / 48),
    ):
        n = len(weights)
        for i, j, c in itertools.product(range(13 - n + 1), range(12 - n + 1), range(3)):
            window = np.s_[i : i + n, j : j + n, c]
            found[kind].append(similarity(a[window], b[window], weights, unbiased=unbiased))
        assert ssim(a, b, kind=kind) == pytest.approx(np.mean(found[kind]), abs=1e-12)


def test_skimage_kind_is_scikit_images_default() -> None:
    a, b = noisy_pair(5)
    assert ssim(a, b, kind="skimage") == pytest.approx(
        structural_similarity(a, b, data_range=1, channel_axis=2), abs=1e-12
    )
    grey = [np.rint(x[..., 1] * 255).astype(np.uint8) for x in (a, b)]
    assert ssim(*grey, kind="skimage") == pytest.approx(structural_similarity(*grey), abs=1e-12)


def test_matlab3d_takes_a_colour_image_for_a_volume_with_repeated_edges() -> None:
    """Window by window, on levels of 255 as MATLAB has them."""
    a, b = (np.rint(255 * x).astype(np.uint8) for x in noisy_pair(6, 6, 5))
    weights = np.einsum("i,j,k->ijk", gaussian(), gaussian(), gaussian())
    wide = [np.pad(x.astype(float), 5, mode="edge") for x in (a, b)]
    values = []
    for i, j, c in itertools.product(range(6), range(5), range(3)):
        window = np.s_[i : i + 11, j : j + 11, c : c + 11]
        values.append(similarity(wide[0][window], wide[1][window], weights, peak=255))
    assert ssim(a, b, kind="matlab3d") == pytest.approx(np.mean(values), abs=1e-12)


@pytest.mark.parametrize("shape", [(40, 50, 3), (40, 50)])
def test_matlab3d_is_scipys_filters_on_every_axis(shape: tuple[int, ...]) -> None:
    a, b = (x if len(shape) == 3 else x[..., 0] for x in noisy_pair(7))

    def mean(x: np.ndarray) -> np.ndarray:
        for axis in range(x.ndim):
            x = correlate1d(x, gaussian(), axis=axis, mode="nearest")
        return x

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    expected = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
    assert ssim(a, b, kind="matlab3d") == pytest.approx(expected.mean(), abs=1e-12)
    if len(shape) == 3:
        channels = np.mean([ssim(a[..., c], b[..., c], kind="matlab3d") for c in range(3)])
        assert abs(channels - expected.mean()) > 1e-3, "which is not the mean of the channels"


def test_images_that_cannot_be_compared_are_refused() -> None:
    a = np.zeros((20, 20, 3))
    tensor = torch.zeros(1, 3, 20, 20)
    for metric in (psnr, ssim):
        for x, y, options, reason in (
            (a, a[:10], {}, r"differ in shape: \(20, 20, 3\) and \(10, 20, 3\)"),
            (a.astype(np.int32), a.astype(np.int32), {}, "uint8 or float in .0,1., not int32"),
            (tensor.int(), tensor.int(), {}, "uint8 or float in .0,1., not torch.int32"),
            (a > 0, a > 0, {}, "uint8 or float in .0,1., not bool"),
            (a, tensor, {}, "one image is a tensor"),
            (tensor[0], tensor[0], {}, r"shape \(B,C,H,W\), and this one \(3, 20, 20\)"),
            (a[None], a[None], {}, r"shape \(H,W\) or \(H,W,C\), and this one"),
            (a, a, {"border": 10}, "border of 10 pixels leaves nothing of an image of 20x20"),
            (a[:0], a[:0], {}, "leaves nothing of an image of 20x0"),
            (a[:0, :, 0], a[:0, :, 0], {}, "leaves nothing of an image of 20x0"),
            (a, a, {"border": -1}, "0 or more, not -1"),
            (a, a, {"channel": "Y"}, "channel is one of rgb, y, y_float, luma, not 'Y'; did you mean y?"),
            (a, a, {"channel": "hue"}, "not 'hue'$"),
            (a[..., 0], a[..., 0], {"channel": "y"}, "the image has 1 channels; compare a grey image with"),
            (tensor[:, :2], tensor[:, :2], {"channel": "luma"}, "the image has 2 channels"),
        ):
            with pytest.raises(UnfoldError, match=reason):
                metric(x, y, **options)
    with pytest.raises(UnfoldError, match="did you mean matlab3d"):
        ssim(a, a, kind="matlab")
    with pytest.raises(UnfoldError, match="at least 11x11 pixels, not 20x10"):
        ssim(a[:10], a[:10])
    with pytest.raises(UnfoldError, match="at least 11x11 pixels, not 10x10"):
        ssim(a, a, border=5)
    with pytest.raises(UnfoldError, match="at least 7x7 pixels, not 20x6"):
        ssim(a[:6], a[:6], kind="skimage")
