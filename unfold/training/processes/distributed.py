"""Several processes of one training run, as torchrun starts them; without torchrun, one process of one.

They exchange decisions through the CPU (gloo), so that no GPU waits for them.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from unfold.errors import UnfoldError
from unfold.models.unfolding import Output, UnfoldingNetwork
from unfold.training.processes.rank_watchdog import Watch
from unfold.util import progress
from unfold.util.arrays import Named
from unfold.util.device import pick_device

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)  # for a process that hangs; one that dies ends the others at once
NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # as torchrun sets them


@dataclass
class Processes:
    """rank: the number of this process; world: how many there are; local: its number on its machine.

    Where there are several, :meth:`join` comes before anything else.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    watch: Watch | None = None
    talk: Any = None  # the CPU's process group

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return self.rank == 0

    def join(self, device: str) -> None:
        """Join the other processes, each on a GPU of its own where there are GPUs.

        device: of the recipe. UnfoldError if it names one GPU for all, or there are too few on this machine.
        """
        if self.watch is None:
            return
        if ":" in device:
            raise UnfoldError(f"DEVICE {device} is one GPU, and each of {self.world} processes has its own: set auto")
        cuda = device != "cpu" and torch.cuda.is_available()
        if not cuda and (kind := pick_device(device).type) != "cpu":
            raise UnfoldError(f"several processes train on CUDA GPUs or on the CPU, not on {kind}: set DEVICE cpu")
        if cuda:
            if self.local >= torch.cuda.device_count():
                raise UnfoldError(
                    f"torchrun starts more processes here than there are GPUs to be seen, {torch.cuda.device_count()}: "
                    "set --nproc-per-node"
                )
            torch.cuda.set_device(self.local)
        self.watch.meet(TIMEOUT)
        backend, store = "nccl" if cuda else "gloo", self.watch.store
        dist.init_process_group(backend, timeout=TIMEOUT, store=store, rank=self.rank, world_size=self.world)
        self.talk = dist.new_group(backend="gloo", timeout=TIMEOUT)
        self.watch.begin()

    def highest(self, number: int) -> int:
        """The highest of the numbers of all processes. All of them must call this."""
        if self.world == 1:
            return number
        shared = torch.tensor(number)
        dist.all_reduce(shared, dist.ReduceOp.MAX, group=self.talk)
        return int(shared)

    def gather(self, value: T) -> list[T]:
        """The values of all processes, in their order, on every one. All of them must call this."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self.talk)
        return values

    def from_first(self, make: Callable[[], T]) -> T:
        """The result of ``make`` in the first process, on every one. All of them must call this."""
        if self.world == 1:
            return make()
        made: list[Any] = [make() if self.first else None]
        dist.broadcast_object_list(made, src=0, group=self.talk)
        return made[0]

    def all_reduce_seconds(self, size: int) -> float:
        """Seconds to sum ``size`` bytes of gradients over all processes, the best of three times; 0 for one process.
        All of them must call this.
        """
        if self.world == 1:
            return 0.0
        device = torch.device("cuda", self.local) if dist.get_backend() == "nccl" else torch.device("cpu")
        numbers, spent = torch.zeros(-(-size // 4), device=device), []
        for _ in range(4):
            begin = time.perf_counter()
            dist.all_reduce(numbers)
            numbers[:1].item()  # waits for a GPU
            spent.append(time.perf_counter() - begin)
        return max(self.gather(min(spent[1:])))

    def wrap(self, net: UnfoldingNetwork, example: Named) -> torch.nn.Module:
        """Wrap the network so that gradients are means over the processes. example: its inputs, as a batch."""
        if self.world == 1:
            return net
        one = next(net.parameters())
        given = {name: value.to(one) if isinstance(value, Tensor) else value for name, value in example.items()}
        _check_gradients(net, given)
        model = DistributedDataParallel(net.train(), [one.device] if one.device.type == "cuda" else None)
        # The order of the first gradients decides how later ones are summed. So the first pass is not a training step:
        # otherwise a resumed run of three or more processes would round its first sums differently.
        _mean(model(**given, return_output=True)).backward()
        net.zero_grad(set_to_none=True)
        return model

    def part(self) -> None:
        """Leave the process group when all processes are done."""
        if self.watch is not None:
            dist.barrier(group=self.talk)  # the first may still be writing, and torchrun ends all when one fails
            self.watch.end()
            dist.destroy_process_group()


def _mean(output: Output) -> Tensor:
    """The mean over all outputs: every stage and every extra."""
    total = torch.stack([x.mean() for x in output.stages]).sum()
    return total + sum(value.mean() for values in output.extras.values() for value in values)


def _check_gradients(net: UnfoldingNetwork, given: Named) -> None:
    """UnfoldError if the output does not depend on a trainable parameter: processes would wait for its gradient."""
    _mean(net.train()(**given, return_output=True)).backward()
    idle = [name for name, value in net.named_parameters() if value.requires_grad and value.grad is None]
    net.zero_grad(set_to_none=True)
    if idle:
        more = f" and {len(idle) - 1} more" if len(idle) > 1 else ""
        raise UnfoldError(
            f"the parameter {idle[0]}{more} of {type(net).__name__} has no gradient: neither an estimate nor an extra "
            "depends on it, and several processes wait for all of them; use it, or set requires_grad_(False)"
        )


@contextmanager
def processes(lost: Callable[[str], None], code_of: Callable[[BaseException], int]) -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone; call :meth:`Processes.join` inside this context.

    lost: called where another process dies, on one process and in a thread of its own; then this process is ended, as
    its main thread may wait for the dead one without end. code_of: the exit code of an error. An error on any process
    ends all with its code. Only the first process to fail raises it; the others, which may fail likewise, raise
    SystemExit. UnfoldError if torchrun's variables are not complete.
    """
    if "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        yield Processes()
        return
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        raise UnfoldError(f"RANK is set, as torchrun does, and {', '.join(missing)} not: start it by torchrun")
    rank, world, local = (int(os.environ[name]) for name in NEEDED[:3])
    if rank:
        _be_silent()
    try:
        store, _, _ = next(rendezvous("env://", timeout=TIMEOUT))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UnfoldError(f"process {rank} of {world} does not find the others: {reason}") from None
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # On one machine, torchrun --max-restarts keeps the store with the addresses of dead processes.
        store = PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    watch = Watch(rank, world, store, lost)
    try:
        us = Processes(rank, world, local, watch)
        yield us
        us.part()
    except BaseException as error:
        first, code = watch.fail(error, code_of(error))
        if first:
            raise
        raise SystemExit(code) from None


def _be_silent() -> None:
    """Only the first process logs, warns and draws bars."""
    logging.getLogger("unfold").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    progress.hide()
