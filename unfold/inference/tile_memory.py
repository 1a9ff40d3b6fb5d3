"""How much memory a network needs, found without computing, and how much there is."""

from __future__ import annotations

import copy
import os
import re
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unfold.models.unfolding import UnfoldingNetwork
from unfold.util.arrays import Named
from unfold.util.device import free_memory
from unfold.util.processors import MEMBERSHIP, ROOT, groups
from unfold.util.value_checks import unchecked


class Living(TorchDispatchMode):
    """Sums the bytes of all tensors that operations made and that are still alive; ``peak`` is the largest sum."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive = self.peak = 0
        self.known: weakref.WeakSet[object] = weakref.WeakSet()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {tensor.untyped_storage() for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        made = {tensor.untyped_storage() for tensor in tree_leaves(result) if isinstance(tensor, Tensor)}
        for storage in made - given:
            if storage not in self.known:
                self.known.add(storage)
                self.alive += storage.nbytes()
                self.peak = max(self.peak, self.alive)
                weakref.finalize(storage, self._died, storage.nbytes())
        return result

    def _died(self, size: int) -> None:
        self.alive -= size


def needed(net: UnfoldingNetwork, inputs: Named) -> int:
    """Bytes that a run holds at most beside its weights and inputs, in float32: an upper bound for bfloat16.

    inputs: by name; of tensors, only shapes count. Nothing is computed: a copy of the network runs on tensors without
    numbers, with the stages it has in training, as an end that depends on numbers cannot be found without them; more
    stages need no more memory. Workspaces of the libraries below are not seen.
    """
    # A parameter that stands in the memo already is not copied, but replaced.
    bare: dict[int, object] = {
        id(p): nn.Parameter(p.detach().to("meta"), requires_grad=False) for p in net.parameters()
    }
    bare |= {id(b): b.to("meta") for b in net.buffers()}
    twin = copy.deepcopy(net, bare).train()
    given = {key: value.to("meta") if isinstance(value, Tensor) else value for key, value in inputs.items()}
    with torch.no_grad(), torch.device("meta"), unchecked(), Living() as living:
        twin(**given)
    return living.peak


def available(device: torch.device) -> int:
    """Bytes that can be had now: on a GPU what is free and what torch keeps unused, on the CPU, and on devices that do
    not tell, what the system gives.

    On the CPU, no more than the limits of the control groups (containers, batch systems) leave.
    """
    if (free := free_memory(device)) is not None:
        return free // _sharers["device"]
    limits = [_free_of_system(), *_free_of_groups(MEMBERSHIP, ROOT)]
    return max(min(limits), 0) // _sharers["cpu"]


_sharers = {"cpu": 1, "device": 1}


def share_memory(cpu: int, device: int) -> None:
    """Let this process count on its part alone: of the memory of the machine, and of the device that it uses, which
    so many processes share.
    """
    _sharers.update(cpu=cpu, device=device)


def _free_of_system() -> int:
    try:
        told = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        told = None
    if told:
        return int(told[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # not Linux: half of all there is


def _free_of_groups(membership: Path, root: Path) -> list[int]:
    """What the memory limits of this process's control groups, and of those above, leave: versions 2 and 1."""
    return [left for folder in groups("memory", membership, root) for left in _free_of_group(folder)]


def _free_of_group(folder: Path) -> list[int]:
    for limit, usage in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        try:
            most, used = (folder / limit).read_text().strip(), (folder / usage).read_text()
            stat = (folder / "memory.stat").read_text()
        except OSError:
            continue
        if most != "max":
            # The cache of files gives way. Version 1 tells the group's own, and then that with all groups below.
            told = re.findall(r"^(?:total_)?inactive_file (\d+)", stat, re.MULTILINE)
            return [int(most) - int(used) + (int(told[-1]) if told else 0)]
    return []
