"""Soft thresholding of learned features, as in ISTA-Net and ISTA-Net+ (Zhang, Ghanem, CVPR 2018).

    ISTA-Net:   f = F(r),     x = F~(soft(f, theta)),          symmetry = F~(f) - r
    ISTA-Net+:  f = F(D(r)),  x = r + G(F~(soft(f, theta))),   symmetry = F~(f) - D(r)

F and F~ are two 3x3 convolutions with a ReLU between them, D and G are one; none has a bias.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfold.util.precision import at_least_float32, full_precision


class Shrinkage(nn.Module):
    """plus: with D, G and the skip connection around them; width: of the features. Xavier normal, theta 0.01."""

    conv_D: Tensor  # noqa: N815  (the published name)
    conv1_forward: Tensor
    conv2_forward: Tensor
    conv1_backward: Tensor
    conv2_backward: Tensor
    conv_G: Tensor  # noqa: N815

    def __init__(self, plus: bool, width: int) -> None:
        super().__init__()
        self.plus = plus
        self.soft_thr = nn.Parameter(torch.tensor([0.01]))
        ends = width if plus else 1
        shapes = {"conv_D": (width, 1)} if plus else {}
        shapes |= {"conv1_forward": (width, ends), "conv2_forward": (width, width)}
        shapes |= {"conv1_backward": (width, width), "conv2_backward": (ends, width)}
        for name, shape in (shapes | ({"conv_G": (1, width)} if plus else {})).items():
            self.register_parameter(name, nn.Parameter(nn.init.xavier_normal_(torch.empty(*shape, 3, 3))))

    def forward(self, r: Tensor, symmetric: bool = False) -> tuple[Tensor, Tensor | None]:
        """r (N,1,H,W) -> x, and, if requested, the symmetry (N,width|1,H,W)."""
        d = _convolved(r, self.conv_D) if self.plus else r
        f = _convolved(F.relu(_convolved(d, self.conv1_forward)), self.conv2_forward)
        x = self._backward(torch.sign(f) * F.relu(f.abs() - self.soft_thr))  # theta may be negative: used as it is
        if self.plus:
            x = r + _to_image(x, self.conv_G)
        return x, self._backward(f) - d if symmetric else None

    def _backward(self, f: Tensor) -> Tensor:
        last = _convolved if self.plus else _to_image
        return last(F.relu(_convolved(f, self.conv1_backward)), self.conv2_backward)


def _convolved(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=1)


def _to_image(x: Tensor, weight: Tensor) -> Tensor:
    with full_precision(x.device):
        return F.conv2d(at_least_float32(x), weight, padding=1)
