"""Data steps as modules that any prior can be joined to (see docs/compose.md)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfold.physics.blur import Boundary, blur, blur_adjoint
from unfold.precision import at_least_float32, full_precision
from unfold.steps.closed_form import PreparedKernel, prepare
from unfold.steps.gradient import gradient_step


class DataStep(nn.Module, ABC):
    """One half of a stage: what the measurement says of an estimate."""

    @abstractmethod
    def begin(self, y: Tensor, **inputs: Any) -> tuple[Tensor, Any]:
        """Measurement and its named inputs -> x_0 and the context that all stages share."""

    @abstractmethod
    def forward(self, k: int, x: Tensor, context: Any) -> Tensor:
        """x_k -> z_k, k = 0..K-1."""


class Prepared(NamedTuple):
    kernel: PreparedKernel
    spectrum: Tensor


class ClosedForm(DataStep):
    """z = argmin ||S(k * z) - y||^2 + alpha_k ||z - x||^2, circular border, with a learned alpha_k per stage.

    Inputs: y (B,C,h,w), kernel (B|1,1,kh,kw), scale. alpha: what every alpha_k begins at.
    """

    def __init__(self, stages: int, alpha: float = 0.01) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.full((stages,), alpha).log())

    def begin(self, y: Tensor, *, kernel: Tensor, scale: int = 1) -> tuple[Tensor, Prepared]:  # type: ignore[override]
        y = at_least_float32(y)
        with full_precision(y.device):
            prepared = prepare(kernel.to(y), (y.shape[-2] * scale, y.shape[-1] * scale), scale)
            return F.interpolate(y, scale_factor=scale, mode="nearest"), Prepared(prepared, prepared.spectrum(y))

    def forward(self, k: int, x: Tensor, context: Prepared) -> Tensor:
        with full_precision(x.device):
            return context.kernel.solve(at_least_float32(x), context.spectrum, self.log_alpha[k].exp())


class Blurred(NamedTuple):
    y: Tensor
    kernel: Tensor


class BlurGradient(DataStep):
    """z = x - r_k A^T(A x - y) for A blur with a stated border, with a learned step r_k per stage.

    Inputs: y (B,C,H,W), kernel (B|1,1,kh,kw). step: what every r_k begins at; below 2 for a kernel of sum 1.
    """

    def __init__(self, stages: int, boundary: Boundary = "replicate", step: float = 1.0) -> None:
        super().__init__()
        self.boundary: Boundary = boundary
        self.step = nn.Parameter(torch.full((stages,), step))

    def begin(self, y: Tensor, *, kernel: Tensor) -> tuple[Tensor, Blurred]:  # type: ignore[override]
        y = at_least_float32(y)
        return y, Blurred(y, kernel.to(y))

    def forward(self, k: int, x: Tensor, context: Blurred) -> Tensor:
        with full_precision(x.device):
            return gradient_step(
                at_least_float32(x),
                context.y,
                self.step[k],
                lambda image: blur(image, context.kernel, self.boundary),
                lambda residual: blur_adjoint(residual, context.kernel, self.boundary),
            )
