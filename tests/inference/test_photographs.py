"""What a photograph says of itself, and what the four tasks make of it: never worse than before."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from unfold.inference.kernel_and_noise import gaussian
from unfold.inference.photographs.evidence import Evidence, gather, jpeg_error_of
from unfold.inference.photographs.reductions import WAYS, kernel_of, likely_ways
from unfold.inference.photographs.tasks import (
    CAMERA_DENOISER,
    GENTLE,
    TASKS,
    WEIGHTS,
    Task,
    bicubic,
    blended,
    denoised_first,
    keeping_texture,
    restore_photograph,
    weights_for,
)
from unfold.inference.restore import restore_with_tiles
from unfold.metrics import psnr
from unfold.physics.degrade import blur_array
from unfold.weights.load_model import load_model

Command = Callable[..., tuple[int, str, str]]
NOTHING = Evidence(jpeg=0, quality=None, noise=0, blur=0, ways=WAYS)


def photograph(side: int = 192, seed: int = 0) -> NDArray[np.uint8]:
    """What evidence looks at: sharp discs of many sizes and colours over one another, and a sky."""
    rng = np.random.default_rng(seed)
    large = np.full((2 * side, 2 * side, 3), 150.0)
    large += np.linspace(-30, 30, 2 * side)[:, None, None]
    rows, columns = np.mgrid[: 2 * side, : 2 * side]
    for _ in range(260):
        row, column, radius = rng.uniform(0, 2 * side), rng.uniform(0.3, 1) * 2 * side, 3 / rng.uniform(0.02, 1)
        inside = (rows - row) ** 2 + (columns - column) ** 2 < radius**2
        large[inside] = rng.uniform(40, 215) + rng.uniform(-25, 25, 3)
    return np.rint(large.reshape(side, 2, side, 2, 3).mean(axis=(1, 3))).astype(np.uint8)


def as_jpeg(picture: NDArray[np.uint8], path: Path, quality: int) -> NDArray[np.uint8]:
    Image.fromarray(picture).save(path, quality=quality)
    with Image.open(path) as image:
        return np.asarray(image)


def luma(picture: NDArray[Any]) -> NDArray[np.floating]:
    return picture @ np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_what_jpeg_took_is_known_from_its_tables_and_rather_too_much(quality: int, tmp_path: Path) -> None:
    sharp = photograph()
    packed = as_jpeg(sharp, tmp_path / "a.jpg", quality)
    truth = np.std(luma(packed) - luma(sharp))
    found = gather(packed, tmp_path / "a.jpg")
    assert 0.9 * truth < found.jpeg < 1.7 * truth
    assert found.quality == quality
    assert 255 * jpeg_error_of(packed, tmp_path / "a.jpg") == pytest.approx(found.jpeg, rel=1e-3)


@pytest.mark.parametrize("cut", [(0, 0), (3, 5)])
def test_a_png_that_was_a_jpeg_is_found_out_even_where_it_was_cut(cut: tuple[int, int], tmp_path: Path) -> None:
    packed = as_jpeg(photograph(), tmp_path / "a.jpg", 70)
    Image.fromarray(packed[cut[0] :, cut[1] :]).save(tmp_path / "a.png")
    found = gather(packed[cut[0] :, cut[1] :], tmp_path / "a.png")
    assert found.quality == 70
    assert found.jpeg == pytest.approx(gather(packed, tmp_path / "a.jpg").jpeg, rel=0.1)


def test_a_png_that_was_a_good_jpeg_is_left_as_it_is_unless_more_is_asked(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its owner may have nothing better to compare it with; the same pixels in a JPEG file are denoised."""
    rng = np.random.default_rng(0)
    noisy = np.rint((photograph() + rng.normal(0, 3, (192, 192, 3))).clip(0, 255)).astype(np.uint8)
    packed = as_jpeg(noisy, tmp_path / "a.jpg", 75)
    Image.fromarray(packed).save(tmp_path / "a.png")
    assert gather(packed, tmp_path / "a.png").noise == 0
    changed = {}
    for name, words in (("a.png", ()), ("a.jpg", ()), ("a.png", ("--strength", "1.2"))):
        out = tmp_path / "o.png"
        assert command("restore", tmp_path / name, "-o", out, "--task", "denoise", "--overwrite", *words)[0] == 0
        with Image.open(out) as image:
            changed[name, words] = bool((np.asarray(image) != packed).any())
    assert list(changed.values()) == [False, True, True]


