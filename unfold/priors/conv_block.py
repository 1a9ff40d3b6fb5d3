"""The plain convolution block of NRL-GDN's noise model and step."""

from __future__ import annotations

from torch import Tensor, nn

from unfold.util.precision import apply_in_full_precision


class ConvBlock(nn.Module):
    """(B,C,H,W) -> (B,C,H,W): seven 5x5 layers without biases, ReLU between; the last four are transposed.

    channels: C; width: channels between the layers.
    """

    takes_half = False  # the last layer computes in float32

    def __init__(self, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for cin in (channels, width, width):
            layers += [nn.Conv2d(cin, width, 5, padding=2, bias=False), nn.ReLU(inplace=True)]
        for _ in range(3):
            layers += [nn.ConvTranspose2d(width, width, 5, padding=2, bias=False), nn.ReLU(inplace=True)]
        layers.append(nn.ConvTranspose2d(width, channels, 5, padding=2, bias=False))
        self.main = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.main[:-1]:
            x = layer(x)
        return apply_in_full_precision(self.main[-1], x)
