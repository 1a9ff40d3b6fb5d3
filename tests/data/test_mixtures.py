"""A mixture gives every image as often as it says, in an order that is a function of seed and epoch alone."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.synthetic import scene
from unfold.config import load_config
from unfold.data.batches import BatchSampler, Key, collate
from unfold.data.mixtures import MixedPatches, MixedStore, pass_counts
from unfold.data.patches import Images, MemoryStore
from unfold.data.stores.cut_store import CutStore
from unfold.data.stores.fingerprint import fingerprint
from unfold.data.stores.image_stores import Window
from unfold.data.stores.shared_store import sums_of
from unfold.degradations.paired import Paired
from unfold.settings import settings_of
from unfold.training.setup.environment import read_starts, write_starts
from unfold.training.setup.resume_check import all_noted, note_data
from unfold.training.setup.resume_check import seen as seen_at_start

TASK = Path(__file__).parents[2] / "tasks" / "all_in_one" / "configs"
REAL = {"WED": 4744 + 400, "RainTrainL": 200, "RESIDE/OTS": 72135, "GoPro": 2103, "LOL/train": 485}


def flat(*values: int) -> MemoryStore:
    """Images of one value each, by which they are known."""
    return MemoryStore([{"target": np.full((20, 24, 3), value, np.uint8)} for value in values])


def make(part: int, images: Images, rng: np.random.Generator, scale: int) -> dict[str, Any]:
    return {"target": images["target"], "part": np.array(part), "noise": rng.standard_normal((1,), dtype=np.float32)}


def patches(passes: bool = True, seed: int = 0) -> MixedPatches:
    store = MixedStore({"a": flat(0, 1, 2), "b": flat(10), "c": flat(20, 21)}, [2, 5, 1])
    return MixedPatches(store, 8, seed, make, passes)


def seen(data: MixedPatches, epoch: int, count: int) -> list[tuple[int, int]]:
    items = [data[Key(epoch, number)] for number in range(count)]
    return [(int(item["part"]), int(item["target"][0, 0, 0])) for item in items]


def test_a_pass_has_every_image_of_every_part_as_often_as_it_is_repeated() -> None:
    data = patches()
    assert data.store.samples == 3 * 2 + 5 + 2 == 13
    assert data.store.counts == [6, 5, 2]
    wanted = Counter({(0, 0): 2, (0, 1): 2, (0, 2): 2, (1, 10): 5, (2, 20): 1, (2, 21): 1})
    first, second = seen(data, 0, 13), seen(data, 1, 13)
    assert Counter(first) == Counter(second) == wanted
    assert first != second, "in another order"
    longer = seen(data, 0, 26)
    assert longer[:13] == first
    assert Counter(longer[13:]) == wanted


def test_a_sample_is_a_function_of_seed_epoch_and_number_alone() -> None:
    a, b = patches(), patches()
    keys = [Key(0, 5), Key(1, 5), Key(0, 0)]
    found = {key: a[key] for key in keys}
    for key in keys[::-1]:
        assert all(torch.equal(found[key][name], value) for name, value in b[key].items())
    assert not torch.equal(found[Key(0, 5)]["noise"], patches(seed=1)[Key(0, 5)]["noise"])


def test_with_replacement_parts_come_in_their_shares() -> None:
    parts = Counter(part for part, _ in seen(patches(passes=False), 0, 1300))
    for part, share in enumerate((6, 5, 2)):
        assert abs(parts[part] - 100 * share) < 90


def test_processes_share_a_mixture_as_they_share_one_set() -> None:
    data = patches()
    alone = [key for batch in BatchSampler(12, 4, 0) for key in batch]
    shared = [key for rank in range(2) for batch in BatchSampler(12, 4, 0, rank=rank, world=2) for key in batch]
    assert sorted(shared) == sorted(alone)
    assert collate([data[key] for key in alone[:4]])["part"].shape == (4,)


def test_parts_of_one_store_hold_its_images_once() -> None:
    one = flat(0, 1)
    store = MixedStore({"a": one, "b": one, "c": flat(5)}, [1, 3, 1])
    assert len(store) == 3
    assert store.samples == 2 + 6 + 1
    assert [int(store.crop(i, Window(0, 0, 1, 1))["target"].item(0)) for i in range(3)] == [0, 1, 5]


@pytest.mark.parametrize(("recipe", "samples"), [("aio3", 142_431), ("aio5", 162_646)])
def test_an_epoch_of_the_published_mixtures_is_one_pass(recipe: str, samples: int) -> None:
    settings = settings_of(load_config(TASK / f"{recipe}.yaml"))
    images = [REAL[part.train.split(" + ")[0]] for part in settings.data.parts.values()]
    counts = pass_counts(images, settings.data.repeats)
    assert sum(counts) == settings.train.patches == samples
    assert sum(counts[:3]) == 46_296
    assert counts[3:] == [24_000, 72_135, 10_515, 9_700][: len(counts) - 3]


def test_many_hazy_images_in_folders_have_one_clean_one_by_the_recipe_s_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNFOLD_DATA", str(tmp_path))
    (tmp_path / "tiny.jpg").parent.mkdir(exist_ok=True)
    Image.fromarray(scene(16, 16)).save(tmp_path / "tiny.jpg")

    def link(name: str) -> None:
        path = tmp_path / "RESIDE" / "OTS" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(tmp_path / "tiny.jpg", path)

    for i in range(1, 9):
        link(f"original/{i:04}.jpg")
        for j in range(35):
            link(f"synthetic/part{1 + i % 4}/{i:04}_0.{j}_0.08.jpg")
    part = settings_of(load_config(TASK / "aio3.yaml")).data.parts["haze"]
    pairs = Paired(**part.args).sources(part.train)
    assert len(pairs) == len({pair.name for pair in pairs}) == 8 * 35
    assert all(pair.input.name.startswith(f"{pair.target.stem}_") for pair in pairs)


def test_images_are_cut_in_their_middle_in_register() -> None:
    target = np.arange(33 * 47).reshape(33, 47, 1)
    store = CutStore(MemoryStore([{"target": target, "input": target + 1}]), 16)
    assert store.size(0) == (32, 32)
    images = store.crop(0, Window(0, 0, 32, 32))
    assert images["target"][0, 0, 0] == 7
    assert np.array_equal(images["input"], images["target"] + 1)
    assert store.crop(0, Window(2, 3, 1, 1))["target"].item() == 2 * 47 + 10
    with pytest.raises(ValueError, match="not inside"):
        store.crop(0, Window(1, 0, 32, 32))


class Late(MemoryStore):
    """Decoded on first use, as far as is known."""

    key, done = "of files", False

    def complete(self) -> bool:
        return self.done

    def sums(self, index: int) -> list[int]:
        assert self.done, "nothing is decoded for a fingerprint alone"
        return sums_of(self.images[index])


def test_a_mixture_decodes_nothing_for_the_fingerprint_of_a_part_before_the_part_is_decoded(tmp_path: Path) -> None:
    late = Late(flat(0, 1).images)
    store = MixedStore({"a": CutStore(late, 16), "b": flat(5)}, [1, 1])
    before = seen_at_start(store, [], None)
    assert before["data/a"] == {"images": 2}
    assert before["files/a"] == "of files 16"
    assert before["data/b"] == {"images": 1, "sha256": fingerprint(flat(5))}
    assert not all_noted(before, store)
    write_starts(tmp_path, [before])
    late.done = True
    note_data(tmp_path, store)
    (found,) = read_starts(tmp_path)
    assert all_noted(found, store)
    assert found["data/a"] == {"images": 2, "sha256": fingerprint(CutStore(flat(0, 1), 16))}
    assert found["data/a"]["sha256"] != fingerprint(flat(0, 1)), "others are left of the images"
