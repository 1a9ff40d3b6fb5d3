"""Compressive sensing by blocks of any side with a fixed matrix: y = Phi b for each block b."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfold.errors import UnfoldError
from unfold.physics.sampling import from_blocks, random_orthonormal, to_blocks
from unfold.util.log_once import say_once
from unfold.util.matrix_files import read_matrix
from unfold.util.padding import crop_to, pad_to_multiple
from unfold.util.precision import at_least_float32, full_precision

SIDE = 33  # side of ISTA-Net's blocks
PUBLISHED = {1: 10, 4: 43, 10: 109, 25: 272, 30: 327, 40: 436, 50: 545}  # per cent -> measurements of their 1089 pixels


def measurements_of(ratio: float, pixels: int = SIDE**2) -> int:
    """M per block: as published (some rounded up, some down), else rounded, at least 1."""
    return PUBLISHED[int(ratio)] if pixels == SIDE**2 and ratio in PUBLISHED else max(1, round(ratio * pixels / 100))


def ratio_of(measurements: int, pixels: int = SIDE**2) -> float:
    """The ratio in per cent; the published one for a published M."""
    known = {m: r for r, m in PUBLISHED.items()} if pixels == SIDE**2 else {}
    return known.get(measurements, 100 * measurements / pixels)


class SampledBlocks(NamedTuple):
    """Measured blocks, for the data step on estimates x (N,1,side,side).

    normal: Phi^T Phi; back: Phi^T y (N,side^2); blocks: number along each axis of an image; size: of the images, to
    crop to.
    """

    normal: Tensor
    back: Tensor
    blocks: tuple[int, int]
    size: tuple[int, int]

    def descended(self, x: Tensor, step: Tensor) -> Tensor:
        """x - step Phi^T(Phi x - y), in float32 or better."""
        # In the published order, including rounding: a threshold below 0, which trained networks have, makes a jump at
        # 0 of the features, and another order, which rounds to the other side, moves a pixel by 1e-4.
        with full_precision(x.device):
            flat = at_least_float32(x).flatten(1)
            return (flat - step * (flat @ self.normal) + step * self.back).view_as(x)

    def image(self, x: Tensor) -> Tensor:
        """Assemble the blocks: (B,1,H,W)."""
        return crop_to(from_blocks(x, self.blocks), self.size)


class BlockSampling(nn.Module):
    """Phi (M, side^2), for blocks in row order, and Q (side^2, M), x_0 = Q y. Neither is trained or in the state dict.

    matrix: a .mat (``phi``) or .npy file, as given or below UNFOLD_DATA; None: random orthonormal rows, always the
    same. initial: likewise (``Qinit``); None: the pseudo-inverse of Phi, logged where Phi is given. ratio: in per cent
    of the pixels; None: the matrix's, else 25. UnfoldError for a file that is missing, or of another shape.
    """

    phi: Tensor
    q: Tensor

    def __init__(self, matrix: Path | None, initial: Path | None, ratio: float | None, side: int) -> None:
        super().__init__()
        if ratio is not None and not 0 < ratio <= 100:
            raise UnfoldError(f"ratio is per cent of the pixels, above 0 and at most 100, not {ratio:g}")
        if initial is not None and matrix is None:
            raise UnfoldError("initial is the Q of a matrix: give matrix, too")
        pixels, rows = side * side, measurements_of(25 if ratio is None else ratio, side * side)
        phi = random_orthonormal(rows, pixels) if matrix is None else read_matrix(matrix, "phi")
        rows = len(phi) if ratio is None and phi.shape[1] == pixels >= len(phi) else rows
        if phi.shape != (rows, pixels):
            given, own = {"ratio": ratio, "block": side}, ""
            if phi.shape[1] == pixels:
                own = f", of ratio {ratio_of(len(phi), pixels):.4g} %"
            raise UnfoldError(f"{matrix} holds a matrix {phi.shape}{own}, and what is wanted is {wanted(given)}")
        q = None if initial is None else read_matrix(initial, "Qinit")
        for path, value in ((matrix, phi), (initial, q)):
            if value is not None and value.dtype.kind == "c":
                raise UnfoldError(f"{path} holds complex numbers, and real ones are wanted")
        q = np.linalg.pinv(phi) if q is None else q
        if q.shape != (pixels, rows):
            raise UnfoldError(f"{initial} is {q.shape}, and the Q of x_0 = Q y is ({pixels}, {rows}) for this matrix")
        if matrix is not None and initial is None:
            say_once("note: no initial=FILE is given: x_0 is by the pseudo-inverse of Phi, not by a published Q")
        self.side, self.ratio = side, ratio_of(rows, pixels) if ratio is None else ratio
        for name, value in (("phi", phi), ("q", q)):  # copied: in a skeleton they are meta tensors
            self.register_buffer(name, torch.empty(value.shape).copy_(torch.from_numpy(value)), persistent=False)

    def measure(self, x: Tensor) -> Tensor:
        """x (B,1,H,W), padded with zeros on the right and bottom to whole blocks -> y (B,M,h,w)."""
        with full_precision(x.device):
            blocks = to_blocks(pad_to_multiple(at_least_float32(x), self.side, mode="constant"), self.side)
            y = F.linear(blocks.flatten(1), self.phi)
        return y.unflatten(0, (len(x), -(-x.shape[-2] // self.side), -1)).movedim(-1, 1)

    def begin(self, y: Tensor | None, image: Tensor | None) -> tuple[Tensor, SampledBlocks]:
        """Measurements y (B,M,h,w), or (N,M) of N single blocks, or an image to measure (B,1,H,W) -> x_0 = Q y of every
        block (B*h*w,1,side,side), and the state of the data step. UnfoldError if neither is given, or for other
        shapes.
        """
        if y is not None and image is not None:
            raise UnfoldError("give either measurements or image=, the image to measure")
        if image is not None:
            y = self.measure(image)
        y = y[..., None, None] if isinstance(y, Tensor) and y.ndim == 2 else y
        if not isinstance(y, Tensor) or y.ndim != 4 or y.shape[1] != len(self.phi):
            raise UnfoldError(f"give image=, or measurements (B,{len(self.phi)},h,w) of h x w blocks")
        height, width = (self.side * n for n in y.shape[2:]) if image is None else image.shape[2:]
        rows = at_least_float32(y).movedim(1, -1).flatten(0, 2)
        with full_precision(y.device):
            x = F.linear(rows, self.q).view(-1, 1, self.side, self.side)
            normal, back = self.phi.mT @ self.phi, rows @ self.phi
        return x, SampledBlocks(normal, back, (y.shape[2], y.shape[3]), (height, width))


def wanted(given: Mapping[str, Any]) -> str:
    """Describe the required matrix for the options ratio and block: its shape, and the ratio."""
    side, ratio = int(given.get("block", SIDE)), given.get("ratio")
    about = f"the sampling matrix Phi of blocks of {side}x{side}, "
    if ratio is not None:
        return f"{about}({measurements_of(ratio, side * side)}, {side * side}), of ratio {ratio:g} %"
    known = f" ({', '.join(f'{m} for {r}' for r, m in PUBLISHED.items())} %)" if side == SIDE else ""
    return f"{about}(M, {side * side}), M = ratio x {side * side} / 100{known}"
