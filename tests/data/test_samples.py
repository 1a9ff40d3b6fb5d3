"""Samples are pure functions of their key, are what they say, and follow the distributions of the papers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from tests.synthetic import scene
from unfold.data.batches import BatchSampler, Key, collate
from unfold.data.images import read_grey
from unfold.data.patches import MemoryStore, Patches, read_store
from unfold.degradations.blur_downscale import BlurDownscale
from unfold.degradations.camera_noise import CameraNoise
from unfold.degradations.degradation import Degradation
from unfold.degradations.gaussian_noise import GaussianNoise
from unfold.degradations.nonuniform_noise import BlurNoise
from unfold.degradations.paired import Paired, saturated
from unfold.degradations.random_kernels import random_kernel
from unfold.degradations.sensing import Sensing
from unfold.degradations.synthetic_rain import SyntheticRain
from unfold.errors import UnfoldError
from unfold.facts import image, level
from unfold.metrics.colour import convert
from unfold.physics.degrade import blur_array, blur_uint8
from unfold.physics.kernels import bicubic_kernel


def grey(kind: Degradation) -> Degradation:
    """As training makes it for a network of one channel."""
    kind.channels = 1
    return kind


KINDS: dict[str, Degradation] = {
    "gaussian": GaussianNoise(25),
    "paired": Paired(saturation=True),
    "usrnet": BlurDownscale(),
    "nrl_gdn": BlurNoise(),
    "rain": SyntheticRain(),
    "camera_noise": CameraNoise(),
    "compressive_sensing": grey(Sensing()),
}
PATCH = 36
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def patches(kind: Degradation, seed: int = 0, patch: int = PATCH) -> Patches:
    pictures = [scene(*size, seed=i) for i, size in enumerate([(48, 40), (40, 56), (30, 37)])]
    images = [
        {"target": p, "input": np.roll(p, 1, axis=1)} if isinstance(kind, Paired) else {"target": p} for p in pictures
    ]
    return Patches(MemoryStore(images), patch, seed, kind.make)


def batches(
    kind: Degradation, workers: int = 0, rank: int = 0, world: int = 1, length: int = 12
) -> Iterator[dict[str, Any]]:
    scales = (1, 2, 3, 4) if "scale" in kind.inputs else (1,)
    sampler = BatchSampler(length, 6, 0, scales, rank, world)
    sampler.start(2)
    yield from DataLoader(patches(kind), batch_sampler=sampler, num_workers=workers, collate_fn=collate)


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(v, b[k]) if isinstance(v, Tensor) else v == b[k] for k, v in a.items()
    )


@every_kind
def test_a_sample_is_the_same_whenever_and_wherever_it_is_asked_for(kind: Degradation) -> None:
    first, again = patches(kind), patches(kind)
    keys = [Key(e, n, s) for e, n, s in ((0, 0, 1), (0, 7, 2), (1, 0, 3), (5, 3, 4))]
    samples = {key: first[key] for key in keys}
    for key in reversed(keys):
        assert equal(samples[key], again[key])
    assert not equal(first[Key(0, 1)], first[Key(1, 1)])
    assert not equal(first[Key(0, 1)], patches(kind, seed=1)[Key(0, 1)])


@every_kind
def test_batches_are_the_same_for_any_number_of_processes(kind: Degradation) -> None:
    for world in (2, 3):
        parts = [list(batches(kind, rank=rank, world=world)) for rank in range(world)]
        for whole, *shares in zip(batches(kind), *parts, strict=True):
            assert len({share.get("scale") for share in shares}) == 1
            for stage in (dict, kind.render):
                found = [stage(share) for share in shares]
                for name, value in stage(whole).items():
                    if isinstance(value, Tensor):
                        assert torch.equal(torch.cat([share[name] for share in found]), value), name


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than this machine has cores
@pytest.mark.parametrize("kind", [KINDS["usrnet"], KINDS["paired"]], ids=["usrnet", "paired"])
def test_batches_are_the_same_for_any_number_of_workers(kind: Degradation) -> None:
    alone = list(batches(kind))
    for workers in (1, 3):
        found = batches(kind, workers)
        assert all(equal(a, b) for a, b in zip(alone, found, strict=True))


@every_kind
def test_what_is_rendered_is_what_networks_take(kind: Degradation) -> None:
    kind.asked = {name: level() if name == "sigma" else image() for name in kind.inputs}
    for batch in batches(kind):
        rendered = kind.render(batch)
        channels = 1 if "image" in kind.inputs else 3
        target = rendered["target"]
        assert (target.shape, target.dtype) == ((6, channels, PATCH, PATCH), torch.float32)
        assert 0 <= target.min() < 0.3 < 0.6 < target.max() <= 1
        for name in set(kind.inputs) - {"scale"}:
            assert rendered[name].dtype == torch.float32
            assert len(rendered[name]) == 6
        if "y" in kind.inputs:
            side = PATCH // rendered.get("scale", 1)
            assert rendered["y"].shape == (6, 3, side, side)


def levels(target: Tensor) -> NDArray[np.uint8]:
    """(C,H,W) in [0,1] -> (H,W,C) uint8."""
    return np.rint(255 * target.permute(1, 2, 0).numpy()).astype(np.uint8)


def close_levels(a: NDArray[Any], b: NDArray[Any], exact: NDArray[Any]) -> bool:
    """Whether two floors of one blurred image agree, except where it is whole and rounding decides."""
    decided = np.abs(exact - np.rint(exact)) > 1e-9
    return bool((a == b)[decided].all() and np.abs(a - b).max() <= 1)


def test_usrnet_inputs_are_the_exact_degradation_of_their_target_by_their_kernel() -> None:
    kind, noises = BlurDownscale(), []
    for batch in batches(kind, length=48):
        rendered = kind.render(batch)
        scale = rendered["scale"]
        for target, y, kernel, sigma in zip(*(rendered[n] for n in ("target", "y", "kernel", "sigma")), strict=True):
            image, k = levels(target), kernel[0].double().numpy()
            assert k.sum() == pytest.approx(1, abs=1e-6)
            small = blur_uint8(image, k)[::scale, ::scale].astype(np.float64)
            noise = 255 * y.permute(1, 2, 0).double().numpy() - small
            if sigma == 0:
                exact = blur_array(image, k)[::scale, ::scale]
                assert close_levels(small, np.rint(small + noise), exact)
                assert np.abs(noise - np.rint(noise)).max() < 1e-4, "whole grey levels"
            else:
                noises.append((noise / (255 * float(sigma))).ravel())
    whole = np.concatenate(noises)
    assert abs(whole.mean()) < 0.03
    assert abs(whole.std() - 1) < 0.02, "sigma is the noise's standard deviation"


def test_nrl_gdn_inputs_are_the_exact_degradation_and_each_quadrant_has_its_noise() -> None:
    kind = BlurNoise()
    batch = next(batches(kind))
    rendered = kind.render(batch)
    half, uniform = PATCH // 2, 0
    for target, y, kernel, sigmas in zip(
        rendered["target"], rendered["y"], rendered["kernel"], batch["levels"], strict=True
    ):
        noise = y.permute(1, 2, 0).numpy() - blur_uint8(levels(target), kernel[0].double().numpy()) / 255
        uniform += len(set(sigmas.tolist())) == 1
        for sigma, quadrant in zip(
            sigmas, (noise[:half, :half], noise[:half, half:], noise[half:, :half], noise[half:, half:]), strict=True
        ):
            # 972 numbers: the error of the deviation is 2.3 % of it, one grey level here and there left aside.
            assert abs(quadrant.std() - sigma) < 0.1 * sigma + 5e-4
    assert 0 < uniform < 6


def test_kernels_and_noise_follow_the_papers() -> None:
    rng = np.random.default_rng(0)
    image = {"target": np.zeros((4, 4, 3), np.uint8)}
    kind = BlurDownscale()
    drawn = [kind.make(image, rng, 1) for _ in range(600)]
    motion = np.mean([(sample["kernel"] == 0).mean() > 0.1 for sample in drawn])
    assert abs(motion - 0.5) < 0.07, "Gaussians have no zeros, motion kernels mostly have"
    sigmas = np.array([sample["sigma"] for sample in drawn]) * 255
    assert np.allclose(sigmas, np.rint(sigmas), atol=1e-4)
    assert sigmas.max() == pytest.approx(24)
    assert abs((sigmas == 0).mean() - (1 / 9 + 8 / 9 / 25)) < 0.045
    motion = np.mean([(random_kernel(rng, 0.65) == 0).mean() > 0.1 for _ in range(600)])
    assert abs(motion - 0.65) < 0.07
    for highest in (25.0, 12.75):
        made = [BlurNoise(highest).make(image, rng, 1)["levels"] * 255 for _ in range(300)]
        assert 0.95 * highest < np.max(made) < highest
        assert abs(np.mean(made) - highest / 2) < 0.1 * highest
        assert abs(np.mean([len(set(four)) == 1 for four in made]) - 2 / 3) < 0.09


@pytest.mark.parametrize("kind", [GaussianNoise, BlurDownscale, BlurNoise])
def test_the_grey_share_of_samples_is_the_one_asked_for(kind: Any) -> None:
    image = {"target": scene(30, 30)}
    luma = convert(torch.from_numpy(image["target"]).permute(2, 0, 1)[None], "luma")[0, 0].numpy()

    def made(share: float, rng: np.random.Generator, of: Any = image) -> tuple[NDArray[np.float32], Any, Any]:
        """Target in [0,1], noise, and the rest of a sample."""
        degradation = kind(grey=share, **({"blind": True} if kind is GaussianNoise else {}))
        degradation.asked = {"sigma": level()}
        sample = degradation.make(of, rng, 2 if kind is BlurDownscale else 1)
        target = sample.pop("target")
        noise = sample.pop("noise", None)
        target = target / np.float32(255) if noise is not None else target
        return target, sample.pop("y") - target if noise is None else noise, sample

    tolerance = 1e-6 if kind is GaussianNoise else 0  # whose noise is found as y - x

    def equal(values: Any) -> bool:
        return bool(np.ptp(values, axis=2).max() <= tolerance)

    rng = np.random.default_rng(0)
    samples = [made(0.3, rng)[:2] for _ in range(1500)]
    greys = [(target, noise) for target, noise in samples if equal(target)]
    assert abs(len(greys) / 1500 - 0.3) < 0.04
    assert max(np.abs(255 * (target[..., 0] - luma)).max() for target, _ in greys) < 0.51
    assert abs(np.mean([equal(noise) for _, noise in greys]) - 1 / 3) < 0.07
    assert not any(equal(noise) for target, noise in samples if not equal(target))

    (target, noise, rest), (grey_target, grey_noise, grey_rest) = (
        made(n, np.random.default_rng(1)) for n in (0.0, 1.0)
    )
    assert np.array_equal(np.rint(255 * target), image["target"])
    assert equal(grey_target)
    assert np.abs(noise - grey_noise)[..., 0].max() <= tolerance, "the share changes nothing else"
    assert rest.keys() == grey_rest.keys()
    assert all(np.array_equal(rest[name], grey_rest[name]) for name in rest)
    bands = {"target": np.concatenate([image["target"], image["target"][..., :1]], axis=2)}
    assert np.array_equal(np.rint(255 * made(1.0, rng, bands)[0]), bands["target"]), "only colour can be grey"
    if kind is not GaussianNoise:  # which makes floats
        for share, images in ((0.0, image), (1.0, bands)):
            assert kind(grey=share).make(images, rng, 1)["target"] is images["target"]


def test_the_sharp_share_of_usrnets_samples_is_the_one_asked_for() -> None:
    image = {"target": np.zeros((4, 4, 3), np.uint8)}
    rng, kind = np.random.default_rng(0), BlurDownscale(sharp=0.3)
    samples = [kind.make(image, rng, 3) for _ in range(1500)]
    sharp = [sample for sample in samples if sample["rounding"]]
    assert abs(len(sharp) / 1500 - 0.3) < 0.04
    expected = bicubic_kernel(3).astype(np.float32)
    bicubic = np.array([np.array_equal(sample["kernel"][..., 0], expected) for sample in sharp])
    clean = np.array([sample["sigma"] == 0 for sample in sharp])
    assert abs(bicubic.mean() - 0.5) < 0.08
    for some in (bicubic, ~bicubic):
        assert abs(clean[some].mean() - 0.57) < 0.12, "half, and 1/9 + 8/225 of the rest"
    assert all((sample["kernel"] >= 0).all() for sample in samples if not sample["rounding"])
    papers = BlurDownscale().make(image, np.random.default_rng(1), 2)["kernel"]
    assert np.array_equal(papers, random_kernel(np.random.default_rng(1), 0.5)), "without a share, no draw for it"


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_sharp_samples_are_rounded_and_stay_within_8_bits(scale: int) -> None:
    image = np.zeros((48, 48, 3), np.uint8)
    image[8:30, 12:41] = 255  # its edges overshoot under the bicubic kernel
    kind = BlurDownscale(sigma=1, sharp=1)  # no noise
    samples = Patches(MemoryStore([{"target": image}]), 48, 0, kind.make)
    rendered = kind.render(collate([samples[Key(0, number, scale)] for number in range(6)]))
    beyond = False
    for target, y, kernel in zip(*(rendered[n] for n in ("target", "y", "kernel")), strict=True):
        exact = blur_array(levels(target), kernel[0].double().numpy())[::scale, ::scale] + 0.5
        found = 255 * y.permute(1, 2, 0).double().numpy()
        assert np.abs(found - np.rint(found)).max() < 1e-4
        assert close_levels(np.rint(found), np.floor(exact).clip(0, 255), exact)
        beyond |= exact.min() < -1 and exact.max() > 257
    assert beyond or scale == 1


def test_pairs_stay_pairs_and_saturation_changes_both_by_one_factor() -> None:
    picture = scene(40, 40)
    store = MemoryStore([{"input": picture, "target": picture}])
    plain = Patches(store, 32, 0, Paired().make)
    colour = Patches(store, 32, 0, Paired(saturation=True).make)
    changed = 0
    for i in range(90):
        sample, other = plain[Key(0, i)], colour[Key(0, i)]
        assert torch.equal(sample["target"], sample["y"])
        assert torch.equal(other["target"], other["y"]), "one factor for both"
        changed += not torch.equal(sample["target"], other["target"])
    assert 18 < changed < 42, "a third"
    grey = saturated(picture, 0)
    assert (grey == grey[..., :1]).all()
    assert np.abs(grey[..., 0] - picture @ [0.299, 0.587, 0.114]).max() < 1
    assert np.array_equal(saturated(picture, 1), picture)


def test_pairs_are_read_from_their_train_folder_and_two_sizes_are_refused(tmp_path: Path) -> None:
    for side in ("input", "target"):
        (tmp_path / "train" / side).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(scene(20 + 4 * i * (side == "input"), 24, seed=i)).save(
                tmp_path / "train" / side / f"{i}.png"
            )
    kind = Paired()
    with pytest.raises(UnfoldError, match=r"2 of 3 training images cannot be used.*1.png is 24x24 and .*1.png 24x20"):
        read_store(kind.sources(str(tmp_path)), kind.read)
    store, left_out = read_store(kind.sources(str(tmp_path)), kind.read, skip_bad=True)
    assert (len(store), len(left_out)) == (1, 2)
    assert store.size(0) == (20, 24)


def test_rain_brightens_and_its_pictures_have_8_bits() -> None:
    kind = SyntheticRain()
    batch = next(batches(kind))
    assert batch["y"].dtype == torch.uint8
    assert (batch["y"] >= batch["target"]).all()
    changed = (batch["y"] > batch["target"]).float().mean((1, 2, 3))
    assert changed.max() > 0.2
    assert changed.max() > 2 * changed.min(), "rain of many rates"


def test_compressive_sensing_takes_limited_range_y_of_colour_and_grey_as_it_is(tmp_path: Path) -> None:
    picture = scene(40, 40)
    Image.fromarray(picture).save(tmp_path / "0.png")
    Image.fromarray(picture[..., 0]).save(tmp_path / "1.png")
    kind = grey(Sensing())
    store, _ = read_store(kind.sources(str(tmp_path)), kind.read)
    samples = [Patches(store, 40, 0, kind.make)[Key(0, i)]["target"][0].numpy() for i in range(12)]
    y = convert(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None], "y_float")[0, 0].numpy()
    for sample in samples:
        kinds = [
            np.allclose(np.sort(sample, None), np.sort(want, None), atol=1e-6) for want in (y, picture[..., 0] / 255)
        ]
        assert sum(kinds) == 1
    white = kind.make({"target": np.full((2, 2, 3), 255, np.uint8)}, np.random.default_rng(0), 1)["target"]
    assert white == pytest.approx(235 / 255)
    batch = kind.render(collate([{"target": torch.from_numpy(samples[0])[None]}]))
    assert torch.equal(batch["image"], batch["target"])
    full = grey(Sensing(full_range=True))
    images = [full.read(path) for path in full.sources(str(tmp_path))]
    made = [full.make(one, np.random.default_rng(0), 1)["target"][..., 0] for one in images]
    np.testing.assert_array_equal(made[0], read_grey(tmp_path / "0.png") / np.float32(255))
    np.testing.assert_array_equal(made[1], picture[..., 0] / np.float32(255))
    assert full.reading() != kind.reading(), "what is kept of the one is not taken for the other"


def test_camera_noise_spares_as_many_samples_as_it_says_and_judges_the_rest_by_noise() -> None:
    target = scene(64, 64, seed=2)
    for spared, low, high in ((0.0, 0, 0), (0.4, 0.1, 0.3), (1.0, 0.4, 0.6)):
        kind = CameraNoise(spared=spared, white_noise=0.0)
        samples = [kind.make({"target": target}, np.random.default_rng(i), 1) for i in range(100)]
        assert low <= np.mean([np.array_equal(s["y"], target) for s in samples]) <= high
        assert all(np.array_equal(s["target"], target) for s in samples)

    def variance(gain: float) -> float:
        kind = CameraNoise((gain, gain), spared=0, white_noise=0)
        taken = [kind.make({"target": target}, np.random.default_rng(i), 1)["y"] for i in range(20)]
        return float(np.mean([np.var(y - 1.0 * target) for y in taken]))

    # About the ratio of the gains; JPEG and read noise come on top.
    assert 5 < variance(1e-2) / variance(1e-3) < 15


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"gain": (1e-2, 1e-3)}, "gain"),
        ({"quality": (0, 90)}, "quality"),
        ({"spared": 0.8, "white_noise": 0.3}, "shares"),
    ],
)
def test_camera_noise_refuses_ranges_that_are_none(options: dict[str, Any], match: str) -> None:
    with pytest.raises(UnfoldError, match=match):
        CameraNoise(**options)
