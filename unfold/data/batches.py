"""The samples of each step, for any number of processes and from any point of a run."""

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
    """Key of a sample: its number in an epoch, and the scale of its batch."""

    epoch: int
    number: int
    scale: int = 1


class BatchSampler(Sampler[list[Key]]):
    """The batches of an epoch, or one process's part of them.

    Step t of an epoch has the samples t*batch, ..., (t+1)*batch - 1 over all processes; the last step has fewer where
    ``length`` is not a multiple. Process ``rank`` of ``world`` gets a contiguous part, and the parts in order are the
    batch of a single process. They have equal size where ``batch`` is a multiple of ``world``, else they differ by one
    sample. The scale is a function of (seed, epoch, step) alone: one per step on every process.

    length: samples per epoch; batch: samples per step, over all processes. A process without samples in the last step
    gets the step's first sample with weight 0: see :meth:`share`. ValueError if this would happen in all steps.
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
        """Start the next iteration at this step of this epoch, both counted from 0."""
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
        """Weight of this process's part of a step, relative to the mean over processes; 0 where it has none."""
        own = self._own(step)
        return (own.stop - own.start) * self.world / self.batch_size(step)

    def keys(self, epoch: int, step: int) -> list[Key]:
        """The samples of a step over all processes."""
        first, scale = step * self.batch, self.scale_of(epoch, step)
        return [Key(epoch, number, scale) for number in range(first, first + self.batch_size(step))]

    def batch_size(self, step: int) -> int:
        """Number of samples in a step, over all processes."""
        return min(self.batch, self.length - step * self.batch)

    def scale_of(self, epoch: int, step: int) -> int:
        """The scale of a step, drawn uniformly from ``scales``."""
        # The spawn key keeps these random numbers apart from those of the samples, seeded by (seed, epoch, number).
        source = np.random.SeedSequence((self.seed, epoch, step), spawn_key=(1,))
        return int(np.random.default_rng(source).choice(self.scales))


@lru_cache(maxsize=4)
def order(seed: int, epoch: int, number: int, count: int) -> NDArray[np.int64]:
    """The order of ``count`` images in a pass; number: of the pass in its epoch, from 0."""
    source = np.random.SeedSequence((seed, epoch, number), spawn_key=(2,))  # samples have no key, scales (1,)
    return np.random.default_rng(source).permutation(count)


def collate(samples: list[Named]) -> Named:
    """Stack the tensors of samples. A plain number (the scale) is the same in all and stays a number."""
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
