"""Check that processes on several machines have the same recipe and data."""

from __future__ import annotations

from collections.abc import Sized

from yacs.config import CfgNode

from unfold.config import differences
from unfold.data.stores.image_stores import Store
from unfold.errors import UnfoldError
from unfold.training.processes.distributed import Processes


def check_recipes(processes: Processes, cfg: CfgNode) -> None:
    """UnfoldError if the processes were not started with the same recipe and command line."""
    first, *others = processes.gather(cfg)
    for rank, other in enumerate(others, start=1):
        if changed := differences(first, other):
            raise UnfoldError(
                f"process {rank} was started by another recipe or command line than process 0: {', '.join(changed)}"
            )


def check_data(processes: Processes, store: Store, held_out: Sized) -> None:
    """UnfoldError if the processes found different images, by their number and size."""
    sizes = [store.size(i) for i in range(len(store))]
    pixels = sum(height * width for height, width in sizes)
    found = f"{len(sizes)} training images of {pixels} pixels and {len(held_out)} cases for validation"
    first, *others = processes.gather(found)
    for rank, other in enumerate(others, start=1):
        if other != first:
            raise UnfoldError(
                f"process {rank} finds {other}, and process 0 {first}: every machine needs the same DATA.TRAIN and "
                "DATA.VAL"
            )
