"""Random noise levels and maps for training, a batch at once on a device.

What noise.py does one by one.
"""

from __future__ import annotations

import torch
from torch import Tensor


def add_gaussian(x: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """x (B,C,H,W) plus Gaussian noise of standard deviation sigma (B,1,1,1) or (B,1,H,W), in x's units. Not clamped."""
    return x + sigma * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


def random_levels(batch: int, generator: torch.Generator, highest: int = 25) -> Tensor:
    """Standard deviations (batch,) in [0,1] units of USRNet's training; see noise.random_level."""
    none = _uniform((batch,), generator) < 1 / 9
    level = torch.randint(highest, (batch,), generator=generator, device=generator.device) / 255
    return torch.where(none, 0.0, level)


def random_quadrant_levels(batch: int, generator: torch.Generator, highest: float = 12.75) -> Tensor:
    """Standard deviations (batch,4) in [0,1] units of NRL-GDN's training; see noise.random_quadrant_levels."""
    levels = highest / 255 * _uniform((batch, 4), generator)
    return torch.where(_uniform((batch, 1), generator) < 2 / 3, levels[:, :1], levels)


def quadrant_map(levels: Tensor, size: tuple[int, int]) -> Tensor:
    """(B,1,H,W) from levels (B,4): upper left, upper right, lower left, lower right, cut at H//2 and W//2."""
    lower, right = (torch.arange(n, device=levels.device) >= n // 2 for n in size)
    return levels[:, 2 * lower[:, None].long() + right.long()][:, None]


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)
