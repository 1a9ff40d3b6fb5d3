"""A network of one's own: any data step and any prior on the unfolding loop (see docs/compose.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from unfold.models.unfolding import UnfoldingNetwork
from unfold.steps.data_step import DataStep


class Composed(UnfoldingNetwork):
    """Stage k: z_k = data(x_{k-1}), x_k = prior(z_k).

    data: the data step, with parameters for K stages; prior: a function that builds the prior, a module z -> x, or
    (z, memory=None) -> (x, memory), called without a memory in the first stage; stages: K; shared: one prior for all
    stages, or one each.
    """

    def __init__(self, data: DataStep, prior: Callable[[], nn.Module], stages: int, *, shared: bool = True) -> None:
        super().__init__(stages)
        if data.stages != stages:
            raise ValueError(f"the data step has parameters for {data.stages} stages, and the network has {stages}")
        self.data = data
        self.priors = nn.ModuleList(prior() for _ in range(1 if shared else stages))

    def begin(self, y: Tensor, **inputs: Any) -> tuple[Tensor, Any]:
        return self.data.begin(y, **inputs)

    def stage(self, k: int, x: Tensor, memory: Any, context: Any) -> tuple[Tensor, Any]:
        z = self.data(k, x, context)
        prior = self.priors[k % len(self.priors)]
        result = prior(z) if memory is None else prior(z, memory)
        return result if isinstance(result, tuple) else (result, None)
