"""DGUNet and DGUNet+: proximal gradient descent with learned degradation operators, unfolded.

Mou, Wang, Zhang: Deep Generalized Unfolding Networks for Image Restoration, CVPR 2022 (arXiv 2204.13348).

    Stage k:  v_k = x_{k-1} - r_k A_k^T(A_k x_{k-1} - y)      gradient step, A_k and A_k^T learned
              x_k = v_k + U-Net(v_k, features of stage k-1)   proximal step, inter-stage pathways

with x_0 = y. The last stage has no U-Net: it adds a convolution of its features to y. DGUNet uses one set of weights
for all stages but the first and the last; DGUNet+ has weights of its own for every stage.

Parameters have the names of the published checkpoints, so those load unchanged. Counting starts at 0 for phi, phit and
r, and at 1 for everything else. The names of the last stage's modules (phi_6, shallow_feat7, concat67) are the same for
any number of stages.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from unfold.facts import Preset, Tiling
from unfold.models.unfolding import UnfoldingNetwork, check_channels, check_image, of_data_parallel
from unfold.priors.pathway_unet import (
    LEVELS,
    ConcatMerge,
    Decoder,
    Encoder,
    Memory,
    StageOutput,
    SubspaceMerge,
    shallow_features,
)
from unfold.steps.gradient import LearnedOperator, gradient_step
from unfold.util.padding import crop_to, pad_to_multiple
from unfold.util.precision import apply_in_full_precision


class Context(NamedTuple):
    """What all stages share: the measurement, padded, and the size to crop back to."""

    y: Tensor
    size: tuple[int, int]


class UNet(NamedTuple):
    encoder: Encoder
    decoder: Decoder
    output: StageOutput


Operator = Callable[[Tensor], Tensor]


class Stage(NamedTuple):
    """The modules of one stage. ``merge`` is None in the first, ``unet`` is None in the last."""

    step: Tensor
    operator: Operator
    adjoint: Operator
    shallow: nn.Module
    merge: nn.Module | None
    unet: UNet | None


def check_widths(width: int, growth: int, operator_width: int) -> None:
    """Check widths: channel attention uses a quarter of the channels, instance normalisation half of a level's."""
    if width < 4 or width % 2 or growth < 0 or growth % 2 or operator_width < 1:
        raise ValueError(
            f"width must be even and at least 4, growth even and not negative, operator_width at least 1; "
            f"they are {width}, {growth} and {operator_width}"
        )


def widths_in(state: Mapping[str, Tensor], usual_channels: int = 3) -> dict[str, Any]:
    """width, growth and, where it is not the usual number, channels of the DGUNet with this state dict."""
    width, channels = state["shallow_feat1.0.weight"].shape[:2]
    unusual = {} if channels == usual_channels else {"channels": channels}
    return {"width": width, "growth": state["stage1_encoder.body.0.conv_1.weight"].shape[0] - width, **unusual}


def step_size() -> nn.Parameter:
    return nn.Parameter(torch.full((1,), 0.5))


class Family(UnfoldingNetwork):
    """The stage that all DGUNets share; a network provides its modules."""

    takes_half = False
    tail: nn.Conv2d

    @abstractmethod
    def modules_of(self, k: int) -> Stage:
        """The modules of stage k = 0..K-1."""

    def last_base(self, v: Tensor, context: Any) -> Tensor:
        """The image that the last stage adds its features to."""
        return v

    def data_step(self, s: Stage, x: Tensor, context: Any) -> Tensor:
        """v_k: one gradient step."""
        return gradient_step(x, context.y, s.step, s.operator, s.adjoint)

    def features(self, s: Stage, v: Tensor, context: Any) -> Tensor:
        """The first features of the prior."""
        features: Tensor = s.shallow(v)
        return features

    def stage(self, k: int, x: Tensor, memory: Memory | None, context: Any) -> tuple[Tensor, Memory | None]:
        s = self.modules_of(k)
        v = self.data_step(s, x, context)
        f = self.features(s, v, context)
        if s.merge is not None and memory is not None:
            f = s.merge(f, memory.features)
        if s.unet is None:
            return self.last_base(v, context) + apply_in_full_precision(self.tail, f), None
        encoded = s.unet.encoder(f) if memory is None else s.unet.encoder(f, memory.encoded, memory.decoded)
        decoded = s.unet.decoder(encoded)
        features, x = s.unet.output(decoded[-1], v)
        return x, Memory(features, encoded, decoded)

    def finish(self, x: Tensor, context: Any) -> Tensor:
        return crop_to(x, context.size)


