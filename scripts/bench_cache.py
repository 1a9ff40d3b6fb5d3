"""Crops per second of pairs of GoPro's size: decoding PNG for every crop against the HDF5 cache, in one run.

    UNFOLD_DATA=... python scripts/bench_cache.py [FOLDER]

FOLDER: pairs, default GoPro_pairs. The cache is made in a temporary folder first. Then both take turns for ROUNDS
rounds; a crop is 256x256 pixels of input and target together, at random, by the same seeds for both. "alone": the store
is called in this process, in one thread. "loader": through a DataLoader of one worker process in batches of 16, from
start to end. Printed are medians over the rounds, the slowest and the fastest. All files are in the page cache of
the system: what is compared is the work of a worker, not the disk.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from unfold.data.stores.image_stores import FileStore, Store, Window, find_items
from unfold.data.stores.patch_cache import PatchCache
from unfold.data.stores.patch_cache_writing import write_cache

SIDE = 256
ROUNDS = 9
CROPS = {"PNG": 32, "HDF5": 1600}  # per round: some seconds of either


class Crops(Dataset[dict[str, Tensor]]):
    def __init__(self, store: Store, count: int, seed: int) -> None:
        self.store, self.count, self.seed = store, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, item))
        index = int(rng.integers(len(self.store)))
        row, column = (int(rng.integers(size - SIDE, endpoint=True)) for size in self.store.size(index))
        crop = self.store.crop(index, Window(row, column, SIDE, SIDE))
        return {kind: torch.tensor(image) for kind, image in crop.items()}


def alone(crops: Crops) -> None:
    for item in range(len(crops)):
        crops[item]


def loader(crops: Crops) -> None:
    for _ in DataLoader(crops, 16, num_workers=1):
        pass


def main() -> None:
    items = find_items(sys.argv[1] if len(sys.argv) > 1 else "GoPro_pairs")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.h5"
        begin = time.perf_counter()
        write_cache(items, path)
        spent, size = time.perf_counter() - begin, path.stat().st_size / 1e6
        stores: dict[str, Store] = {"PNG": FileStore(items), "HDF5": PatchCache(path)}
        height, width = stores["HDF5"].size(0)
        print(f"{len(items)} pairs, the first of {width}x{height}; cache of {size:.1f} MB made in {spent:.1f} s")
        compare(stores)
        for way in (alone, loader):
            report(way, stores)


def compare(stores: dict[str, Store]) -> None:
    """Both give the same pixels; also warms both up."""
    one, other = (Crops(store, 8, 1234) for store in stores.values())
    for item in range(8):
        if not all(torch.equal(image, other[item][kind]) for kind, image in one[item].items()):
            raise SystemExit(f"crop {item} of the cache differs from that of the files")


def report(way: Callable[[Crops], None], stores: dict[str, Store]) -> None:
    rates: dict[str, list[float]] = {name: [] for name in stores}
    for seed in range(ROUNDS):
        for name, store in stores.items():
            begin = time.perf_counter()
            way(Crops(store, CROPS[name], seed))
            rates[name].append(CROPS[name] / (time.perf_counter() - begin))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        spread = f"median of {ROUNDS} rounds of {CROPS[name]}, {min(values):,.1f} to {max(values):,.1f}"
        print(f"{way.__name__:7} {name:5} {medians[name]:9,.1f} crops/s ({spread})")
    print(f"{way.__name__:7} HDF5 / PNG: {medians['HDF5'] / medians['PNG']:.0f}")


if __name__ == "__main__":
    main()
