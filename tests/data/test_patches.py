"""Patches are a pure function of (seed, epoch, number), and every view of the image occurs."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from tests.synthetic import scene
from unfold.data.batches import BatchSampler, Key, collate
from unfold.data.images import find_images, read_uint8
from unfold.data.patches import Images, MemoryStore, Patches, dihedral, plain_sample, random_patch, read_store, reduced
from unfold.degradations.gaussian_noise import GaussianNoise
from unfold.errors import UnfoldError
from unfold.physics.resize import imresize


def patches(folder: Path, seed: int = 0, patch: int = 16) -> Patches:
    kind = GaussianNoise(25)
    return Patches(read_store(find_images(str(folder), "train"), kind.read)[0], patch, seed, kind.make)


def read(path: Path) -> Images:
    return {"target": read_uint8(path)}


def test_an_item_depends_on_seed_epoch_and_number_alone(pictures: Path) -> None:
    a, b = patches(pictures), patches(pictures)
    order = [Key(0, 5), Key(0, 0), Key(1, 5), Key(0, 3)]
    first = {key: a[key] for key in order}
    for key in reversed(order):
        for name in ("target", "y"):
            assert torch.equal(first[key][name], b[key][name])
    assert not torch.equal(a[Key(0, 5)]["y"], a[Key(1, 5)]["y"]), "the same number in the next epoch is another patch"
    assert not torch.equal(a[Key(0, 5)]["y"], patches(pictures, seed=1)[Key(0, 5)]["y"])


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
    dataset = patches(tmp_path)
    seen = set()
    windows = np.lib.stride_tricks.sliding_window_view(picture, (16, 16), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    for i in range(20):
        target = np.rint(dataset[Key(0, i)]["target"].numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
        found = [c for c in range(8) if (windows == dihedral(target, c)).all(axis=(2, 3, 4)).any()]
        assert found
        seen.update(found)
    assert len(seen) > 4
    items = [dataset[Key(0, i)] for i in range(200)]
    noise = torch.stack([item["y"] - item["target"] for item in items])
    assert abs(noise.std() * 255 - 25) < 0.2
    assert abs(noise.mean() * 255) < 0.2


def test_every_image_and_every_place_is_drawn() -> None:
    size, patch = (5, 6), 4
    store = MemoryStore([{"target": np.full((*size, 1), 0)}, {"target": np.arange(30).reshape(*size, 1)}])
    rng = np.random.default_rng(0)
    drawn = [random_patch(store, patch, rng)["target"] for _ in range(1000)]
    corners = [int(image.min()) for image in drawn if image.any()]
    assert 430 < len(corners) < 570, "both images alike"
    assert set(corners) == {0, 1, 2, 6, 7, 8}
    assert min(np.bincount(corners)[[0, 1, 2, 6, 7, 8]]) > 50


def test_partners_are_cut_out_and_turned_together() -> None:
    target = scene(40, 33)
    store = MemoryStore([{"input": 255 - target, "target": target}])
    rng = np.random.default_rng(0)
    for _ in range(20):
        images = random_patch(store, 16, rng)
        assert np.array_equal(images["input"], 255 - images["target"])


def test_a_small_image_is_continued_right_and_below_by_reflection() -> None:
    picture = scene(9, 30)
    expected = np.pad(picture, ((0, 7), (0, 0), (0, 0)), mode="reflect")
    assert np.array_equal(expected[9:], picture[1:8][::-1])
    rng = np.random.default_rng(0)
    for _ in range(20):
        patch = random_patch(MemoryStore([{"target": picture}]), 16, rng)["target"]
        views = [dihedral(patch, code) for code in range(8)]
        assert any(np.array_equal(view, expected[:, c : c + 16]) for view in views for c in range(15))
    tiny = random_patch(MemoryStore([{"target": picture[:1, :3]}]), 16, rng)["target"]
    assert tiny.shape == (16, 16, 3)


def test_an_image_that_cannot_be_used_stops_the_run_and_all_are_named(pictures: Path) -> None:
    (pictures / "broken.png").write_bytes((pictures / "picture0.png").read_bytes()[:300])
    (pictures / "empty.png").touch()
    files = find_images(str(pictures), "train")
    with pytest.raises(UnfoldError, match="2 of 5 training images cannot be used") as caught:
        read_store(files, read)
    message = str(caught.value)
    assert "broken.png cannot be read" in message
    assert "empty.png is empty" in message
    assert "DATA.SKIP_BAD" in message
    assert "\n" not in message


def test_bad_images_are_left_out_on_demand_and_reported(pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    (pictures / "empty.png").touch()
    files = find_images(str(pictures), "train")
    with caplog.at_level(logging.WARNING):
        store, left_out = read_store(files, read, skip_bad=True)
    assert len(store) == 3
    assert [reason.split("/")[-1] for reason in left_out] == ["empty.png is empty (0 bytes)"]
    assert [record.getMessage() for record in caplog.records] == [
        f"left out: {pictures / 'empty.png'} is empty (0 bytes)",
        "1 of 4 training images are left out (DATA.SKIP_BAD)",
    ]


def test_a_set_of_bad_images_only_is_an_error_all_the_same_and_names_ten(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i}.png").touch()
    with pytest.raises(UnfoldError, match=r"12 of 12 training images cannot be used: .*9.png[^;]*; and 2 more$"):
        read_store(find_images(str(tmp_path), "train"), read, skip_bad=True)


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint8, 1), (np.uint16, 3)])
def test_a_smaller_copy_is_matlabs_bicubic_reduction_in_the_same_integers(dtype: type, channels: int) -> None:
    rng = np.random.default_rng(1)
    highest = np.iinfo(dtype).max
    image = rng.choice(np.array([0, highest], dtype), (31, 20, channels))  # overshoots on both sides
    small = reduced({"target": image}, 0.6)["target"]
    assert small.dtype == dtype
    assert small.shape == (19, 12, channels)
    assert small.min() == 0
    assert small.max() == highest
    np.testing.assert_array_equal(small, np.rint(np.clip(imresize(image, 0.6), 0, highest)))


def test_smaller_copies_follow_the_images_themselves_and_none_of_those_left_out(pictures: Path) -> None:
    (pictures / "picture1.png").write_bytes(b"no picture")
    store, left_out = read_store(find_images(str(pictures), "train"), read, skip_bad=True, factors=[0.5, 0.6])
    assert len(left_out) == 1
    assert len(store) == 6
    for i in range(2):
        for k, factor in ((1, 0.5), (2, 0.6)):
            np.testing.assert_array_equal(store.images[2 * k + i]["target"], reduced(store.images[i], factor)["target"])


class Numbered:
    """A store whose images hold their number."""

    scale = 1

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def size(self, index: int) -> tuple[int, int]:
        return 4, 4

    def crop(self, index: int, window: Any) -> dict[str, Any]:
        return {"target": np.full((4, 4, 1), index, np.uint16)}


def number_of(images: dict[str, Any], rng: np.random.Generator, scale: int) -> dict[str, Any]:
    return {"target": images["target"].astype(np.float32)}


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_is_seen_once_in_a_pass_whatever_shares_the_work_and_wherever_it_began(
    world: int, workers: int
) -> None:
    count, batch, length = 23, 4, 2 * 23 + 5  # two passes and a bit; the last step has 3

    def numbers(number: int, begin: int) -> list[list[int]]:
        """Of the epoch's steps from ``begin``, those of all processes together."""
        of_ranks = []
        for rank in range(world):
            sampler = BatchSampler(length, batch, 5, rank=rank, world=world)
            data = Patches(Numbered(count), 4, 5, number_of, passes=True)
            loader = DataLoader(data, batch_sampler=sampler, collate_fn=collate, num_workers=workers)
            sampler.start(number, begin)
            steps = [[int(x) for x in one["target"][:, 0, 0, 0]] for one in loader]
            of_ranks.append([own if sampler.share(begin + i) else [] for i, own in enumerate(steps)])
        return [[n for own in step for n in own] for step in zip(*of_ranks, strict=True)]

    whole = numbers(3, 0)
    flat = [n for step in whole for n in step]
    assert len(flat) == length
    for begin in (0, count):
        assert sorted(flat[begin : begin + count]) == list(range(count))
    assert len(set(flat[2 * count :])) == 5
    assert flat[:count] != flat[count : 2 * count], "another order in each pass"
    assert flat != [n for step in numbers(4, 0) for n in step], "and in each epoch"
    assert numbers(3, 7) == whole[7:], "a resume in mid-epoch"


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 6, 3), (6, 1, 3), (6, 6, 1), (1, 1, 1), (6, 5), (1, 6), (1, 1)])
def test_a_sample_of_any_shape_and_view_is_a_copy_that_may_be_written_to(shape: tuple[int, ...]) -> None:
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    image.flags.writeable = False
    for view in (image, image[::-1], image[:, ::-1], image[::-1, ::-1], image.swapaxes(0, 1)[::-1]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # torch warns of memory that it may not write to
            made = plain_sample({"y": view})["y"]
        assert torch.equal(
            made, torch.tensor(view.tolist()).permute(2, 0, 1) if view.ndim == 3 else torch.tensor(view.tolist())
        )
        made += 1
    assert np.array_equal(image.ravel(), np.arange(image.size)), "the image in memory stays as it is"