def test_a_picture_that_was_never_compressed_has_no_trace_of_it_and_no_noise() -> None:
    for seed in range(3):
        found = gather(photograph(seed=seed))
        assert (found.jpeg, found.quality, found.noise) == (0, None, 0)
        assert found.blur < 0.45


@pytest.mark.parametrize("sigma", [6, 15])
def test_noise_is_found_to_a_third_also_where_jpeg_smoothed_it(sigma: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sharp = photograph()
    noisy = np.rint((sharp + rng.normal(0, sigma, sharp.shape)).clip(0, 255)).astype(np.uint8)
    of_luma = sigma * np.linalg.norm([0.299, 0.587, 0.114])
    assert gather(noisy).noise == pytest.approx(of_luma, rel=0.35)
    packed = as_jpeg(noisy, tmp_path / "a.jpg", 92)
    assert gather(packed, tmp_path / "a.jpg").error() == pytest.approx(of_luma, rel=0.45)
    grey = noisy[..., :1]
    assert gather(grey).noise == pytest.approx(sigma, rel=0.35)


@pytest.mark.parametrize("width", [0.8, 1.2, 2.0])
def test_blur_is_found_to_a_third_and_rather_too_narrow(width: float) -> None:
    soft = gaussian_filter(photograph().astype(float), (width, width, 0)).astype(np.uint8)
    assert 0.66 * width < gather(soft).blur < 1.1 * width


def test_sixteen_bits_say_what_eight_say() -> None:
    soft = gaussian_filter(photograph().astype(float), (1, 1, 0)).astype(np.uint8)
    eight, deep = gather(soft), gather(soft.astype(np.uint16) * 257)
    assert deep.blur == pytest.approx(eight.blur, rel=1e-3)
    assert deep.ways == eight.ways


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_kernels_of_reductions_are_those_of_pillow(scale: int) -> None:
    """Away from the border, to the rounding of 8 bits."""
    large = photograph(96)
    for way, filter_ in zip(WAYS, (Image.BICUBIC, Image.BOX, Image.LANCZOS), strict=True):
        small = np.asarray(Image.fromarray(large).resize((96 // scale, 96 // scale), filter_))
        ours = 255 * blur_array(large / 255, kernel_of(way, scale))[::scale, ::scale].clip(0, 1)
        inside = slice(16 // scale + 3, -(16 // scale) - 3)
        assert np.abs(ours - small)[inside, inside].max() < 1.6, way


def test_area_means_are_distinguished_from_bicubic_reduction() -> None:
    for name in ("astronaut", "chelsea"):
        large = Image.fromarray(getattr(skimage.data, name)()[:300, :448])
        for way, filter_ in (("bicubic", Image.BICUBIC), ("area", Image.BOX), ("lanczos", Image.LANCZOS)):
            small = luma(np.asarray(large.resize((224, 150), filter_)))
            assert (likely_ways(small, jpeg=False)[0] == "area") == (way == "area"), (name, way)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 200, 1), (8, 8, 3), (40, 33, 3)])
def test_evidence_of_the_smallest_and_of_flat_pictures_is_that_nothing_is_wrong(shape: tuple[int, ...]) -> None:
    found = gather(np.full(shape, 77, np.uint8))
    assert (found.jpeg, found.noise, found.blur) == (0, 0, 0)


def test_with_nothing_wrong_nothing_is_changed_and_that_is_said() -> None:
    def never(inputs: dict[str, Any]) -> Any:
        raise AssertionError("the network is not asked")

    sharp = photograph()
    for task in ("denoise", "deblur"):
        image, sentence = restore_photograph(sharp, task, NOTHING, load_model(WEIGHTS[task]), never)
        assert image is sharp
        assert "left as it is" in sentence


def test_a_result_that_rings_is_refused_for_a_safer_kernel_and_at_last_for_bicubic_interpolation() -> None:
    small = photograph(64)
    good, bad = bicubic(small, 2), np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    net = load_model(WEIGHTS["enlarge"])
    asked = []

    def run(inputs: dict[str, Any]) -> Any:
        asked.append(inputs["kernel"])
        return bad if len(asked) == 1 else good

    image, sentence = restore_photograph(small, "enlarge", NOTHING, net, run, scale=2)
    np.testing.assert_array_equal(image, good)
    np.testing.assert_array_equal(asked[1], kernel_of("area", 2))
    assert "made small by area (bicubic was refused: it overshoots" in sentence
    image, sentence = restore_photograph(small, "enlarge", NOTHING, net, lambda inputs: bad, scale=2)
    np.testing.assert_array_equal(image, good)
    assert "enlarged by bicubic interpolation instead" in sentence
    soft = Evidence(jpeg=0, quality=None, noise=0, blur=1, ways=WAYS)
    image, sentence = restore_photograph(small, "deblur", soft, net, lambda inputs: bad[:64, :64])
    np.testing.assert_array_equal(image, small)
    assert "refused" in sentence


def test_what_denoising_takes_is_no_more_than_the_noise_assumed() -> None:
    sharp = photograph(64)
    paint = np.full_like(sharp, 128)
    noisy = Evidence(jpeg=0, quality=None, noise=5, blur=0, ways=WAYS)
    image, sentence = restore_photograph(sharp, "denoise", noisy, load_model(WEIGHTS["denoise"]), lambda inputs: paint)
    change = np.sqrt(np.mean((luma(image) - luma(sharp)) ** 2))
    assert change == pytest.approx(1.3 * 5, rel=0.02)
    assert "% of the change kept" in sentence


def test_a_denoiser_that_takes_no_level_works_too_and_keeps_half_where_only_jpeg_speaks_for_noise() -> None:
    picture = photograph(32)
    net = load_model("dgunet_denoise_small")
    given: list[dict[str, Any]] = []

    def run(inputs: dict[str, Any]) -> Any:
        given.append(inputs)
        return picture + np.uint8(2)

    packed = Evidence(jpeg=6, quality=70, noise=0, blur=0, ways=WAYS)
    image, _ = restore_photograph(picture, "denoise", packed, net, run)
    assert given == [{}]
    np.testing.assert_array_equal(image, picture + np.uint8(1))


def test_strength_scales_what_is_assumed_and_zero_changes_nothing() -> None:
    picture, levels = photograph(32), []
    noisy = Evidence(jpeg=0, quality=None, noise=8, blur=0, ways=WAYS)

    def run(inputs: dict[str, Any]) -> Any:
        levels.append(255 * inputs["sigma"])
        return picture

    for strength in (0.5, 1, 2, 4):
        restore_photograph(picture, "denoise", noisy, load_model(WEIGHTS["denoise"]), run, strength=strength)
    np.testing.assert_allclose(levels, [4, 8, 16, 24])  # no more than the weights have seen
    assert (
        restore_photograph(picture, "denoise", noisy, load_model(WEIGHTS["denoise"]), run, strength=0).image is picture
    )


def level_given(task: Task, evidence: Evidence) -> float:
    """The noise level, of 255, that usrnet_tiny_small gets for a grey picture."""
    grey, given = photograph(64)[..., :1], []

    def run(inputs: dict[str, Any]) -> NDArray[Any]:
        given.append(255 * inputs["sigma"])
        changed = bicubic(grey, inputs["scale"]).astype(float) + given[-1]  # as much as noise of that level is
        return changed.clip(0, 255).astype(np.uint8)

    restore_photograph(grey, task, evidence, load_model(WEIGHTS[task]), run, 2 if task == "enlarge" else 1)
    assert len(set(np.round(given, 6))) == 1
    return float(given[0])


@pytest.mark.parametrize("task", ["denoise", "deblur", "enlarge"])
def test_noise_is_given_to_the_network_as_it_is_found(task: Task) -> None:
    assert level_given(task, Evidence(jpeg=0, quality=None, noise=8, blur=1, ways=WAYS)) == pytest.approx(8)


@pytest.mark.parametrize(
    ("task", "jpeg", "noise", "level"),
    [
        ("denoise", 6, 0, 1.3 * (6 - 0.7)),
        ("denoise", 6, 5, np.hypot(5, 1.3 * (6 - 0.7))),
        ("denoise", 14, 0, 16),  # the most for JPEG
        ("denoise", 14, 20, 24),  # the most of all
        ("deblur", 6, 5, np.hypot(5, 1.3 * (6 - 0.7))),
        ("deblur", 1, 0, 3),  # the least
        ("enlarge", 6, 0, 1.7 * 6),
        ("enlarge", 6, 5, np.hypot(5, 1.7 * 6)),
        ("enlarge", 0, 0, 1),
    ],
)
def test_jpeg_error_counts_as_noise_as_the_page_says(task: Task, jpeg: float, noise: float, level: float) -> None:
    """docs/photographs.md#what-is-done-and-the-guard"""
    assert level_given(task, Evidence(jpeg=jpeg, quality=40, noise=noise, blur=1, ways=WAYS)) == pytest.approx(level)


def test_weak_errors_of_jpeg_alone_are_left_in_grey_pictures() -> None:
    grey = photograph(64)[..., :1]
    net = load_model(WEIGHTS["denoise"])
    for jpeg, left in ((2.9, True), (3.1, False)):
        found = Evidence(jpeg=jpeg, quality=88, noise=0, blur=0, ways=WAYS)
        image, _ = restore_photograph(grey, "denoise", found, net, lambda inputs: np.zeros_like(grey))
        assert (image is grey) == left


@pytest.mark.parametrize(
    ("jpeg", "strength", "change", "levels", "result"),
    [
        (0, 1, 4, [8], 4),  # the network removes what noise of 8 would be
        (0, 1, 3, [8], None),  # it removes less than 0.38 of it: texture
        (0, 0.5, 3, [8], None),
        (0, 0.5, 4, [8, 4], 4),  # it is judged at strength 1, as at less the network leaves noise, too
        (0, 2, 3, [16], 3),  # the user knows that it is noise
        (5, 1, 3, [np.hypot(8, 1.3 * 4.3), 1.3 * 4.3], 3),  # what JPEG left is removed all the same
    ],
)
def test_noise_of_grey_pictures_that_the_network_sees_as_texture_is_left(
    jpeg: float, strength: float, change: int, levels: list[float], result: int | None
) -> None:
    grey, given = photograph(64)[..., :1] // 2 + np.uint8(40), []
    found = Evidence(jpeg=jpeg, quality=85 if jpeg else None, noise=8, blur=0, ways=WAYS)

    def run(inputs: dict[str, Any]) -> NDArray[Any]:
        given.append(255 * inputs["sigma"])
        return grey + np.uint8(change)

    image, sentence = restore_photograph(grey, "denoise", found, load_model(WEIGHTS["denoise"]), run, strength=strength)
    assert given == pytest.approx(levels)
    assert ("noise of 8.0 (of 255) taken for texture" in sentence) == (result is None or jpeg > 0)
    if result is None:
        assert image is grey
    else:
        np.testing.assert_array_equal(image, grey + np.uint8(result))


@pytest.mark.parametrize(
    ("noise", "quality", "said"), [(12, None, True), (9, None, False), (12, 80, False)], ids=["strong", "weak", "jpeg"]
)
def test_strong_noise_without_jpeg_names_the_weights_for_white_noise(
    noise: float, quality: int | None, said: bool
) -> None:
    found = Evidence(jpeg=0, quality=quality, noise=noise, blur=0, ways=WAYS)
    clean = photograph(64) // 2 + np.uint8(40)
    noisy = (clean + np.random.default_rng(0).normal(0, noise, clean.shape)).clip(0, 255).astype(np.uint8)
    for part, weights in ((slice(0, 3), CAMERA_DENOISER), (slice(0, 1), WEIGHTS["denoise"])):
        picture, result = noisy[..., part], clean[..., part]
        image, sentence = restore_photograph(
            picture, "denoise", found, load_model(weights), lambda inputs, result=result: result
        )
        assert image is not picture
        assert ("--weights dgunet_denoise_small removes more" in sentence) == said


def test_the_sentence_says_when_noise_is_more_than_is_assumed() -> None:
    grey = photograph(64)[..., :1] // 2
    for noise, words in ((30, "noise of 24 (of 255, the most it can assume)"), (20, "noise of 20 (of 255);")):
        found = Evidence(jpeg=0, quality=None, noise=noise, blur=0, ways=WAYS)
        net = load_model(WEIGHTS["denoise"])
        assert words in restore_photograph(grey, "denoise", found, net, lambda inputs: grey + np.uint8(20)).sentence


def test_colour_pictures_are_denoised_by_the_network_for_cameras_and_others_are_not() -> None:
    picture = photograph(32)
    coarse = Evidence(jpeg=9, quality=40, noise=0, blur=0, ways=WAYS)
    assert weights_for("denoise", NOTHING, picture) == CAMERA_DENOISER
    assert weights_for("denoise", coarse, picture) == WEIGHTS["denoise"]  # it has not seen such JPEG
    assert weights_for("denoise", NOTHING, picture[..., :1]) == WEIGHTS["denoise"]
    assert weights_for("denoise", NOTHING, np.repeat(picture[..., :1], 3, axis=2)) == WEIGHTS["denoise"]
    assert weights_for("deblur", NOTHING, picture) == WEIGHTS["deblur"]


def test_a_soft_colour_picture_is_denoised_before_it_is_sharpened(
    tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "unfold")
    soft = np.rint(blur_array(photograph(96, seed=2) / 255, gaussian(1.2, 1)) * 255).clip(0, 255)
    noisy = (soft + np.random.default_rng(0).normal(0, 6, soft.shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "a.png")
    assert command("restore", tmp_path / "a.png", "-o", tmp_path / "o.png", "--task", "deblur")[0] == 0
    assert "a.png: denoised first; found" in caplog.text
    clean = restore_with_tiles(noisy, load_model(CAMERA_DENOISER), inputs={"strength": GENTLE}, tile=None).image
    clean = keeping_texture(noisy, clean)
    net = load_model(WEIGHTS["deblur"])
    expected, _ = restore_photograph(
        *(clean, "deblur", gather(noisy), net),
        lambda inputs: restore_with_tiles(clean, net, inputs=inputs, tile=None).image,
    )
    with Image.open(tmp_path / "o.png") as image:
        assert np.abs(np.asarray(image).astype(int) - expected).max() <= 1
    sharp = Evidence(jpeg=0, quality=None, noise=9, blur=0, ways=WAYS)
    assert not denoised_first("deblur", sharp, noisy)
    assert not denoised_first("deblur", Evidence(0, None, 0, 1.0, WAYS), noisy[..., :1])


def test_a_small_change_is_dropped_and_a_large_one_kept_unless_jpeg_speaks_for_it_or_it_rings() -> None:
    picture, given = np.full((32, 32, 3), 100, np.uint8), []
    picture[::4] = 150
    net = load_model(CAMERA_DENOISER)
    fine = Evidence(jpeg=2, quality=92, noise=0, blur=0, ways=WAYS)
    packed = Evidence(jpeg=5, quality=70, noise=0, blur=0, ways=WAYS)
    for evidence, change, kept in ((fine, 1, False), (fine, 3, True), (packed, 1, True), (packed, 90, False)):
        result = (picture.astype(int) + np.where(picture > 120, change, -change)).clip(0, 255).astype(np.uint8)

        def run(inputs: dict[str, Any], result: Any = result) -> Any:
            given.append(inputs)
            return result

        image, sentence = restore_photograph(picture, "denoise", evidence, net, run, strength=1.5)
        np.testing.assert_array_equal(image, blended(picture, result, 0.8) if kept else picture)
        assert ("left as it is" in sentence) == (not kept)
    assert given == 4 * [{"strength": pytest.approx(1.5 * GENTLE)}]


def test_half_the_strength_removes_less_where_noise_is_found_and_texture_alone_is_kept() -> None:
    rng = np.random.default_rng(0)
    picture = np.full((64, 64, 3), 128, np.uint8)
    picture[:, 32:] = rng.integers(60, 200, (64, 32, 3))
    net = load_model(CAMERA_DENOISER)
    noisy = Evidence(jpeg=0, quality=None, noise=5, blur=0, ways=WAYS)
    even = rng.choice([-2, 2], picture.shape)
    textured = np.where(np.arange(64)[None, :, None] >= 32, rng.choice([-9, 9], picture.shape), 0)
    for change, strength, kept in ((even, 0.5, True), (even, 1, False), (textured, 1, False)):
        result = (picture + change).clip(0, 255).astype(np.uint8)
        image, sentence = restore_photograph(
            picture, "denoise", noisy, net, lambda inputs, x=result: x, strength=strength
        )
        assert (image is not picture, "left as it is" not in sentence) == (kept, kept), sentence


def test_texture_in_a_picture_without_a_trace_of_jpeg_or_noise_is_left_unless_more_is_asked_for() -> None:
    picture = photograph(32)
    net = load_model(CAMERA_DENOISER)
    image, sentence = restore_photograph(picture, "denoise", NOTHING, net, lambda inputs: picture // 2)
    assert image is picture
    assert "--strength 2 removes more" in sentence
    busy = np.random.default_rng(0).integers(60, 200, (32, 32, 3)).astype(np.uint8)
    smoother = np.full_like(busy, 130)
    image, _ = restore_photograph(busy, "denoise", NOTHING, net, lambda inputs: smoother, strength=2)
    np.testing.assert_array_equal(image, smoother)


def test_a_jpeg_of_high_quality_is_left_as_it_is() -> None:
    picture = photograph(32)
    fine = Evidence(jpeg=1.5, quality=95, noise=0, blur=0, ways=WAYS)
    image, sentence = restore_photograph(
        picture, "denoise", fine, load_model(WEIGHTS["denoise"]), lambda inputs: picture // 2
    )
    assert image is picture
    assert "left as it is" in sentence


def test_rain_is_bright_and_a_change_that_is_not_is_refused() -> None:
    picture, net = photograph(32), load_model("dgunet_derain_small")
    for change, taken in ((-6, True), (6, False), (0, False)):
        result = (picture.astype(int) + change).clip(0, 255).astype(np.uint8)
        image, sentence = restore_photograph(picture, "derain", NOTHING, net, lambda inputs, x=result: x)
        assert (image is picture, "found no rain" in sentence) == (not taken, not taken)


def test_blending_rounds_and_keeps_the_kind() -> None:
    y, x = np.full((300, 2, 3), 10, np.uint16), np.full((300, 2, 3), 21, np.uint16)
    mixed = blended(y, x, 0.5)
    assert mixed.dtype == np.uint16
    assert (mixed == 16).all()


@pytest.mark.parametrize("quality", [None, 80])
def test_enlarging_beats_bicubic_interpolation_whatever_made_the_picture_small(
    quality: int | None, tmp_path: Path
) -> None:
    large = photograph(192, seed=5)
    net = load_model(WEIGHTS["enlarge"])
    for filter_ in (Image.BICUBIC, Image.BOX, Image.LANCZOS):
        file = io.BytesIO()
        Image.fromarray(large).resize((96, 96), filter_).save(
            file, **({"format": "PNG"} if quality is None else {"format": "JPEG", "quality": quality})
        )
        path = tmp_path / "small"
        path.write_bytes(file.getvalue())
        with Image.open(path) as image:
            small = np.asarray(image)
        found = restore_photograph(
            *(small, "enlarge", gather(small, path), net),
            *(lambda inputs, y=small: restore_with_tiles(y, net, inputs=inputs, tile=None).image, 2),
        ).image
        assert psnr(found, large, 4) > psnr(bicubic(small, 2), large, 4) + 0.2


def test_a_soft_picture_becomes_sharper_and_nearer_to_the_truth() -> None:
    sharp = photograph(128, seed=2)
    soft = np.rint(blur_array(sharp / 255, gaussian(1.0, 1)) * 255).clip(0, 255).astype(np.uint8)
    net = load_model(WEIGHTS["deblur"])
    image, sentence = restore_photograph(
        soft, "deblur", gather(soft), net, lambda inputs: restore_with_tiles(soft, net, inputs=inputs, tile=None).image
    )
    assert psnr(image, sharp, 8) > psnr(soft, sharp, 8) + 1
    assert "assumed a Gaussian of" in sentence


def test_every_task_is_a_command_with_one_sentence_and_keeps_grey_alpha_and_sixteen_bits(
    tmp_path: Path, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "unfold")
    from unfold.inference.picture_files import Picture, read_picture, write_picture

    deep = photograph(40).astype(np.uint16) * 257
    write_picture(tmp_path / "a.png", Picture(deep, alpha=deep[..., 0]))
    write_picture(tmp_path / "g.png", Picture(photograph(40)[..., :1]))
    for task in TASKS:
        scale = 2 if task == "enlarge" else 1
        words = [
            "restore",
            tmp_path / "a.png",
            "-o",
            tmp_path / task,
            "--task",
            task,
            *(["--scale", 2] if scale > 1 else []),
        ]
        caplog.clear()
        assert command(*words)[0] == 0
        assert sum("a.png: " in record.getMessage() for record in caplog.records) == 1
        found = read_picture(tmp_path / task / "a.png")
        assert found.pixels.shape == (40 * scale, 40 * scale, 3)
        assert found.pixels.dtype == np.uint16
        assert found.alpha is not None
        words[1:4] = [tmp_path / "g.png", "-o", tmp_path / f"{task}.png"]
        assert command(*words)[0] == 0
        assert read_picture(tmp_path / f"{task}.png").pixels.shape == (40 * scale, 40 * scale, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --task denoise|enlarge|deblur|derain, or --weights"),
        (["--task", "denoise", "--weights", "usrnet_tiny_small"], "leave --weights out"),
        (["--task", "deblur", "--kernel", "gauss:1"], "leave --kernel out"),
        (["--task", "denoise", "--sigma", "3", "--input", "a=b"], "leave --sigma, --input out"),
        (["--task", "enlarge"], "--task enlarge needs --scale 2, 3, 4"),
        (["--task", "enlarge", "--scale", "5"], "--task enlarge needs --scale 2, 3, 4"),
        (["--task", "denoise", "--scale", "2"], "--scale goes with --task enlarge"),
        (["--task", "denoise", "--strength", "-1"], "--strength is a number from 0 to 4"),
        (["--task", "denoise", "--strength", "nan"], "--strength is a number from 0 to 4"),
        (["--weights", "usrnet_tiny_small", "--strength", "1"], "--strength goes with --task"),
    ],
)
def test_words_that_do_not_go_together_are_refused_in_one_line(
    words: list[str], said: str, tmp_path: Path, command: Command
) -> None:
    Image.fromarray(photograph(16)).save(tmp_path / "a.png")
    code, _, err = command("restore", tmp_path / "a.png", "-o", tmp_path / "o", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
