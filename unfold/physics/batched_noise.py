"""Random noise levels and maps for training, a batch at once on a device.

What noise.py and sigma_maps.py do one by one.
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


def random_bumps(batch: int, side: int, lowest: float, highest: float, generator: torch.Generator) -> Tensor:
    """Smooth maps (batch,1,side,side) in [0,1] units; see sigma_maps.random_bump."""
    centre = side * _uniform((batch, 2), generator)
    scale = side * (0.25 + 0.5 * _uniform((batch,), generator))
    levels = (lowest + (highest - lowest) * _uniform((batch, 2), generator)) / 255
    return bump_maps(centre, scale, levels, side)


def bump_maps(centre: Tensor, scale: Tensor, levels: Tensor, side: int) -> Tensor:
    """(B,1,side,side) from centre (B,2): column, row; scale (B,), in pixels; two levels (B,2), in any order."""
    distance = (torch.arange(side, device=centre.device) - centre[..., None]) / scale[:, None, None]
    across, down = torch.exp(-0.5 * distance**2).unbind(1)
    bump = down[:, :, None] * across[:, None, :]
    low, high = bump.amin((1, 2), keepdim=True), bump.amax((1, 2), keepdim=True)
    lower, upper = levels.amin(1)[:, None, None], levels.amax(1)[:, None, None]
    return (lower + (bump - low) / (high - low) * (upper + 5 / 255 - lower))[:, None]


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)
