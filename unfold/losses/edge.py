"""The edge loss: the Charbonnier distance of Laplacians."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from unfold.losses.loss import ImageLoss
from unfold.losses.pixel import charbonnier, checked_eps
from unfold.util.precision import at_least_float32

BINOMIAL = (0.05, 0.25, 0.4, 0.25, 0.05)  # Burt and Adelson's, which the published edge loss smooths with


class Edge(ImageLoss):
    """The Charbonnier loss of the Laplacians (MPRNet, CVPR 2021; DGUNet's deblurring and deraining).

    eps: above 0, in units of the images' range [0,1], as in the Charbonnier loss.
    """

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = checked_eps(eps)

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        return charbonnier(laplacian(at_least_float32(x)), laplacian(target), self.eps)


def laplacian(x: Tensor) -> Tensor:
    """The image (B,C,H,W) minus its low-pass: x - G(4 x'), where x' = G(x) with all but every second pixel of every
    second row set to zero. G is the binomial filter 5x5 with replicated edges.
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
