"""Patches of grey images for networks that measure them by blocks or by masked Fourier transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from unfold.degradations.degradation import Degradation, Rng
from unfold.errors import UnfoldError
from unfold.steps.frequency_checks import check_mask
from unfold.util.matrix_files import read_mask


class Blocks(Degradation):
    """ISTA-Net's training: patches of block x block pixels, or several blocks.

    Grey images unchanged, colour ones as cv2's full-range Y, rounded, as in the tests. block: side of a block in
    pixels, at least 1; TRAIN.PATCH is a multiple of it.
    """

    inputs = ("image",)
    blends = False

    def __init__(self, block: int = 33) -> None:
        if block < 1:
            raise UnfoldError(f"block is the side of a block in pixels, at least 1, not {block}")
        self.block = block

    def check_patch(self, patch: int) -> None:
        if patch % self.block:
            raise UnfoldError(f"must be a multiple of {self.block}, the side of a block, and is {patch}")

    def protocol(self, net: nn.Module) -> str:
        return f"ista_net_cs:ratio={getattr(net, 'ratio', 25):g},block={self.block}"

    def degrade(self, target: NDArray[np.float32], rng: Rng) -> dict[str, Any]:
        return {"image": target}


class MaskedFourier(Degradation):
    """ISTA-Net+'s training for MRI: whole patches of the mask's size, and the mask.

    mask: a .mat (``mask_matrix``), .npy or picture file of 0 and 1, as it is or below UNFOLD_DATA, the zero frequency
    at [0,0].
    """

    inputs = ("image", "mask")
    blends = False

    def __init__(self, mask: str = "ista_net/mask_20.mat") -> None:
        self.name = mask
        self.mask: NDArray[np.float32] | None = None

    def _mask(self) -> NDArray[np.float32]:
        if self.mask is None:
            self.mask = read_mask(self.name)
            check_mask(f"the mask {self.name}", self.mask)
        return self.mask

    def check_patch(self, patch: int) -> None:
        if self._mask().shape != (patch, patch):
            raise UnfoldError(f"must be the side of the mask {self.name}, {self._mask().shape}, and is {patch}")

    def protocol(self, net: nn.Module) -> str:
        return f"ista_net_mri:mask={self.name}"

    def degrade(self, target: NDArray[np.float32], rng: Rng) -> dict[str, Any]:
        return {"image": target, "mask": self._mask()}
