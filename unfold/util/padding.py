"""Pad images to the sizes that a network takes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int, mode: str = "reflect") -> Tensor:
    """Pad (B,C,H,W) right and bottom to multiples of ``multiple``; a size that is a multiple is unchanged.

    mode: "reflect", which repeats the last row or column where the image is too small to reflect, or "replicate", which
    always repeats, or "constant", zeros.
    """
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if bottom:
        x = F.pad(x, (0, 0, 0, bottom), mode=mode if mode != "reflect" or bottom < height else "replicate")
    if right:
        x = F.pad(x, (0, right, 0, 0), mode=mode if mode != "reflect" or right < width else "replicate")
    return x


def crop_to(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Keep the top left ``size`` = (H, W)."""
    return x[..., : size[0], : size[1]]