class _DGUNet(Family):
    """Common base of DGUNet and DGUNet+: learned operators, and the measurement as the last stage's base."""

    size_multiple = min_size = 2**LEVELS
    tiling = Tiling(
        reach=67,
        beyond="instance normalisation, channel attention and the subspace projection take statistics of the whole "
        "image, and features pass from stage to stage",
    )
    bf16 = "estimates, the subspace projection and the last layer stay in float32"
    foreign_keys = r"stage1_encoder\.body\.[012]\.(csff_enc|csff_dec|phi|gamma)\.(weight|bias)"
    meanings: Mapping[str, str] = MappingProxyType(
        {
            "residual": "A is the operator that the next stage has learned, so that there is none after the last",
            "r": "step size of the gradient step",
        }
    )

    @staticmethod
    def official_layout(state: Mapping[str, Tensor]) -> Mapping[str, object]:
        """Saved from DataParallel below "state_dict"; the denoising code strips the prefix unconditionally."""
        return {"state_dict": of_data_parallel(state)}

    def begin(self, y: Tensor) -> tuple[Tensor, Context]:
        check_image(y, self.channels)
        height, width = y.shape[-2:]
        if min(height, width) < self.min_size:
            raise ValueError(f"y is {height}x{width}; DGUNet needs at least {self.min_size}x{self.min_size}")
        y = pad_to_multiple(y, self.size_multiple)
        return y, Context(y, (height, width))

    def last_base(self, v: Tensor, context: Context) -> Tensor:
        return context.y

    def residual(self, k: int, x: Tensor, context: Context) -> Tensor | None:
        return None if k == self.stages else self.modules_of(k).operator(x) - context.y

    def numbers(self, k: int, context: Context) -> dict[str, Tensor]:
        return {"r": self.modules_of(k).step}


class _MiddleStage(nn.Module):
    """The weights that stages 2..K-1 of DGUNet share."""

    def __init__(self, width: int, growth: int, operator_width: int, operator_act: nn.Module, channels: int) -> None:
        super().__init__()
        self.r1 = step_size()
        self.phi_1 = LearnedOperator(operator_act, channels, operator_width)
        self.phit_1 = LearnedOperator(operator_act, channels, operator_width)
        self.shallow_feat2 = shallow_features(width, nn.PReLU(), channels)
        self.stage2_encoder = Encoder(width, growth, "modulate")
        self.stage2_decoder = Decoder(width, growth)
        self.sam23 = StageOutput(width, channels)
        # In every published checkpoint, but in no published equation: kept for loading, never used or trained.
        self.concat12 = ConcatMerge(width, width).requires_grad_(False)
        self.merge12 = SubspaceMerge(width)


class DGUNet(_DGUNet):
    """DGUNet: stages 2..K-1 share their weights.

    width: number of features at full resolution (F); growth: further features on each coarser level (S); tail: further
    features in the last stage (O); stages: K, at least 3; operator_width: hidden channels of the learned A and A^T;
    channels: C of the images.

    ``net(y)``: y (B,C,H,W) in [0,1], any H, W >= 8 (padded by reflection to multiples of 8 and cropped back)
    -> (B,C,H,W), not clamped.
    """

    presets: ClassVar = {
        "dgunet_deblur": Preset("DGUNet for motion deblurring", {"width": 80, "growth": 48, "tail": 32}),
        "dgunet_derain": Preset("DGUNet for rain removal", {"width": 40, "growth": 20, "tail": 16}),
        "dgunet_denoise": Preset("DGUNet for denoising", {"width": 80, "growth": 48, "tail": 32}),
    }
    tied = True
    unused_keys = r"basic\.concat12\.weight"
    fewest_stages = 3  # a first one, at least one with the shared weights, and a last one

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        if "basic.phi_1.body.0.weight" not in state or "prompts" in state:
            return None
        arguments = widths_in(state)
        arguments["tail"] = state["concat67.weight"].shape[0] - arguments["width"]
        arguments["operator_width"] = state["phi_0.body.0.weight"].shape[0]
        return arguments

    def __init__(
        self,
        width: int = 80,
        growth: int = 48,
        tail: int = 32,
        stages: int = 7,
        operator_width: int = 64,
        channels: int = 3,
    ) -> None:
        super().__init__(stages)
        check_widths(width, growth, operator_width)
        self.channels = check_channels(channels)
        operator_act, act = nn.PReLU(), nn.PReLU()
        self.r0, self.r6 = step_size(), step_size()
        self.basic = _MiddleStage(width, growth, operator_width, operator_act, channels)
        self.shallow_feat1 = shallow_features(width, act, channels)
        self.shallow_feat7 = shallow_features(width, act, channels)
        self.stage1_encoder = Encoder(width, growth)
        self.stage1_decoder = Decoder(width, growth)
        self.sam12 = StageOutput(width, channels)
        self.phi_0 = LearnedOperator(operator_act, channels, operator_width)
        self.phit_0 = LearnedOperator(operator_act, channels, operator_width)
        self.phi_6 = LearnedOperator(operator_act, channels, operator_width)
        self.phit_6 = LearnedOperator(operator_act, channels, operator_width)
        self.concat67 = ConcatMerge(width, width + tail)
        self.tail = nn.Conv2d(width + tail, channels, 3, padding=1, bias=False)

    def modules_of(self, k: int) -> Stage:
        if k == 0:
            unet = UNet(self.stage1_encoder, self.stage1_decoder, self.sam12)
            return Stage(self.r0, self.phi_0, self.phit_0, self.shallow_feat1, None, unet)
        if k == self.stages - 1:
            return Stage(self.r6, self.phi_6, self.phit_6, self.shallow_feat7, self.concat67, None)
        b = self.basic
        unet = UNet(b.stage2_encoder, b.stage2_decoder, b.sam23)
        return Stage(b.r1, b.phi_1, b.phit_1, b.shallow_feat2, b.merge12, unet)


