"""Patches are a pure function of (seed, epoch, index), and every view of the image occurs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from tests.synthetic import scene
from unfold.data.images import find_images
from unfold.data.patches import EpochSampler, Patches, dihedral
from unfold.errors import UnfoldError
from unfold.protocols.gaussian_denoising import GaussianDenoising


def patches(folder: Path, seed: int = 0, length: int = 6) -> Patches:
    return Patches(find_images(str(folder), "train"), 16, length, seed, GaussianDenoising(25).degrade)


def test_an_item_depends_on_seed_epoch_and_index_alone(pictures: Path) -> None:
    a, b = patches(pictures), patches(pictures)
    order = [5, 0, 11, 3]
    first = {i: a[i] for i in order}
    for i in reversed(order):
        for name in ("target", "y"):
            assert torch.equal(first[i][name], b[i][name])
    assert not torch.equal(a[5]["y"], a[11]["y"]), "the same index in the next epoch is another patch"
    assert not torch.equal(a[5]["y"], patches(pictures, seed=1)[5]["y"])


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_batches(pictures: Path) -> None:
    def epoch(workers: int) -> list[torch.Tensor]:
        dataset = patches(pictures)
        sampler = EpochSampler(len(dataset))
        sampler.epoch = 3
        loader = DataLoader(dataset, 4, sampler=sampler, num_workers=workers)
        return [batch["y"] for batch in loader]

    alone = epoch(0)
    for workers in (1, 2):
        assert all(torch.equal(a, b) for a, b in zip(alone, epoch(workers), strict=True))


def test_the_sampler_walks_through_each_epoch() -> None:
    sampler = EpochSampler(4)
    assert list(sampler) == [0, 1, 2, 3]
    sampler.epoch = 2
    assert list(sampler) == [8, 9, 10, 11]
    assert len(sampler) == 4


def test_the_eight_views_differ_and_are_the_symmetries_of_the_square() -> None:
    image = scene(8, 8).astype(np.float32)
    views = [dihedral(image, code) for code in range(8)]
    assert len({view.tobytes() for view in views}) == 8
    assert np.array_equal(views[0], image)
    for view in views:
        assert any(np.array_equal(dihedral(view, code), image) for code in range(8)), "each can be undone"


def test_a_patch_is_a_view_of_the_image_and_its_noise_is_white(tmp_path: Path) -> None:
    picture = scene(40, 40)
    Image.fromarray(picture).save(tmp_path / "a.png")
    dataset = patches(tmp_path, length=200)
    seen = set()
    windows = np.lib.stride_tricks.sliding_window_view(picture, (16, 16), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    for i in range(20):
        target = np.rint(dataset[i]["target"].numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
        found = [c for c in range(8) if (windows == dihedral(target, c)).all(axis=(2, 3, 4)).any()]
        assert found
        seen.update(found)
    assert len(seen) > 4
    noise = torch.stack([dataset[i]["y"] - dataset[i]["target"] for i in range(200)])
    assert abs(noise.std() * 255 - 25) < 0.2
    assert abs(noise.mean() * 255) < 0.2


def test_small_images_are_refused(pictures: Path) -> None:
    with pytest.raises(UnfoldError, match=r"picture2.png is 33x37, smaller than TRAIN.PATCH 34"):
        Patches(find_images(str(pictures), "train"), 34, 1, 0, GaussianDenoising(25).degrade)
