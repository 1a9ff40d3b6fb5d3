"""Random training patches, the same for any number of workers and after any resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from unfold.data.images import read_image, to_float
from unfold.errors import UnfoldError
from unfold.progress import progress

Degrade = Callable[[NDArray[np.float32], np.random.Generator], dict[str, NDArray[np.float32]]]


def dihedral(image: NDArray[np.float32], code: int) -> NDArray[np.float32]:
    """One of the 8 rotations and reflections of (H,W,C): code >= 4 flips the rows, then code % 4 quarter turns."""
    return np.rot90(image[::-1] if code >= 4 else image, code % 4)


def to_tensor(image: NDArray[np.float32]) -> Tensor:
    """(H,W,C) -> (C,H,W)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


class Patches(Dataset[dict[str, Tensor]]):
    """Random crops of images, each turned or mirrored in one of 8 ways, with their degraded versions.

    Item ``epoch * length + i`` is a pure function of (seed, epoch, i): no state, so order, worker count and resume do
    not matter. Every image is drawn as often as any other. All images are held in memory, as
    integers.

    files: colour images, none smaller than ``patch``; length: patches per epoch; degrade: (patch (H,W,3) float32 in
    [0,1], generator) -> the network's inputs. A sample is {"target": (3,H,W), **inputs}.
    """

    def __init__(self, files: Sequence[Path], patch: int, length: int, seed: int, degrade: Degrade) -> None:
        self.patch, self.length, self.seed, self.degrade = patch, length, seed, degrade
        self.images = []
        for path in progress(files, "reading images", "image"):
            image = read_image(path)
            if min(image.shape[:2]) < patch:
                raise UnfoldError(f"{path} is {image.shape[0]}x{image.shape[1]}, smaller than TRAIN.PATCH {patch}")
            self.images.append(image)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, *divmod(index, self.length)))
        image = self.images[rng.integers(len(self.images))]
        row, column = (rng.integers(size - self.patch, endpoint=True) for size in image.shape[:2])
        crop = to_float(image[row : row + self.patch, column : column + self.patch])
        target = dihedral(crop, int(rng.integers(8)))
        sample = {"target": target, **self.degrade(target, rng)}
        return {name: to_tensor(value) for name, value in sample.items()}


class EpochSampler(Sampler[int]):
    """Indices of one epoch of :class:`Patches`; set ``epoch`` before iterating."""

    def __init__(self, length: int) -> None:
        self.length, self.epoch = length, 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.epoch * self.length, (self.epoch + 1) * self.length))
