"""How much memory a network needs, found without computing, and how much is free."""

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
    """Counts the bytes of all tensors made by operations and still alive; ``peak`` is the maximum."""

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

    inputs: by name; of tensors, only shapes count. Nothing is computed: a copy of the network runs on meta tensors with
    its number of stages in training, as a stopping rule that depends on values cannot be evaluated; more stages need no
    more memory. Workspaces of libraries are not counted.
    """
    # Parameters that are in the memo already are replaced, not copied.
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
    """Bytes that can be allocated now. On a GPU: free memory and torch's unused cache. On the CPU, and on devices that
    do not report it: what the operating system offers.

    On the CPU, the limits of control groups (containers, batch systems) apply.
    """
    if (free := free_memory(device)) is not None:
        return free // _sharers["device"]
    limits = [_free_of_system(), *_free_of_groups(MEMBERSHIP, ROOT)]
    return max(min(limits), 0) // _sharers["cpu"]


_sharers = {"cpu": 1, "device": 1}


def share_memory(cpu: int, device: int) -> None:
    """Limit this process to its share: of the memory of the machine, and of the device that it uses, each divided by
    the given number of processes.
    """
    _sharers.update(cpu=cpu, device=device)


def _free_of_system() -> int:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # not Linux: half of all there is


def _free_of_groups(membership: Path, root: Path) -> list[int]:
    """Free bytes under the memory limits of this process's control groups and their parents (versions 2 and 1)."""
    return [left for folder in groups("memory", membership, root) for left in _free_of_group(folder)]


def _free_of_group(folder: Path) -> list[int]:
    for limit, usage in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
        try:
            most, used = (folder / limit).read_text().strip(), (folder / usage).read_text()
            stat = (folder / "memory.stat").read_text()
        except OSError:
            continue
        if most != "max":
            # The file cache can be reclaimed. Version 1 lists the group's own, then the sum with all subgroups.
            found = re.findall(r"^(?:total_)?inactive_file (\d+)", stat, re.MULTILINE)
            return [int(most) - int(used) + (int(found[-1]) if found else 0)]
    return []
