"""Losses over the stages of an unfolding network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def charbonnier(x: Tensor, target: Tensor, eps: float = 1e-3) -> Tensor:
    """mean(sqrt((x - target)^2 + eps^2)), a smooth L1; both (B,C,H,W), computed in float32."""
    return torch.sqrt((x.float() - target).square() + eps**2).mean()


def charbonnier_of_stages(stages: Sequence[Tensor], target: Tensor, eps: float = 1e-3) -> Tensor:
    """The Charbonnier loss of every stage's estimate, summed (DGUNet trains all its stages)."""
    return torch.stack([charbonnier(x, target, eps) for x in stages]).sum()
