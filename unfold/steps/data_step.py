"""Data steps as modules, to combine with any prior (see docs/compose.md)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unfold.facts import Border, Input, image, kernel, whole
from unfold.physics.blur import Boundary, blur, blur_adjoint
from unfold.steps.closed_form import Measurement, PreparedKernel, begin
from unfold.steps.gradient import LearnedOperator, gradient_step
from unfold.util.precision import at_least_float32, full_precision


class DataStep(nn.Module, ABC):
    """One half of a stage: moves the estimate towards the measurement.

    stages: number of stages with parameters; channels: of the images. border: boundary condition, as
    :attr:`unfold.models.unfolding.UnfoldingNetwork.border`; min_size: of an image; takes_half: as there.
    """

    border: Border = "any"
    takes_half: bool = True
    min_size: int = 1

    def __init__(self, stages: int, channels: int = 3) -> None:
        super().__init__()
        self.stages, self.channels = stages, channels

    @property
    def inputs(self) -> dict[str, Input]:
        """The inputs of :meth:`begin` by name, the picture first."""
        return {"y": image(self.channels)}

    def residual(self, x: Tensor, context: Any) -> Tensor | None:
        """A x - y, with the size of y; None if A is unknown."""
        return None

    def numbers(self, k: int) -> dict[str, Tensor]:
        """The scalars of stage k by name."""
        return {}

    @abstractmethod
    def begin(self, y: Tensor, **inputs: Any) -> tuple[Tensor, Any]:
        """Measurement and its named inputs -> x_0 and the context that all stages share."""

    @abstractmethod
    def forward(self, k: int, x: Tensor, context: Any) -> Tensor:
        """x_k -> z_k, k = 0..K-1."""


class ClosedForm(DataStep):
    """z = argmin ||S(k * z) - y||^2 + alpha_k ||z - x||^2, circular border, with a learned alpha_k per stage.

    Inputs: y (B,C,h,w), kernel (B|1,1,kh,kw) or a prepared one, scale. alpha: initial value of every alpha_k.
    """

    border = "circular"
    takes_half = False

    def __init__(self, stages: int, alpha: float = 0.01, channels: int = 3) -> None:
        super().__init__(stages, channels)
        self.log_alpha = nn.Parameter(torch.full((stages,), alpha).log())

    @property
    def inputs(self) -> dict[str, Input]:
        return {"y": image(self.channels, f"(B,{self.channels},h,w) in [0,1]"), "kernel": kernel(), "scale": whole()}

    def begin(  # type: ignore[override]
        self, y: Tensor, *, kernel: Tensor | PreparedKernel, scale: int = 1
    ) -> tuple[Tensor, Measurement]:
        return begin(y, kernel, scale)

    def forward(self, k: int, x: Tensor, context: Measurement) -> Tensor:
        return context.solve(x, self.log_alpha[k].exp() + 1e-6)

    def residual(self, x: Tensor, context: Measurement) -> Tensor:
        return context.residual(x)

    def numbers(self, k: int) -> dict[str, Tensor]:
        return {"alpha": self.log_alpha[k].exp() + 1e-6}


class Blurred(NamedTuple):
    y: Tensor
    kernel: Tensor


class BlurGradient(DataStep):
    """z = x - r_k A^T(A x - y) for A a blur with a given border, with a learned step r_k per stage.

    Inputs: y (B,C,H,W), kernel (B|1,1,kh,kw). boundary: what lies beyond the border, "zero", "circular" or "replicate"
    (the nearest pixel); step: initial value of every r_k; below 2 for a kernel of sum 1.
    """

    takes_half = False

    def __init__(self, stages: int, boundary: Boundary = "replicate", step: float = 1.0, channels: int = 3) -> None:
        super().__init__(stages, channels)
        self.boundary: Boundary = boundary
        self.border = "any" if boundary == "replicate" else boundary
        self.step = nn.Parameter(torch.full((stages,), step))

    @property
    def inputs(self) -> dict[str, Input]:
        return {"y": image(self.channels), "kernel": kernel()}

    def begin(self, y: Tensor, *, kernel: Tensor) -> tuple[Tensor, Blurred]:  # type: ignore[override]
        y = at_least_float32(y)
        return y, Blurred(y, kernel.to(y))

    def forward(self, k: int, x: Tensor, context: Blurred) -> Tensor:
        operator = partial(blur, kernel=context.kernel, boundary=self.boundary)
        adjoint = partial(blur_adjoint, kernel=context.kernel, boundary=self.boundary)
        with full_precision(x.device):
            return gradient_step(at_least_float32(x), context.y, self.step[k], operator, adjoint)

    def residual(self, x: Tensor, context: Blurred) -> Tensor:
        with full_precision(x.device):
            return blur(at_least_float32(x), context.kernel, self.boundary) - context.y

    def numbers(self, k: int) -> dict[str, Tensor]:
        return {"r": self.step[k]}


class LearnedGradient(DataStep):
    """z = x - r_k B(A x - y) with learned A and B, the same in all stages, and a learned step r_k per stage.

    Input: y (B,C,H,W). channels: of A and B; width: hidden channels of A and B; step: initial value of every r_k.
    """

    def __init__(self, stages: int, channels: int = 3, width: int = 64, step: float = 0.5) -> None:
        super().__init__(stages, channels)
        act = nn.PReLU()
        self.operator, self.adjoint = (LearnedOperator(act, channels, width) for _ in range(2))
        self.step = nn.Parameter(torch.full((stages,), step))

    def begin(self, y: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return y, y

    def forward(self, k: int, x: Tensor, context: Tensor) -> Tensor:
        return gradient_step(x, context, self.step[k], self.operator, self.adjoint)

    def residual(self, x: Tensor, context: Tensor) -> Tensor:
        return self.operator(x) - context

    def numbers(self, k: int) -> dict[str, Tensor]:
        return {"r": self.step[k]}
