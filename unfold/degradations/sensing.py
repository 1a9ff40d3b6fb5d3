"""Brightness patches for compressive sensing; the network measures them itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from unfold.data.images import as_channels, read_own, to_float
from unfold.data.patches import Images
from unfold.degradations.degradation import Degradation, Rng
from unfold.errors import UnfoldError
from unfold.util.arrays import Named, is_grey

BLOCK = 32  # side of the blocks that are measured


class Sensing(Degradation):
    """Compressive sensing: patches of luma, or of all channels for a network that takes more than one.

    Colour becomes Y = (16 + (65.481 R + 128.553 G + 24.966 B) / 255) / 255, from 16/255 to 235/255, not rounded, as in
    DGUNet's training; grey images are used unchanged, in the full range. (The published tests of colour images use a
    full-range Y; the published sets are grey.) Published patches have 32x32 pixels, one block.

    full_range: colour becomes Y = 0.299 R + 0.587 G + 0.114 B, rounded to the file's depth, from black to white as in
    the tests. (The published training images were probably full-range grey; ours are in colour.)
    """

    inputs = ("image",)
    blends = False
    cache = ""

    def __init__(self, full_range: bool = False) -> None:
        self.full_range = full_range

    def check_patch(self, patch: int) -> None:
        if patch % BLOCK:
            raise UnfoldError(f"must be a multiple of {BLOCK}, the side of a block that is measured, and is {patch}")

    def protocol(self, net: nn.Module) -> str:
        return f"compressive_sensing:ratio={getattr(net, 'ratio', 25)}"

    def validation(self, net: nn.Module) -> str:
        return f"{self.protocol(net)},tile={BLOCK}"  # as published, in both phases

    def reading(self) -> str:
        return f"{super().reading()}{', full range' if self.full_range else ''}"

    def read(self, source: Any) -> Images:
        if self.full_range:
            return super().read(source)
        image = read_own(source)
        if self.channels != 1 or image.shape[2] != 3:
            return {"target": as_channels(image, self.channels, source)}
        return {"target": image[..., :1] if is_grey(image) else image}

    def make(self, images: Images, rng: Rng, scale: int) -> Named:
        target = images["target"]
        if target.shape[2] == 3 and self.channels == 1:
            weights = np.array([[65.481], [128.553], [24.966]]) / 255
            if target.dtype != np.uint8:
                target = to_float(target) * np.float32(255)
            return {"target": ((16 + target @ weights) / 255).astype(np.float32)}
        return {"target": to_float(target)}

    def render(self, batch: Named) -> Named:
        return {**batch, "image": batch["target"]}
