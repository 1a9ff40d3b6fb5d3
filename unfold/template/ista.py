"""A network: ISTA, unfolded, for pictures with holes. y = m x, and the mask m is known."""

import torch
from torch import nn

from unfold.facts import Tiling, image
from unfold.models.unfolding import UnfoldingNetwork


class ISTANet(UnfoldingNetwork):
    """x_{k+1} = z + G(soft(F(z), t_k)) with z = x_k - r_k m (m x_k - y): a gradient step, and a learned shrinkage.

    stages: K; features: of F; channels: of the images.
    """

    tied = True  # one F and G for all stages: any number of them can be run
    tiling = Tiling(exact=True, reach=4)  # four 3x3 convolutions in a stage, and nothing with a larger receptive field

    def __init__(self, stages: int = 6, features: int = 24, channels: int = 3) -> None:
        super().__init__(stages)
        self.channels = channels
        act = nn.ReLU()
        self.forward_transform = nn.Sequential(
            nn.Conv2d(channels, features, 3, padding=1), act, nn.Conv2d(features, features, 3, padding=1)
        )
        self.backward_transform = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1), act, nn.Conv2d(features, channels, 3, padding=1)
        )
        self.step = nn.Parameter(torch.tensor(1.0))
        self.threshold = nn.Parameter(torch.tensor(0.01))

    @property
    def inputs(self):
        return {"y": image(self.channels), "mask": image(1, "(B,1,H,W), 1 where y was measured, 0 in holes")}

    def begin(self, y, *, mask):
        return y * mask, (y, mask)

    def stage(self, k, x, memory, context):
        y, mask = context
        z = x - self.step * mask * (mask * x - y)
        f = self.forward_transform(z)
        f = f.sign() * (f.abs() - self.threshold).clamp(min=0)
        change = self.backward_transform(f)
        return z + change, None, {"update": change}  # the third item is for losses and traces, and is optional

    def residual(self, k, x, context):
        y, mask = context
        return mask * x - y

    def numbers(self, k, context):
        return {"r": self.step, "t": self.threshold}
