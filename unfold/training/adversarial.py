"""Adversarial training with a relativistic average discriminator, as USRGAN's.

Published is one sentence: the loss is L1 + perceptual + 0.005 adversarial, and the discriminator is relativistic. There
is no trainer and no list of settings; the formulas are those of KAIR (github.com/cszn/KAIR), whose trainer for other
networks has them, and all else in the recipes is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from unfold.training.discriminator import Discriminator
from unfold.training.losses import at_least_float32
from unfold.training.update import SUMS, Update, backward


def judging_loss(real: Tensor, restored: Tensor) -> Tensor:
    """What the discriminator minimises; its outputs (B,1) for both, ln 2 where it cannot tell them apart.

    (BCE(real - mean restored, 1) + BCE(restored - mean real, 0)) / 2, means over the batch, which pass no gradient
    (Jolicoeur-Martineau, ICLR 2019; without the gradient: KAIR).
    """
    return (_above(real, restored.detach()) + _below(restored, real.detach())) / 2


def fooling_loss(real: Tensor, restored: Tensor) -> Tensor:
    """What the network minimises: (BCE(real - mean restored, 0) + BCE(restored - mean real, 1)) / 2.

    The discriminator's outputs (B,1); here the means pass gradients on.
    """
    return (_below(real, restored) + _above(restored, real)) / 2


def _above(a: Tensor, b: Tensor) -> Tensor:
    difference = a - b.mean(0, keepdim=True)
    return F.binary_cross_entropy_with_logits(difference, torch.ones_like(difference))


def _below(a: Tensor, b: Tensor) -> Tensor:
    difference = a - b.mean(0, keepdim=True)
    return F.binary_cross_entropy_with_logits(difference, torch.zeros_like(difference))


@dataclass(kw_only=True)
class AdversarialUpdate(Update):
    """An update of the network and of its discriminator, both from the same estimates, those before either step.

    discriminator: its parameters are the optimiser's, too; weight: of the network's adversarial loss, which is of the
    last stage. The discriminator runs in float32 whatever autocast says. accumulate is 1, and there is one process: the
    discriminator's means are over the whole batch. A step in which either gradient is not finite changes neither.
    """

    names: ClassVar = (*SUMS, "adversarial", "discriminator")
    discriminator: Discriminator
    weight: float

    def _losses(self, stages: Sequence[Tensor], target: Tensor) -> tuple[Tensor, ...]:
        judge, x = self.discriminator, at_least_float32(stages[-1])
        self._statistics = [value.clone() for value in judge.buffers()]
        real = judge(target)
        judging = judging_loss(real, judge(x.detach()))
        backward(judging)
        judge.requires_grad_(False)  # what the network's loss would have it learn is the contrary
        fooling = fooling_loss(real.detach(), judge(x))
        judge.requires_grad_(True)
        return self.loss(stages, target) + self.weight * fooling, fooling.detach(), judging.detach()

    def _norm(self) -> Tensor:
        others = clip_grad_norm_(self.discriminator.parameters(), self.clip or torch.inf)
        return torch.where(others.isfinite(), super()._norm(), torch.nan)

    def _apply(self) -> Tensor:
        norm = super()._apply()
        for value, before in zip(self.discriminator.buffers(), self._statistics, strict=True):
            value.copy_(torch.where(norm.isfinite(), value, before))
        return norm

    def state(self) -> dict[str, Any]:
        return super().state() | {"discriminator": self.discriminator.state_dict()}

    def resume(self, weights: dict[str, Tensor], state: dict[str, Any]) -> None:
        super().resume(weights, state)
        self.discriminator.load_state_dict(state["discriminator"])
