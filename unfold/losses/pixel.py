"""Pixel losses: Charbonnier, mean absolute and mean squared difference, and the logarithm of the latter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.losses.loss import ImageLoss
from unfold.util.precision import at_least_float32


def charbonnier(x: Tensor, target: Tensor, eps: float = 1e-3) -> Tensor:
    """mean(sqrt((x - target)^2 + eps^2)), a smooth L1; both (B,C,H,W), computed in float32 or better."""
    return torch.sqrt((at_least_float32(x) - target).square() + eps**2).mean()


class Charbonnier(ImageLoss):
    """mean(sqrt((x - target)^2 + eps^2)), a smooth L1; DGUNet.

    eps: above 0, in units of the images' range [0,1]: smaller differences count as squares, larger ones as in L1.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = checked_eps(eps)

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        return charbonnier(x, target, self.eps)


class L1(ImageLoss):
    """The mean absolute difference, mean(|x - target|); USRNet, NRL-GDN."""

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(at_least_float32(x), target)


class MSE(ImageLoss):
    """The mean squared error, mean((x - target)^2); DGUNet and ISTA-Net for compressive sensing."""

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(at_least_float32(x), target)


class LogMSE(ImageLoss):
    """The mean over the samples of log(mean((x - target)^2) + eps^2). Ours, for camera noise: a decibel counts the same
    in every sample, so that the noisiest samples do not dominate.

    eps: above 0, in units of the images' range [0,1]: a sample with a smaller error counts as nearly perfect.
    """

    def __init__(self, eps: float = 2e-3) -> None:
        super().__init__()
        self.eps = checked_eps(eps)

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        return ((at_least_float32(x) - target).square().flatten(1).mean(dim=1) + self.eps**2).log().mean()


def checked_eps(eps: float) -> float:
    if eps <= 0:
        raise UnfoldError(f"eps must be greater than 0, not {eps:g}")
    return eps
