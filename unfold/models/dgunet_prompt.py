"""DGUNet for unknown degradations: prompts chosen by the input modulate its operators and its prior.

Ours: the idea of PromptIR (Potlapalli et al., NeurIPS 2023) and VLU-Net (CVPR 2025) on DGUNet's own gradient step,
without a text encoder. A few learned maps P_i are mixed with weights from the input's pooled features,

    w = softmax(L pool(E y)),   P = sum_i w_i P_i,

and in stage k the learned operators and the first features of the prior see linear functions of P, resized to y:

    A_k x = x + C_2 ((1 + G_k P) * act(C_1 x)),   A_k^T likewise with maps of its own,
    f_k = (1 + S_k P) * f(v_k) + T_k P.

G, S and T are initialised to zero: the untrained network equals DGUNet. All stages but the first and the last share
them, like their other weights. Tiles of a picture share its prompt, each at its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn, randn

from unfold.facts import Preset
from unfold.models.dgunet import Context, DGUNet, Stage
from unfold.steps.gradient import LearnedOperator, gradient_step
from unfold.util.padding import pad_to_multiple


class Prompted(NamedTuple):
    """What all stages share: as :class:`unfold.models.dgunet.Context`, and the mixed prompt (B,C,S,S), or (B,C,H,W)."""

    y: Tensor
    size: tuple[int, int]
    prompt: Tensor


class Modulation(nn.Module):
    """The modulation of one stage: of the hidden channels of A and A^T, and scale and shift of the first features."""

    def __init__(self, prompt_width: int, operator_width: int, width: int) -> None:
        super().__init__()
        self.operator = nn.Conv2d(prompt_width, operator_width, 1)
        self.adjoint = nn.Conv2d(prompt_width, operator_width, 1)
        self.features = nn.Conv2d(prompt_width, 2 * width, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


def spread(maps: nn.Conv2d, prompt: Tensor, like: Tensor) -> Tensor:
    """Maps of the prompt at the image's size: resized after the convolution, which is equivalent and cheaper."""
    return F.interpolate(maps(prompt), like.shape[-2:], mode="bilinear", align_corners=False)


def modulated(operator: LearnedOperator, maps: nn.Conv2d, prompt: Tensor, x: Tensor) -> Tensor:
    """The learned operator on x (B,C,H,W), its hidden channels times 1 + maps of the prompt."""
    into, act, out = operator.body
    made: Tensor = out(act(into(x)) * (1 + spread(maps, prompt, x)))
    return x + made


class DGUNetPrompt(DGUNet):
    """DGUNet whose operators and prior are modulated by a prompt, a mixture of learned maps that the input chooses.

    It takes the arguments of DGUNet and three more. prompts: number of learned maps; prompt_width: channels of each;
    prompt_size: height and width of each, before they are resized to the image. The presets have 0.5 % and 1.3 % more
    parameters than DGUNets of the published width 80 and of width 16.
    """

    presets: ClassVar = {
        "dgunet_prompt": Preset("DGUNet for unknown degradations, by prompts", {"width": 80, "growth": 48, "tail": 32}),
        "dgunet_prompt_narrow": Preset(
            "DGUNet for unknown degradations, by prompts, narrow",
            {"width": 16, "growth": 8, "tail": 8, "prompt_width": 8, "prompt_size": 8},
        ),
    }
    of_whole = ("prompt",)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        if "prompts" not in state:
            return None
        count, width, size, _ = state["prompts"].shape
        rest = super().recognise({key: value for key, value in state.items() if key != "prompts"})
        return None if rest is None else {**rest, "prompts": count, "prompt_width": width, "prompt_size": size}

    def __init__(
        self,
        width: int = 80,
        growth: int = 48,
        tail: int = 32,
        stages: int = 7,
        operator_width: int = 64,
        channels: int = 3,
        prompts: int = 5,
        prompt_width: int = 32,
        prompt_size: int = 16,
    ) -> None:
        super().__init__(width, growth, tail, stages, operator_width, channels)
        if min(prompts, prompt_width, prompt_size) < 1:
            given = f"{prompts}, {prompt_width} and {prompt_size}"
            raise ValueError(f"prompts, prompt_width and prompt_size must be at least 1, and are {given}")
        self.prompts = nn.Parameter(randn(prompts, prompt_width, prompt_size, prompt_size))
        self.describe = nn.Sequential(
            nn.Conv2d(channels, prompt_width, 3, stride=2, padding=1),
            nn.PReLU(),
            nn.Conv2d(prompt_width, prompt_width, 3, stride=2, padding=1),
            nn.PReLU(),
        )
        self.choose = nn.Linear(prompt_width, prompts)
        self.first, self.middle, self.last = (Modulation(prompt_width, operator_width, width) for _ in range(3))

    def begin(self, y: Tensor, prompt: Tensor | None = None) -> tuple[Tensor, Any]:
        """prompt: of a larger picture that y (B,C,H,W) is a tile of, cut to the tile (B,prompt_width,H,W)."""
        x, context = super().begin(y)
        if prompt is not None:
            return x, Prompted(*context, pad_to_multiple(prompt, self.size_multiple))
        weights = self.choose(self.describe(x).mean(dim=(2, 3))).softmax(dim=1)
        prompt = (weights.to(self.prompts.dtype) @ self.prompts.flatten(1)).unflatten(1, self.prompts.shape[1:])
        return x, Prompted(*context, prompt)

    def survey(self, y: Tensor) -> dict[str, Tensor]:
        return {"prompt": self.begin(y)[1].prompt}

    def maps_of(self, s: Stage) -> Modulation:
        """The modulation of a stage, identified by its modules."""
        return self.first if s.merge is None else self.last if s.unet is None else self.middle

    def operators(self, s: Stage, prompt: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        maps, (operator, adjoint) = self.maps_of(s), (s.operator, s.adjoint)
        assert isinstance(operator, LearnedOperator)
        assert isinstance(adjoint, LearnedOperator)
        forth = partial(modulated, operator, maps.operator, prompt)
        return forth, partial(modulated, adjoint, maps.adjoint, prompt)

    def data_step(self, s: Stage, x: Tensor, context: Any) -> Tensor:
        return gradient_step(x, context.y, s.step, *self.operators(s, context.prompt))

    def features(self, s: Stage, v: Tensor, context: Any) -> Tensor:
        factor, summand = spread(self.maps_of(s).features, context.prompt, v).chunk(2, dim=1)
        return super().features(s, v, context) * (1 + factor) + summand

    def residual(self, k: int, x: Tensor, context: Context | Prompted) -> Tensor | None:
        if k == self.stages or not isinstance(context, Prompted):
            return None
        operator, _ = self.operators(self.modules_of(k), context.prompt)
        return operator(x) - context.y
