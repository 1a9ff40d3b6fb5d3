"""Several processes of one training run, as torchrun starts them; a run of its own is one process of one.

What they agree on goes through the CPU (gloo), so that asking makes no GPU wait.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork

TIMEOUT = timedelta(minutes=10)  # of a process that hangs; one that dies ends the others at once


@dataclass(frozen=True)
class Processes:
    """rank: the number of this process; world: how many there are; local: its number on its machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def any(self, here: bool) -> bool:
        """Whether it is so in any process. All of them must ask."""
        if self.world == 1:
            return here
        flag = torch.tensor(here, dtype=torch.int32)
        dist.all_reduce(flag, dist.ReduceOp.MAX, group=_talk)
        return bool(flag)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in their order, on every one. All of them must ask."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=_talk)
        return values

    def wrap(self, net: UnfoldingNetwork) -> torch.nn.Module:
        """The network with gradients that are means over the processes."""
        if self.world == 1:
            return net
        device = next(net.parameters()).device
        return DistributedDataParallel(net, device_ids=[device] if device.type == "cuda" else None)


_talk: Any = None  # the process group of the CPU


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the other processes where torchrun started this one, and leave them in the end.

    device: of the recipe. UnfoldError where there are more processes on this machine than GPUs.
    """
    global _talk
    if "RANK" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    rank, world, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        if local >= torch.cuda.device_count():
            raise UnfoldError(
                f"torchrun starts more processes here than there are GPUs, {torch.cuda.device_count()}: set "
                "--nproc-per-node"
            )
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    _talk = dist.new_group(backend="gloo", timeout=TIMEOUT)
    try:
        yield Processes(rank, world, local)
    finally:
        _talk = None
        dist.destroy_process_group()


def summed(per_process: list[Tensor]) -> Tensor:
    """The sum over processes, in their order."""
    return torch.stack(per_process).sum(0)
