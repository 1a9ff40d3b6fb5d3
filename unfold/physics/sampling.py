"""Block compressive sampling: every block of an image measured by the same matrix. On torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def sample(x: Tensor, phi: Tensor, block: int) -> Tensor:
    """m = Phi x on every block: x (B,1,H,W), H and W multiples of block; phi (M, block^2) -> (B,M,H/block,W/block)."""
    return F.conv2d(x, phi.view(-1, 1, block, block), stride=block)


def sample_adjoint(m: Tensor, phi: Tensor, block: int) -> Tensor:
    """Phi^T m on every block: m (B,M,h,w) -> (B,1,h*block,w*block)."""
    return F.conv_transpose2d(m, phi.view(-1, 1, block, block), stride=block)


def to_blocks(x: Tensor, side: int) -> Tensor:
    """(B,C,H,W), H and W multiples of side -> (B*h*w,C,side,side): the blocks of every image, row by row."""
    parts = x.unflatten(-2, (-1, side)).unflatten(-1, (-1, side))  # B,C,h,side,w,side
    return parts.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def from_blocks(blocks: Tensor, count: tuple[int, int]) -> Tensor:
    """The inverse of :func:`to_blocks`: (B*h*w,C,side,side), with count (h,w) -> (B,C,h*side,w*side)."""
    parts = blocks.unflatten(0, (-1, *count)).permute(0, 3, 1, 4, 2, 5)
    return parts.flatten(-2).flatten(2, 3)


def initial_by_least_squares(phi: NDArray[Any], blocks: NDArray[Any]) -> NDArray[np.float64]:
    """Q = X Y^T (Y Y^T)^-1 with Y = Phi X: the least-squares matrix for Q y close to the blocks (ISTA-Net).

    phi (M,n); blocks (N,n), N >= M, rows are blocks -> (n,M).
    """
    x = blocks.T.astype(np.float64)
    y = phi.astype(np.float64) @ x
    return np.linalg.solve(y @ y.T, y @ x.T).T


def random_orthonormal(rows: int, columns: int, seed: int = 0) -> NDArray[np.float64]:
    """Gaussian noise with orthonormal rows, (rows, columns), rows <= columns: the usual random sampling matrix of
    compressive sensing.
    """
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((columns, rows)))
    return (q * np.sign(np.diag(r))).T


def lowest_frequencies(rows: int, side: int) -> NDArray[np.float64]:
    """The lowest frequencies of the discrete cosine transform of side x side blocks, orthonormal, (rows, side^2).

    rows <= side^2. In the order of u^2 + v^2, as natural images have most energy at low frequencies in every direction.
    """
    from scipy.fft import idct

    waves = idct(np.eye(side), norm="ortho")  # a row for each frequency
    squares = np.arange(side) ** 2
    u, v = np.divmod(np.argsort(np.add.outer(squares, squares).ravel(), kind="stable")[:rows], side)
    return (waves[u, :, None] * waves[v, None, :]).reshape(rows, -1)
