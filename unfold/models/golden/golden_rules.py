"""Common parts of the comparisons of networks with their published code (`unfold check --golden DIR`).

The published code ran with weights made by a rule from the names of the parameters, so no weights need to be available.
The rules and comparisons of a network, and the names of its files, are in <name>_golden.py.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from unfold.models.unfolding import UnfoldingNetwork
from unfold.util.arrays import Named

TOLERANCE = 1e-5  # float32 outputs of order 1
TOLERANCE_FLOAT64 = 1e-10  # the data step in float64

Net = TypeVar("Net", bound=nn.Module)
Rule = Callable[[str, torch.Size, torch.Generator], Tensor]
Golden = dict[str, Any]  # content of a golden file, by name


class Outcome(NamedTuple):
    """The result of a comparison; inputs and result where the whole network ran."""

    net: UnfoldingNetwork
    compared: str
    difference: float
    inputs: Named | None = None
    result: Tensor | None = None


Networks = dict[str, tuple[str, Callable[[str, Golden], Outcome]]]  # file -> (model, its comparison)
# file -> [(what is compared, the comparison, its tolerance)], for a part that is compared by itself
Parts = dict[str, list[tuple[str, Callable[[Golden], float], float]]]


def fill(net: Net, rule: Rule) -> Net:
    """Fill every entry of the state dict with numbers that depend only on its name and shape."""
    state = {}
    for name, value in net.state_dict().items():
        state[name] = rule(name, value.shape, torch.Generator().manual_seed(zlib.crc32(name.encode())))
    net.load_state_dict(state)
    return net


def furthest(results: Any, expected: Any) -> float:
    """Maximum absolute difference; infinite where shapes or counts differ, NaN where a number is NaN."""
    if len(results) != len(expected):
        return math.inf
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(results, expected, strict=True)]
    return float(np.max([np.abs(a - b).max() if a.shape == b.shape else math.inf for a, b in pairs]))
