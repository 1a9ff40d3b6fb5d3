"""Training steps of a network and of its discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from unfold.losses.adversarial import fooling_loss, judging_loss
from unfold.models.unfolding import Output
from unfold.training.discriminator import Discriminator
from unfold.training.train_step import SUMS, Update, backward
from unfold.util.precision import at_least_float32


@dataclass(kw_only=True)
class AdversarialUpdate(Update):
    """A training step of the network and its discriminator, both from the same estimates, made before either step.

    discriminator: its parameters belong to the optimiser, too; weight: of the network's adversarial loss, which uses
    the last stage. The discriminator runs in float32 regardless of autocast. accumulate is 1, and there is one process:
    the discriminator's means are over the whole batch. A step in which either gradient is not finite changes neither
    network.
    """

    names: ClassVar = (*SUMS, "adversarial", "discriminator")
    discriminator: Discriminator
    weight: float

    def _losses(self, output: Output, batch: Mapping[str, object]) -> tuple[Tensor, ...]:
        judge, x, target = self.discriminator, at_least_float32(output.stages[-1]), batch["target"]
        self._statistics = [value.clone() for value in judge.buffers()]
        real = judge(target)
        judging = judging_loss(real, judge(x.detach()))
        backward(judging)
        judge.requires_grad_(False)  # the network's loss has the opposite gradient for the discriminator
        fooling = fooling_loss(real.detach(), judge(x))
        judge.requires_grad_(True)
        return self.loss(output, batch) + self.weight * fooling, fooling.detach(), judging.detach()

    def _norm(self) -> Tensor:
        others = clip_grad_norm_(self.discriminator.parameters(), self.clip or torch.inf)
        return torch.where(others.isfinite(), super()._norm(), torch.nan)

    def _apply(self) -> Tensor:
        norm = super()._apply()
        for value, before in zip(self.discriminator.buffers(), self._statistics, strict=True):
            value.copy_(torch.where(norm.isfinite(), value, before))
        return norm

    def state(self) -> dict[str, object]:
        return super().state() | {"discriminator": self.discriminator.state_dict()}

    def resume(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        super().resume(weights, state)
        self.discriminator.load_state_dict(state["discriminator"])
