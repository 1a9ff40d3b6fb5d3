"""Block compressive sampling: every block of an image measured by the same matrix. On torch tensors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def sample(x: Tensor, phi: Tensor, block: int) -> Tensor:
    """m = Phi x on every block: x (B,1,H,W), H and W multiples of block; phi (M, block^2) -> (B,M,H/block,W/block)."""
    return F.conv2d(x, phi.view(-1, 1, block, block), stride=block)


def sample_adjoint(m: Tensor, phi: Tensor, block: int) -> Tensor:
    """Phi^T m on every block: m (B,M,h,w) -> (B,1,h*block,w*block)."""
    return F.conv_transpose2d(m, phi.view(-1, 1, block, block), stride=block)