class DGUNetPlus(_DGUNet):
    """DGUNet+: every stage has weights of its own. Used as :class:`DGUNet`.

    width: number of features at full resolution (F); growth: further features on each coarser level (S); stages: K, at
    least 2; operator_width: hidden channels of the learned A and A^T; channels: C of the images.
    """

    presets: ClassVar = {
        "dgunet_plus_deblur": Preset("DGUNet+ for motion deblurring", {"width": 96, "growth": 48}),
        "dgunet_plus_derain": Preset("DGUNet+ for rain removal", {"width": 40, "growth": 20}),
        "dgunet_plus_denoise": Preset("DGUNet+ for denoising", {"width": 80, "growth": 40}),
    }
    fewest_stages = 2

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        if "shallow_feat2.0.weight" not in state:
            return None
        stages = sum(re.fullmatch(r"r\d+", key) is not None for key in state)
        return {**widths_in(state), "stages": stages, "operator_width": state["phi_0.body.0.weight"].shape[0]}

    def __init__(
        self, width: int = 80, growth: int = 40, stages: int = 7, operator_width: int = 64, channels: int = 3
    ) -> None:
        super().__init__(stages)
        check_widths(width, growth, operator_width)
        self.channels = check_channels(channels)
        operator_act, act = nn.PReLU(), nn.PReLU()
        modules: dict[str, nn.Module] = {}
        for k in range(stages):
            self.register_parameter(f"r{k}", step_size())
        for k in range(1, stages + 1):
            modules[f"shallow_feat{k}"] = shallow_features(width, act, channels)
        for k in range(stages):
            modules[f"phi_{k}"] = LearnedOperator(operator_act, channels, operator_width)
            modules[f"phit_{k}"] = LearnedOperator(operator_act, channels, operator_width)
        for k in range(1, stages):
            modules[f"stage{k}_encoder"] = Encoder(width, growth, "modulate" if k > 1 else "none")
            modules[f"stage{k}_decoder"] = Decoder(width, growth)
        for k in range(1, stages):
            modules[f"sam{k}{k + 1}"] = StageOutput(width, channels)
            modules[f"merge{k}{k + 1}"] = SubspaceMerge(width)
        for name, module in modules.items():
            self.add_module(name, module)
        self.tail = nn.Conv2d(width, channels, 3, padding=1, bias=False)

    def modules_of(self, k: int) -> Stage:
        def at(name: str) -> Any:
            return self.get_submodule(name)

        first, last, n = k == 0, k == self.stages - 1, k + 1
        merge = None if first else at(f"merge{k}{n}")
        unet = None if last else UNet(at(f"stage{n}_encoder"), at(f"stage{n}_decoder"), at(f"sam{n}{n + 1}"))
        return Stage(self.get_parameter(f"r{k}"), at(f"phi_{k}"), at(f"phit_{k}"), at(f"shallow_feat{n}"), merge, unet)
