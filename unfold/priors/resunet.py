"""ResUNet: the residual U-Net prior of USRNet and, with DRUNet's depth, of NRL-GDN.

Zhang, Van Gool, Timofte: Deep Unfolding Network for Image Super-Resolution, CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from unfold.util.padding import crop_to, pad_to_multiple
from unfold.util.precision import apply_in_full_precision


class ResBlock(nn.Module):
    """x + conv(ReLU(conv(x))), 3x3, without biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.res(x).add_(x)  # in place: faster in narrow networks (docs/performance.md)


def blocks(channels: int, count: int) -> list[nn.Module]:
    return [ResBlock(channels) for _ in range(count)]


class ResUNet(nn.Module):
    """(B,cin,H,W) -> (B,cout,H,W), any size: padded by its last row and column to multiples of 8, and cropped back.

    Strided convolutions down, transposed ones up, skips are added; no biases, no normalisation, no skip around the
    whole. widths: channels of the four levels, at scales 1, 1/2, 1/4, 1/8; depth: residual blocks per level, each way,
    0 or more.
    """

    takes_half = False  # the last layer computes in float32

    def __init__(
        self, cin: int = 4, cout: int = 3, widths: Sequence[int] = (64, 128, 256, 512), depth: int = 2
    ) -> None:
        super().__init__()
        w = list(widths)
        if len(w) != 4 or min(w) < 1 or depth < 0:
            raise ValueError(f"ResUNet has four widths of at least 1 and a depth of at least 0, not {w} and {depth}")

        def down(i: int) -> nn.Sequential:
            return nn.Sequential(*blocks(w[i], depth), nn.Conv2d(w[i], w[i + 1], 2, stride=2, bias=False))

        def up(i: int) -> nn.Sequential:
            return nn.Sequential(nn.ConvTranspose2d(w[i], w[i - 1], 2, stride=2, bias=False), *blocks(w[i - 1], depth))

        self.m_head = nn.Conv2d(cin, w[0], 3, padding=1, bias=False)
        self.m_down1, self.m_down2, self.m_down3 = down(0), down(1), down(2)
        self.m_body = nn.Sequential(*blocks(w[3], depth))
        self.m_up3, self.m_up2, self.m_up1 = up(3), up(2), up(1)
        self.m_tail = nn.Conv2d(w[0], cout, 3, padding=1, bias=False)

    @torch.no_grad()
    def start_as_identity(self) -> None:
        """Initialise near x -> its first cout channels: these pass through head, outermost skip and tail, and the inner
        branch is scaled by a tenth. ValueError if fewer than cout channels can pass."""
        cout, cin = self.m_tail.out_channels, self.m_head.in_channels
        if cout > min(cin, self.m_head.out_channels):
            raise ValueError(f"{cout} channels cannot pass through {min(cin, self.m_head.out_channels)}")
        passed = torch.arange(cout)
        for layer in (self.m_head, self.m_tail):
            layer.weight[:cout] = 0.0
            layer.weight[passed, passed, 1, 1] = 1.0
        self.m_tail.weight[:, cout:] = torch.randn_like(self.m_tail.weight[:, cout:]) * 0.1 / self.m_tail.in_channels
        next(self.m_up1.parameters()).mul_(0.1)  # the transposed convolution

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x1 = self.m_head(pad_to_multiple(x, 8, mode="replicate"))
        x2 = self.m_down1(x1)
        x3 = self.m_down2(x2)
        x4 = self.m_down3(x3)
        x = self.m_up3(self.m_body(x4) + x4)
        x = self.m_up2(x.add_(x3))
        x = self.m_up1(x.add_(x2))
        return crop_to(apply_in_full_precision(self.m_tail, x.add_(x1)), (height, width))


def arguments_in(state: Mapping[str, Tensor], name: str) -> dict[str, object]:
    """widths and depth of a network's ResUNet of this name, from the names and shapes of its state dict."""
    depth = sum(key.startswith(f"{name}.m_body.") and key.endswith(".res.0.weight") for key in state)
    down = [state[f"{name}.m_down{i}.{depth}.weight"].shape[0] for i in (1, 2, 3)]
    return {"widths": (state[f"{name}.m_head.weight"].shape[0], *down), "depth": depth}
