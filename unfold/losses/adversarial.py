"""Adversarial losses with a relativistic average discriminator, as USRGAN's.

Published is one sentence: the loss is L1 + perceptual + 0.005 adversarial, and the discriminator is relativistic. No
trainer and no settings are published. The formulas are those of KAIR (github.com/cszn/KAIR), whose trainer for other
networks has them; everything else in the recipes is our choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.losses.loss import Loss
from unfold.models.unfolding import Output

JUDGED = 96  # side of the patches that the discriminator takes


class Adversarial(Loss):
    """Adversarial loss of the last stage, with a discriminator trained alongside: see fooling_loss. TRAIN.PATCH is 96.

    The trainer updates both, in one process and without TRAIN.ACCUMULATE: the means are over the whole batch
    (:class:`unfold.training.adversarial_step.AdversarialUpdate`). start: initialisation of the discriminator:
    "default", as torch makes them, or "kair", as KAIR's trainers fill them: convolutions and linear layers orthogonal
    with gain 0.2, biases 0, scales of the normalisation uniform in 0.1 to 1.
    """

    channels = 3

    def __init__(self, start: Literal["default", "kair"] = "default") -> None:
        super().__init__()
        self.start = start

    def check_patch(self, patch: int) -> None:
        if patch != JUDGED:
            raise UnfoldError(f"must be {JUDGED}, what the discriminator of the loss adversarial takes, and is {patch}")

    def forward(self, output: Output, batch: Mapping[str, Any]) -> Tensor:
        raise AssertionError("the trainer computes it, beside the discriminator's step")


def judging_loss(real: Tensor, restored: Tensor) -> Tensor:
    """What the discriminator minimises; from its outputs (B,1) for both; ln 2 where it cannot distinguish them.

    (BCE(real - mean restored, 1) + BCE(restored - mean real, 0)) / 2, means over the batch, which pass no gradient
    (Jolicoeur-Martineau, ICLR 2019; without the gradient: KAIR).
    """
    return (_above(real, restored.detach()) + _below(restored, real.detach())) / 2


def fooling_loss(real: Tensor, restored: Tensor) -> Tensor:
    """What the network minimises: (BCE(real - mean restored, 0) + BCE(restored - mean real, 1)) / 2.

    Takes the discriminator's outputs (B,1); here the means pass gradients.
    """
    return (_below(real, restored) + _above(restored, real)) / 2


def _above(a: Tensor, b: Tensor) -> Tensor:
    difference = a - b.mean(0, keepdim=True)
    return F.binary_cross_entropy_with_logits(difference, torch.ones_like(difference))


def _below(a: Tensor, b: Tensor) -> Tensor:
    difference = a - b.mean(0, keepdim=True)
    return F.binary_cross_entropy_with_logits(difference, torch.zeros_like(difference))
