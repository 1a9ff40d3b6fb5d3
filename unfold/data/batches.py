"""Which samples make which step, on any number of processes and from any point of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler, default_collate

from unfold.errors import UnfoldError
from unfold.util.arrays import Named


class Key(NamedTuple):
    """What a data set is asked for: a sample by its number in an epoch, and the scale that its whole batch has."""

    epoch: int
    number: int
    scale: int = 1


class BatchSampler(Sampler[list[Key]]):
    """The batches of one epoch after another, or the part of them that one of several processes gets.

    Step t of an epoch is made of the samples t*batch, ..., (t+1)*batch - 1 on all processes together; the last step of
    less, where ``length`` is no multiple. Process ``rank`` of ``world`` gets a contiguous part, and the parts in order
    are the batch of one process. They are equally large where ``batch`` is a multiple of ``world``, else they differ by
    one sample. The scale is a function of (seed, epoch, step) alone: one per step on every process.

    length: samples per epoch; batch: samples per step, of all processes. A process for which the last step has nothing
    gets the step's first sample, which is not to count: see :meth:`share`. ValueError where all steps would be such.
    Call :meth:`start` before iterating.
    """

    def __init__(
        self, length: int, batch: int, seed: int, scales: Sequence[int] = (1,), rank: int = 0, world: int = 1
    ) -> None:
        if min(length, batch) < world:
            raise ValueError(f"a step of {min(length, batch)} samples cannot be shared by {world} processes")
        self.length, self.batch, self.seed, self.scales = length, batch, seed, tuple(scales)
        self.rank, self.world = rank, world
        self.epoch = self.step = 0

    def start(self, epoch: int, step: int = 0) -> None:
        """Let the next iteration begin at this step of this epoch, both counted from 0."""
        self.epoch, self.step = epoch, step

    def __len__(self) -> int:
        return -(-self.length // self.batch) - self.step

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.epoch
        for step in range(self.step, -(-self.length // self.batch)):
            keys = self.keys(epoch, step)
            yield keys[self._own(step)] or keys[:1]

    def _own(self, step: int) -> slice:
        count = self.batch_size(step)
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def share(self, step: int) -> float:
        """How much more than the mean over processes this one's part of a step counts; 0 where it has none."""
        own = self._own(step)
        return (own.stop - own.start) * self.world / self.batch_size(step)

    def keys(self, epoch: int, step: int) -> list[Key]:
        """The samples of a step on all processes together."""
        first, scale = step * self.batch, self.scale_of(epoch, step)
        return [Key(epoch, number, scale) for number in range(first, first + self.batch_size(step))]

    def batch_size(self, step: int) -> int:
        """How many samples a step of any epoch has, on all processes together."""
        return min(self.batch, self.length - step * self.batch)

    def scale_of(self, epoch: int, step: int) -> int:
        """The scale of a step, each of ``scales`` with the same chance."""
        # The spawn key keeps these numbers apart from those of the samples, which (seed, epoch, number) gives.
        source = np.random.SeedSequence((self.seed, epoch, step), spawn_key=(1,))
        return int(np.random.default_rng(source).choice(self.scales))


@lru_cache(maxsize=4)
def order(seed: int, epoch: int, number: int, count: int) -> NDArray[np.int64]:
    """In which order a pass goes through ``count`` images; number: of the pass in its epoch, from 0."""
    source = np.random.SeedSequence((seed, epoch, number), spawn_key=(2,))  # apart from samples (none) and scales (1)
    return np.random.default_rng(source).permutation(count)


def collate(samples: list[Named]) -> Named:
    """Stack the tensors of samples; a number that is no tensor (the scale) is the same in all and stays as it is."""
    whole = {name: value for name, value in samples[0].items() if not isinstance(value, Tensor)}
    for name, value in whole.items():
        if not all(name in sample and sample[name] == value for sample in samples):
            raise UnfoldError(
                f"{name} is a whole number and differs from sample to sample, and a batch has one: make it a float"
            )
    return whole | default_collate([{k: v for k, v in sample.items() if k not in whole} for sample in samples])


def to_device(batch: Named, device: torch.device) -> Named:
    """The batch with its tensors on the device."""
    return {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}
