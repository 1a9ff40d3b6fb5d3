"""Gradient data steps: one step of gradient descent on 1/2 ||A x - y||^2."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


def gradient_step(
    x: Tensor, y: Tensor, step: Tensor, operator: Callable[[Tensor], Tensor], adjoint: Callable[[Tensor], Tensor]
) -> Tensor:
    """v = x - step * A^T(A x - y), the gradient step of proximal gradient descent.

    x, y: estimate and measurement; step: scalar tensor; operator, adjoint: A and A^T, known or learned.
    """
    return x - step * adjoint(operator(x) - y)


class LearnedOperator(nn.Module):
    """A degradation operator (or its transpose) learned as identity plus a two-layer network (DGUNet, CVPR 2022).

    x (B,C,H,W) -> (B,C,H,W). ``act`` is an argument because DGUNet shares one PReLU among all its operators.
    """

    def __init__(self, act: nn.Module, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), act, nn.Conv2d(width, channels, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
