"""The loop that every network of this package is: x = begin(y), then K times data step and prior step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def check_image(y: Tensor, channels: int, what: str = "y") -> None:
    """ValueError for anything but floats of shape (B,channels,H,W)."""
    if y.ndim != 4 or y.shape[1] != channels:
        raise ValueError(f"{what} must have shape (B, {channels}, H, W), not {tuple(y.shape)}")
    if not y.is_floating_point():
        raise ValueError(f"{what} must hold floats in [0,1], not {str(y.dtype).removeprefix('torch.')}: divide by 255")


def of_data_parallel(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """A state dict as torch's DataParallel saves it, with its prefix on every name."""
    return {f"module.{key}": value for key, value in state.items()}


class UnfoldingNetwork(nn.Module, ABC):
    """An iterative restoration algorithm with learned steps.

    A network says how an estimate begins (:meth:`begin`) and what one stage does (:meth:`stage`); the loop, the list of
    stages and activation checkpointing live here, once.

    stages: number of stages K. Where the weights are tied (``tied``), it may be set anew at any time, as in
        ``net.stages = 9``; what trains with another number says so.
    checkpoint_stages: keep only each stage's output in training and compute its inside again in the backward pass:
        memory of about one stage instead of K, for one more forward pass. Gradients are the same.
    """

    checkpoint_stages: bool = False
    tied: bool = False  # one set of weights serves any number of stages
    fewest_stages: int = 1
    size_multiple: int = 1  # what images are padded to inside
    min_size: int = 1  # smallest height and width of an input
    unused_keys: str = ""  # regular expression of the parameters that no computation uses; published files hold them
    foreign_keys: str = ""  # of unused parameters that some published files hold and this network has not
    meanings: Mapping[str, str] = MappingProxyType({})  # of "residual" and of each of the numbers, in words

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """The constructor arguments that the names and shapes of a state dict show; None where another network's.

        What no shape shows is left out. A state dict that has a name which only this network has, and otherwise other
        names or shapes, may raise KeyError, IndexError, ValueError or ZeroDivisionError: it is of no network at all.
        By default nothing is recognised.
        """
        return None

    @staticmethod
    def official_layout(state: Mapping[str, Tensor]) -> dict[str, Any]:
        """What the published code of the network loads, at least as the facts on it say (none was run).

        By default the state dict, bare.
        """
        return dict(state)

    def __init__(self, stages: int) -> None:
        super().__init__()
        self._stages = stages
        self.stages = stages

    @property
    def stages(self) -> int:
        return self._stages

    @stages.setter
    def stages(self, stages: int) -> None:
        name = type(self).__name__
        if stages < self.fewest_stages:
            raise ValueError(f"stages of {name} must be at least {self.fewest_stages}, not {stages}")
        if not self.tied and stages != self._stages:
            raise ValueError(f"{name} has weights for {self._stages} stages; their number is set when it is built")
        self._stages = stages

    def count(self) -> int:
        """How many stages the next run has at most."""
        return self.stages

    def finished(self, memory: Any) -> bool:
        """Whether a run may end before its last stage, judged by what the present one hands on."""
        return False

    def fix_stages(self) -> None:
        """Run exactly ``stages`` stages, without a rule of its own that ends earlier. By default there is none."""

    @abstractmethod
    def begin(self, *args: Any, **inputs: Any) -> tuple[Tensor, Any]:
        """Return x_0 and the context: whatever all stages share (the measurement, a prepared operator)."""

    @abstractmethod
    def stage(self, k: int, x: Tensor, memory: Any, context: Any) -> tuple[Tensor, Any]:
        """One data step and one prior step: x_k -> x_{k+1}, for k = 0..K-1. ``memory`` is None in the first stage."""

    def finish(self, x: Tensor, context: Any) -> Tensor:
        """Turn the loop's estimate into the image that the caller gets (undo padding, for example)."""
        return x

    def residual(self, k: int, x: Tensor, context: Any) -> Tensor | None:
        """A x - y of what stage k = 0..K takes (for k = K: of the result), as large as y; None where A is not known."""
        return None

    def numbers(self, k: int, context: Any) -> dict[str, Tensor]:
        """The scalars of stage k = 0..K-1 by the names of the paper, of one sample or (B,1,1,1)."""
        return {}

    def states(self, *args: Any, **inputs: Any) -> Iterator[tuple[Tensor, Any]]:
        """Yield x_0, x_1, ... as stages take them, each with the context, holding no more than one stage at a time."""
        x, context = self.begin(*args, **inputs)
        yield x, context
        memory = None
        for k in range(self.count()):
            if self.checkpoint_stages and torch.is_grad_enabled():
                # Stages draw no random numbers, so the generator's state need not be kept for the second pass.
                x, memory = checkpoint(self.stage, k, x, memory, context, use_reentrant=False, preserve_rng_state=False)
            else:
                x, memory = self.stage(k, x, memory, context)
            yield x, context
            if self.finished(memory):
                return

    def iterate(self, *args: Any, **inputs: Any) -> Iterator[Tensor]:
        """Yield the estimate after each stage, finished, first stage first."""
        for x, context in islice(self.states(*args, **inputs), 1, None):
            yield self.finish(x, context)

    def forward(self, *args: Any, return_stages: bool = False, **inputs: Any) -> Tensor | list[Tensor]:
        """Restore: the last estimate, or with ``return_stages`` the list of all, first stage first."""
        if return_stages:
            return list(self.iterate(*args, **inputs))
        for x in self.iterate(*args, **inputs):  # noqa: B007  (only the last estimate is wanted)
            pass
        return x
