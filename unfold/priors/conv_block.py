"""The plain convolution block of NRL-GDN's noise model and step."""

from __future__ import annotations

import torch
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

    @torch.no_grad()
    def start_as_identity(self, scale: float = 1.0) -> None:
        """Initialise near x -> scale x: for each channel of x, two of those between the layers carry x and -x past the
        ReLUs; the others are scaled by a tenth in the last layer. A block with less than twice the channels between the
        layers begins near x -> 0: its last layer is scaled by a tenth.
        """
        last = self.main[-1]
        assert isinstance(last, nn.ConvTranspose2d)
        last.weight *= 0.1
        width, channels = last.in_channels, last.out_channels
        if width < 2 * channels:
            return
        carried = torch.arange(2 * channels)
        image, sign = carried // 2, (1 - 2 * (carried % 2)).to(last.weight)
        for layer in self.main[::2]:
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
            weight = layer.weight if isinstance(layer, nn.Conv2d) else layer.weight.transpose(0, 1)
            if layer is last:
                weight[:, : 2 * channels] = 0.0
                weight[image, carried, 2, 2] = scale * sign
            else:
                first = layer is self.main[0]
                weight[: 2 * channels] = 0.0
                weight[carried, image if first else carried, 2, 2] = sign if first else torch.ones_like(sign)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.main[:-1]:
            x = layer(x)
        return apply_in_full_precision(self.main[-1], x)
