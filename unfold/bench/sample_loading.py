"""The speed of loading training samples: from files, memory and a patch cache, with and without workers."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from unfold.data.batches import BatchSampler, collate, to_device
from unfold.data.patches import Patches, read_store
from unfold.data.stores.image_stores import FileStore, Store, find_items
from unfold.data.stores.patch_cache import PatchCache
from unfold.data.stores.patch_cache_writing import write_cache
from unfold.degradations.degradation import Degradation
from unfold.models.registry import skeleton
from unfold.registry import DEGRADATION, find
from unfold.training.processes.loader_worker import begin_worker
from unfold.util.device import wait_for
from unfold.util.processors import processors

LEAST = 4  # batches


@dataclass
class Rate:
    """The rate of a store with so many workers (0: none): samples per second, and seconds to render a batch."""

    store: str
    workers: int
    samples_per_s: float
    render: float


def samples_of(model: str) -> Degradation:
    """The network's degradation in training; white noise for networks that are trained on pairs."""
    net = skeleton(model, {})
    degradation: Degradation = find(DEGRADATION, net.trained_on).build({})
    degradation.channels = net.channels
    return degradation


def rates(model: str, patch: int, batch: int, seconds: float, device: torch.device) -> list[Rate]:
    """Samples per second of the photographs in all ways; seconds: total time of measuring."""
    kind, items = samples_of(model), find_items("photographs")
    images = [item for item in items if isinstance(item, Path)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.h5"
        write_cache(images, path)
        stores: dict[str, Store] = {"files": FileStore(images), "memory": read_store(images, kind.read)[0]}
        if kind.cache == "images":  # other degradations read files differently
            stores["cache"] = PatchCache(path)
        workers = sorted({0, 1, processors()})
        each = seconds / (len(stores) * len(workers))
        return [
            _rate(name, Patches(store, patch, 0, kind.make), kind, batch, count, each, device)
            for name, store in stores.items()
            for count in workers
        ]


def _rate(
    name: str, patches: Patches, kind: Degradation, batch: int, workers: int, seconds: float, device: torch.device
) -> Rate:
    loader = DataLoader(
        patches,
        batch_sampler=BatchSampler(batch * 10**6, batch, 0),
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=functools.partial(begin_worker, parent=os.getpid()) if workers else None,
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
    )
    source = iter(loader)
    held = next(source)  # starts the workers
    for _ in range(workers * 2):  # skip prefetched batches
        next(source)
    begin, count = time.perf_counter(), 0
    while count < LEAST or time.perf_counter() - begin < seconds:
        held = next(source)
        count += 1
    spent = time.perf_counter() - begin
    del source
    given = to_device(held, device)
    kind.render(given)
    begin = time.perf_counter()
    for _ in range(3):
        kind.render(given)
    wait_for(device)
    return Rate(name, workers, count * batch / spent, (time.perf_counter() - begin) / 3)
