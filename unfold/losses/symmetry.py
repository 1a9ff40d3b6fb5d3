"""ISTA-Net's constraint: a stage's transform followed by its inverse stays near the identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.losses.loss import Loss
from unfold.models.unfolding import Output
from unfold.util.precision import at_least_float32


class Symmetry(Loss):
    """Sum over stages of mean(s_k^2) of the "symmetry" s_k = F~(F(x)) - x that they return; published weight 0.01."""

    def forward(self, output: Output, batch: Mapping[str, Any]) -> Tensor:
        found = output.extras.get("symmetry")
        if not found:
            raise UnfoldError("the loss symmetry is for networks whose stages return 'symmetry', as ISTA-Net's do")
        return torch.stack([at_least_float32(value).square().mean() for value in found]).sum()
