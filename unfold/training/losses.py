"""Losses over the stages of an unfolding network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Distance = Callable[[Tensor, Tensor], Tensor]
BINOMIAL = (0.05, 0.25, 0.4, 0.25, 0.05)  # Burt and Adelson's, which the published edge loss smooths with


def charbonnier(x: Tensor, target: Tensor, eps: float = 1e-3) -> Tensor:
    """mean(sqrt((x - target)^2 + eps^2)), a smooth L1; both (B,C,H,W), computed in float32 or better."""
    return torch.sqrt((at_least_float32(x) - target).square() + eps**2).mean()


def edge(x: Tensor, target: Tensor, eps: float = 1e-3) -> Tensor:
    """The Charbonnier loss of the Laplacians (MPRNet, CVPR 2021; DGUNet's deblurring and deraining)."""
    return charbonnier(laplacian(at_least_float32(x)), laplacian(target), eps)


def laplacian(x: Tensor) -> Tensor:
    """What is left of (B,C,H,W) without its low-pass: x - G(4 x'), x' = G(x) with all but every second pixel of every
    second row set to zero. G is the binomial filter 5x5, edges are continued by their pixels.
    """
    low = _smoothed(x)
    kept = torch.zeros_like(low)
    kept[..., ::2, ::2] = 4 * low[..., ::2, ::2]
    return x - _smoothed(kept)


def _smoothed(x: Tensor) -> Tensor:
    taps = x.new_tensor(BINOMIAL)
    channels = x.shape[1]
    x = F.pad(x, (2, 2, 2, 2), mode="replicate")
    x = F.conv2d(x, taps.view(1, 1, 5, 1).expand(channels, -1, -1, -1), groups=channels)
    return F.conv2d(x, taps.view(1, 1, 1, 5).expand(channels, -1, -1, -1), groups=channels)


def at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def l1(x: Tensor, target: Tensor) -> Tensor:
    """mean(|x - target|); USRNet, NRL-GDN."""
    return F.l1_loss(at_least_float32(x), target)


def mse(x: Tensor, target: Tensor) -> Tensor:
    """mean((x - target)^2); compressive sensing."""
    return F.mse_loss(at_least_float32(x), target)


@dataclass(frozen=True)
class StageLoss:
    """(stages, target) -> scalar: a distance of every stage's estimate, summed, or of the last one alone.

    edge: weight of the edge loss beside it; clamp: cut estimates off to [0,1] first; weight: of the whole.
    """

    distance: Distance
    every_stage: bool
    edge: float = 0.0
    clamp: bool = False
    weight: float = 1.0
    eps: float = 1e-3

    def __call__(self, stages: Sequence[Tensor], target: Tensor) -> Tensor:
        terms = [self._of(x, target) for x in (stages if self.every_stage else stages[-1:])]
        return self.weight * torch.stack(terms).sum()

    def _of(self, x: Tensor, target: Tensor) -> Tensor:
        x = x.clamp(0, 1) if self.clamp else x
        loss = self.distance(x, target)
        return loss + self.edge * edge(x, target, self.eps) if self.edge else loss
