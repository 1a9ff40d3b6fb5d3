"""NRL-GDN and RGDN: gradient descent for deblurring under noise of unknown, varying strength, unfolded.

Kong, Wang, Han, Feng, JVCI 107 (2025) 104391. One set of weights for all steps t = 0, 1, ...:

    NRL-GDN:   x_{t+1} = x_t + D( A^T H(A x_t - y) + R(x_t) )      H models the noise, on the residual
    RGDN:      x_{t+1} = x_t + D( H(A^T(A x_t - y)) + R(x_t) )     H on the gradient instead

with A blur by a known kernel (zeros beyond the border), R a DRUNet, D and H convolution blocks that absorb step size,
weights and signs. x_0 is the inverse filter of Eq. 22 (nrl_gdn) or y (nrl_gdn_y0, rgdn_uniform).

At evaluation, steps continue until the decrease of the residual slows down: with e_t = ||A x_{t+1} - y|| / 2 and
rel_t = (|e_t - e_{t-1}| + 1e-10) / (e_{t-1} + 1e-10), rel_0 = 0, the last step is the first t > 4 with
rel_{t-1} - rel_t < 0.001.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from unfold.facts import Input, Preset, Tiling, image, kernel
from unfold.models.unfolding import UnfoldingNetwork, check_channels, check_image, of_data_parallel
from unfold.physics.blur import blur, blur_adjoint
from unfold.priors.conv_block import ConvBlock
from unfold.priors.resunet import ResUNet, arguments_in
from unfold.steps.inverse_filter import inverse_filter
from unfold.util.precision import at_least_float32, full_precision

StopRule = Literal["sample", "batch", "never"]
FIRST_TEST = 4  # the stopping rule applies after this step
LEAST_DROP = 1e-3


class Context(NamedTuple):
    """What all stages share."""

    y: Tensor
    kernel: Tensor


class Memory(NamedTuple):
    """residual A x - y (B,C,H,W); error and relative change of the last step, and which samples continue, each (B,).

    active is None while no sample can have stopped, so that the host need not wait for the device.
    """

    residual: Tensor
    error: Tensor
    change: Tensor
    active: Tensor | None


class NRLGDN(UnfoldingNetwork):
    """Non-blind deblurring; one weight layout for three networks, distinguished by two arguments.

    initial: "inverse" (Eq. 22) or "measurement" (y); noise_model: H on the "residual" or on the "gradient"; stages:
    maximum number of steps at evaluation; train_stages: number of steps in training, without stopping rule; stop: the
    published rule at evaluation for each "sample" (so that a batch gives the results of single images), jointly for the
    "batch" as published, or "never"; widths: channels of R's four levels; depth: residual blocks per level of R; width:
    channels inside H and D; channels: C of the images.

    ``net(y, kernel=k)``: y (B,C,H,W) in [0,1]; kernel (B|1,1,s,s) for true convolution, s odd -> (B,C,H,W), not
    clamped.
    """

    presets: ClassVar = {
        "nrl_gdn": Preset("NRL-GDN: deblurring under non-uniform noise"),
        "nrl_gdn_y0": Preset("NRL-GDN that starts from the blurred image", {"initial": "measurement"}),
        "rgdn_uniform": Preset(
            "RGDN with a DRUNet: deblurring under uniform noise",
            {"initial": "measurement", "noise_model": "gradient"},
        ),
    }
    tied = True
    not_in_shapes: ClassVar = ("stages", "stop")
    size_multiple = min_size = 8
    takes_half = False
    tiling = Tiling(
        reach=199,
        blurred=True,
        beyond="the stopping rule uses the whole image, Eq. 22 (nrl_gdn) inverts a blur, zeros are assumed beyond the "
        "border, and the reaches of all stages add up",
    )
    border = "zero"
    trained_on = "nrl_gdn"
    bf16 = "blur, its adjoint, the inverse filter and the last layers stay in float32"
    meanings: Mapping[str, str] = MappingProxyType(
        {"residual": "A blurs by the kernel, with zeros beyond the border of the picture as it was continued"}
    )

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, object] | None:
        """Widths and depth only: shapes do not distinguish the three networks."""
        if "d_alpha.main.0.weight" not in state:
            return None
        width, channels = state["d_alpha.main.0.weight"].shape[:2]
        return {**arguments_in(state, "r"), "width": width, **({} if channels == 3 else {"channels": channels})}

    @staticmethod
    def official_layout(state: Mapping[str, Tensor]) -> Mapping[str, object]:
        """Saved from DataParallel."""
        return of_data_parallel(state)

    def __init__(
        self,
        initial: Literal["inverse", "measurement"] = "inverse",
        noise_model: Literal["residual", "gradient"] = "residual",
        stages: int = 40,
        train_stages: int = 6,
        stop: StopRule = "sample",
        widths: Sequence[int] = (64, 128, 256, 512),
        depth: int = 4,
        width: int = 64,
        channels: int = 3,
    ) -> None:
        super().__init__(stages)
        self.channels = check_channels(channels)
        for name, value, choices in (
            ("initial", initial, ("inverse", "measurement")),
            ("noise_model", noise_model, ("residual", "gradient")),
            ("stop", stop, ("sample", "batch", "never")),
        ):
            if value not in choices:
                raise ValueError(f"{name} is one of {', '.join(choices)}, not {value!r}")
        if train_stages < 1:
            raise ValueError(f"train_stages must be at least 1, not {train_stages}")
        self.initial, self.noise_model, self.train_stages, self.stop = initial, noise_model, train_stages, stop
        self.r = ResUNet(channels, channels, widths, depth)
        self.h = ConvBlock(channels, width)
        self.d_alpha = ConvBlock(channels, width)

    @property
    def inputs(self) -> dict[str, Input]:
        about = "(B|1,1,kh,kw), for true convolution, sum 1, square with an odd side, no larger than y"
        return {"y": image(self.channels), "kernel": kernel(about)}

    @torch.no_grad()
    def start_as_identity(self) -> None:
        """Initialise near x_{t+1} = x_t - (A^T (A x_t - y) + R(x_t)): H near 1, D near -1, R scaled by a tenth."""
        self.h.start_as_identity()
        self.d_alpha.start_as_identity(-1.0)
        self.r.m_tail.weight.mul_(0.1)

    def begin(self, y: Tensor, *, kernel: Tensor) -> tuple[Tensor, Context]:
        check_image(y, self.channels)
        if kernel.ndim != 4 or kernel.shape[1] != 1 or kernel.shape[0] not in (1, len(y)):
            raise ValueError(f"kernel must have shape (B, 1, s, s) or (1, 1, s, s), not {tuple(kernel.shape)}")
        if min(y.shape[-2:]) < self.min_size:
            raise ValueError(
                f"y is {y.shape[-2]}x{y.shape[-1]}; NRL-GDN needs at least {self.min_size}x{self.min_size}"
            )
        kh, kw = kernel.shape[-2:]
        if kh != kw or kh % 2 == 0:
            side = max(kh, kw) + 1 - max(kh, kw) % 2
            raise ValueError(
                f"the kernel is {kh}x{kw}; NRL-GDN needs an odd square one: pad it with zeros around its centre pixel "
                f"({kh // 2}, {kw // 2}) to {side}x{side} or more"
            )
        if kh > min(y.shape[-2:]):
            raise ValueError(f"the kernel, {kh}x{kw}, is larger than the image, {y.shape[-2]}x{y.shape[-1]}")
        y = at_least_float32(y)
        kernel = kernel.to(y)
        with full_precision(y.device):
            return (inverse_filter(y, kernel) if self.initial == "inverse" else y), Context(y, kernel)

    def count(self) -> int:
        return self.train_stages if self.training else self.stages

    def fix_stages(self) -> None:
        self.stop = "never"

    def residual(self, k: int, x: Tensor, context: Context) -> Tensor:
        """A x - y, with the same A in all stages."""
        with full_precision(x.device):
            return blur(x, context.kernel) - context.y

    def adjoint(self, v: Tensor, context: Context) -> Tensor:
        """A^T v."""
        with full_precision(v.device):
            return blur_adjoint(v, context.kernel)

    def stage(self, k: int, x: Tensor, memory: Memory | None, context: Context) -> tuple[Tensor, Memory | None]:
        residual = self.residual(k, x, context) if memory is None else memory.residual
        if self.noise_model == "residual":
            descent = self.adjoint(self.h(residual), context)
        else:
            descent = self.h(self.adjoint(residual, context))
        new = x + self.d_alpha(descent + self.r(x))
        if self.training or self.stop == "never":
            return new, None
        return self.test(k, x, new, memory, context)

    def test(self, k: int, x: Tensor, new: Tensor, memory: Memory | None, context: Context) -> tuple[Tensor, Memory]:
        """The published stopping rule. Its residual is reused in the next step, so that A is applied once per step."""
        residual = self.residual(k + 1, new, context)
        dims = (1, 2, 3) if self.stop == "sample" else (0, 1, 2, 3)
        error = (0.5 * torch.linalg.vector_norm(residual, dim=dims)).expand(len(x))
        if memory is None:
            return new, Memory(residual, error, torch.zeros_like(error), None)
        change = ((error - memory.error).abs() + 1e-10) / (memory.error + 1e-10)
        active = memory.active
        if active is not None:
            going = active[:, None, None, None]
            new, residual = torch.where(going, new, x), torch.where(going, residual, memory.residual)
        if k > FIRST_TEST:
            goes_on = ~(memory.change - change < LEAST_DROP)
            active = goes_on if active is None else active & goes_on
        return new, Memory(residual, error, change, active)

    def finished(self, memory: Memory | None) -> bool:
        return memory is not None and memory.active is not None and not bool(memory.active.any())
