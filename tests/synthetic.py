"""Weights and images that every machine makes alike."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import nn


def fill(net: nn.Module) -> nn.Module:
    """Give every entry of the state dict numbers that depend on its name and shape alone (the rule of the goldens)."""
    state = {}
    for name, value in net.state_dict().items():
        shape, noise = value.shape, torch.Generator().manual_seed(zlib.crc32(name.encode()))
        if value.numel() == 1:
            state[name] = torch.full(shape, 0.25 if name.endswith(".weight") else 0.5)
        elif name.endswith(".bias"):
            state[name] = 0.05 * torch.randn(shape, generator=noise)
        elif value.ndim == 1:
            state[name] = 1 + 0.2 * torch.randn(shape, generator=noise)
        else:
            fan_in = shape[0] if name.endswith(".up.weight") else int(np.prod(shape[1:]))
            state[name] = torch.randn(shape, generator=noise) * (0.5 / fan_in) ** 0.5
    net.load_state_dict(state)
    return net


def scene(height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth coloured picture with edges, (H,W,3) uint8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / 16.0
    waves = [np.sin(rows * rng.uniform(0.5, 2) + columns * rng.uniform(0.5, 2) + rng.uniform(0, 6)) for _ in range(3)]
    picture = 0.5 + 0.3 * np.stack(waves, axis=-1)
    picture[height // 4 : height // 2, width // 4 : width // 2] = rng.uniform(0, 1, 3)
    return np.rint(255 * picture).astype(np.uint8)
