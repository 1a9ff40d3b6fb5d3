"""The training loss: a weighted sum of losses (LOSS.TERMS), each a class of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from unfold.errors import UnfoldError
from unfold.models.unfolding import Output
from unfold.user_files import line_of


class Loss(nn.Module, ABC):
    """One loss of the whole output of a network. Its options are the arguments of its constructor.

    needs: names in the batch that it uses besides "target" and the network's inputs; channels: of the images that it
    takes, None for any. Modules that it holds are moved to the training device and are not trained.
    """

    needs: tuple[str, ...] = ()
    channels: int | None = None

    @abstractmethod
    def forward(self, output: Output, batch: Mapping[str, Any]) -> Tensor:
        """A scalar, of ``output.stages`` (each (B,C,H,W), not clamped), ``output.extras`` and the batch."""

    def check_patch(self, patch: int) -> None:
        """UnfoldError, "must be ...", for a TRAIN.PATCH (side in pixels) that the loss cannot use."""

    def load(self) -> None:
        """Load what it needs besides its options, such as weights from a file: called once, before the training."""

    def load_empty(self) -> None:
        """As :meth:`load`, without reading or downloading anything: for counting memory."""
        self.load()


class ImageLoss(Loss):
    """A distance of an estimate to the target; LOSS.TERMS says of which stages, and whether they are clamped first."""

    @abstractmethod
    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        """A scalar; both (B,C,H,W), the target in [0,1]. Computed in float32 or better."""

    def forward(self, output: Output, batch: Mapping[str, Any]) -> Tensor:
        return self.distance(output.stages[-1], batch["target"])


@dataclass(frozen=True)
class Term:
    """A loss with its weight; for an ImageLoss, whether it applies to every stage (summed) or the last, and whether
    estimates are clamped.
    """

    loss: Loss
    weight: float = 1.0
    every_stage: bool = False
    clamp: bool = False

    @property
    def kind(self) -> tuple[Any, ...]:
        """Consecutive terms of one kind are added stage by stage."""
        return (self.every_stage, self.clamp) if isinstance(self.loss, ImageLoss) else (id(self),)


@dataclass(frozen=True)
class TotalLoss:
    """(output, batch) -> scalar: the weighted sum of the terms.

    Terms on the same stages are added per stage, and the first one's weight is factored out of the sum. So the
    published sums of stages, w sum_k (a_k + v b_k), are rounded as in the published code.
    """

    terms: Sequence[Term]

    def __call__(self, output: Output, batch: Mapping[str, Any]) -> Tensor:
        parts = [self._of_kind(list(terms), output, batch) for _, terms in groupby(self.terms, lambda term: term.kind)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    @staticmethod
    def _of_kind(terms: list[Term], output: Output, batch: Mapping[str, Any]) -> Tensor:
        first = terms[0]
        if not isinstance(first.loss, ImageLoss):
            return first.weight * _scalar(first.loss, first.loss(output, batch))
        common, target = first.weight or 1.0, batch["target"]
        stages = output.stages if first.every_stage else output.stages[-1:]
        sums = []
        for x in stages:
            seen = x.clamp(0, 1) if first.clamp else x
            value: Tensor | None = None
            for term in terms:
                assert isinstance(term.loss, ImageLoss)
                share, one = term.weight / common, _scalar(term.loss, term.loss.distance(seen, target))
                one = one if share == 1 else share * one
                value = one if value is None else value + one
            sums.append(value)
        return common * torch.stack(sums).sum()  # type: ignore[arg-type]


def _scalar(loss: Loss, value: Any) -> Tensor:
    """Check that a loss returned one number; UnfoldError with its line otherwise."""
    if not isinstance(value, Tensor) or value.ndim:
        method = loss.distance if isinstance(loss, ImageLoss) else loss.forward
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise UnfoldError(f"{line_of(method)}: {type(loss).__name__} returns {what}, and a scalar tensor is wanted")
    return value
