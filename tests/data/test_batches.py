"""Steps are made of the same samples, and have the same scale, on any number of processes and after any resume."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
import torch

from unfold.data.batches import BatchSampler, Key, collate
from unfold.errors import UnfoldError

SCALES = (1, 2, 3, 4)


def epoch(sampler: BatchSampler, number: int, step: int = 0) -> list[list[Key]]:
    sampler.start(number, step)
    return list(sampler)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(("length", "batch"), [(24, 6), (27, 6), (24, 7)])
def test_the_parts_of_all_processes_in_order_are_the_batch_of_one(world: int, length: int, batch: int) -> None:
    whole = epoch(BatchSampler(length, batch, 0, SCALES), 3)
    parts = [epoch(BatchSampler(length, batch, 0, SCALES, rank, world), 3) for rank in range(world)]
    assert [list(chain(*part)) for part in zip(*parts, strict=True)] == whole
    assert [key.number for keys in whole for key in keys] == list(range(length)), "every sample once"
    if batch % world == 0:
        assert all(len(keys) == batch // world for part in parts for keys in part[:-1])


def test_an_epoch_can_be_entered_at_any_step() -> None:
    sampler = BatchSampler(20, 6, 0, SCALES)
    whole = epoch(sampler, 2)
    assert len(sampler) == len(whole) == 4
    assert [len(keys) for keys in whole] == [6, 6, 6, 2]
    for step in range(4):
        assert epoch(sampler, 2, step) == whole[step:]
        assert len(sampler) == 4 - step


def test_one_scale_for_each_step_which_depends_on_seed_epoch_and_step() -> None:
    def scales(seed: int, number: int) -> list[int]:
        steps = epoch(BatchSampler(400, 2, seed, SCALES), number)
        assert all(len({key.scale for key in keys}) == 1 for keys in steps)
        return [keys[0].scale for keys in steps]

    first = scales(0, 0)
    assert first == scales(0, 0)
    assert len({tuple(first), tuple(scales(1, 0)), tuple(scales(0, 1))}) == 3
    counts = Counter(first)
    assert set(counts) == set(SCALES)
    assert min(counts.values()) > 30, "each of four with the same chance, in 200 steps"


def test_processes_that_would_get_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="a step of 2 samples cannot be shared by 3"):
        BatchSampler(20, 2, 0, world=3)


def test_a_process_without_a_part_of_the_last_step_goes_along_and_does_not_count() -> None:
    ranks = [BatchSampler(2103, 16, 0, rank=rank, world=8) for rank in range(8)]  # GoPro's pairs: 7 are left
    last = [epoch(sampler, 0)[-1] for sampler in ranks]
    shares = [sampler.share(131) for sampler in ranks]
    assert [len(keys) for keys in last] == [1] * 8
    assert sorted(shares) == [0, *[8 / 7] * 7]
    counted = [key.number for keys, share in zip(last, shares, strict=True) if share for key in keys]
    assert counted == list(range(2096, 2103))
    assert all(sampler.share(0) == 1 for sampler in ranks)


def test_samples_are_stacked_and_the_scale_stays_a_number() -> None:
    batch = collate([{"target": torch.full((1, 2, 2), i), "scale": 3} for i in range(4)])
    assert batch["scale"] == 3
    assert torch.equal(batch["target"][:, 0, 0, 0], torch.arange(4))
    with pytest.raises(UnfoldError, match="differs from sample to sample"):
        collate([{"scale": 3}, {"scale": 2}])
