"""DGUNet and DGUNet+ for compressive sensing: gradient descent with a known, learnable sampling matrix, unfolded.

Mou, Wang, Zhang: Deep Generalized Unfolding Networks for Image Restoration, CVPR 2022. A grey image is measured block
by block, m = Phi x for every 32x32 block x, and restored as a whole:

    Stage k:  v_k = x_{k-1} - r_k Phi^T(Phi x_{k-1} - m)          gradient step
              x_k = v_k + U-Net(v_k, features of stage k-1)       proximal step

with x_0 = Phi^T m. The last stage has no U-Net: it adds a convolution of its features to v. Phi is a parameter, learned
with the rest or given. The published block-wise and "deblock" networks are both this one: on single blocks and on whole
images. Parameters have the names of the published checkpoints, including those that no published computation uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unfold.facts import Input, Measurement, Preset, Tiling, image
from unfold.models.dgunet import Family, Stage, UNet, check_widths, step_size, widths_in
from unfold.models.unfolding import check_channels, check_image, of_data_parallel
from unfold.physics.sampling import lowest_frequencies, sample, sample_adjoint
from unfold.priors.pathway_unet import ConcatMerge, Decoder, Encoder, StageOutput, shallow_features
from unfold.steps.gradient import LearnedOperator
from unfold.util.arrays import Array
from unfold.util.padding import pad_to_multiple
from unfold.util.precision import at_least_float32, full_precision

BLOCK = 32
PUBLISHED_RATIOS = (1, 4, 10, 25, 30, 40, 50)


def measurements_of(ratio: float) -> int:
    """M, the measurements of a block: ratio per cent of its 1024 pixels, rounded up."""
    # Rounded first: in floating point, 10.24 ratio can lie slightly above the intended whole number.
    return math.ceil(round(ratio * BLOCK * BLOCK / 100, 9))


class Context(NamedTuple):
    """What all stages share: the measurement m, and the size of the image to crop to."""

    y: Tensor
    size: tuple[int, int]


class MiddleStage(nn.Module):
    """The modules of one middle stage."""

    def __init__(self, width: int, growth: int, unused_act: nn.Module, channels: int) -> None:
        super().__init__()
        self.r = step_size()
        self.shallow_feat = shallow_features(width, nn.PReLU(), channels)
        self.stage_encoder = Encoder(width, growth, "add")
        self.stage_decoder = Decoder(width, growth)
        self.sam = StageOutput(width, channels, attention=True)
        # Learned operators that the published network contains but never calls, as Phi is known.
        self.phi = LearnedOperator(unused_act).requires_grad_(False)
        self.phit = LearnedOperator(unused_act).requires_grad_(False)
        self.concat = ConcatMerge(width, width)


class DGUNetCS(Family):
    """Compressive sensing of grey images, or of each channel of other images by one matrix; block size 32.

    ratio: measurements per pixel in per cent, M = ceil(ratio * 10.24) per block; width: number of features at full
    resolution (F); growth: further features on each coarser level (S); tail: further features in the last stage (O);
    stages: K, at least 3; shared: whether stages 2..K-1 share their weights (DGUNet) or have their own (DGUNet+);
    learn_phi: whether Phi is trained with the other weights (:meth:`give_sampling` sets a given one); channels: C, 1 as
    published.

    ``net(m)``: measurements (B,C M,h,w) of h x w blocks -> (B,C,32h,32w), not clamped. ``net(image=x)``: x (B,C,H,W) in
    [0,1], any size (padded by zeros to blocks), is measured and restored -> (B,C,H,W); differentiable in Phi.
    """

    presets: ClassVar = {
        "dgunet_cs": Preset("DGUNet for compressive sensing, 25 %", {"shared": True}),
        "dgunet_plus_cs": Preset("DGUNet+ for compressive sensing, 25 %", {"shared": False}),
    }
    fewest_stages = 3
    trained_on = "compressive_sensing"
    size_multiple = BLOCK
    tiling = Tiling(
        reach=94,
        beyond="instance normalisation and channel attention take statistics of the whole image, and features pass "
        "from stage to stage; tiles begin and end between blocks",
    )
    output = "(B,C,H,W) or (B,C,32h,32w), not clamped"
    bf16 = "sampling, steps and the last layer stay in float32"
    measurement: Measurement = Measurement(
        "m", "(B,C M,h,w), measurements of h x w blocks of 32x32 pixels, M = ceil(10.24 ratio)"
    )
    not_for_pictures = (
        "DGUNet-CS restores compressed measurements (.npy, .npz or .mat, of shape (M,h,w)), and a picture is none: see "
        "`unfold test --protocol compressive_sensing`"
    )
    unused_keys = r"(stage_model|body\.\d+)\.phit?\.body\..*|stage1_encoder\.body\.\d\.csff_.*"

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, object] | None:
        if "Phi" not in state:
            return None
        arguments = widths_in(state, usual_channels=1)
        measurements, pixels = state["Phi"].shape
        found = (ratio for ratio in PUBLISHED_RATIOS if -(-ratio * pixels // 100) == measurements)
        arguments["ratio"] = next(found, 100 * measurements / pixels)
        arguments["tail"] = state["concat_final.weight"].shape[0] - arguments["width"]
        arguments["shared"] = "stage_model.r" in state
        if not arguments["shared"]:
            arguments["stages"] = 2 + sum(key.endswith(".r") for key in state)
        return arguments

    @staticmethod
    def official_layout(state: Mapping[str, Tensor]) -> Mapping[str, object]:
        """Saved from DataParallel without an outer key, unlike the DGUNets of other tasks."""
        return of_data_parallel(state)

    def __init__(
        self,
        ratio: float = 25,
        width: int = 32,
        growth: int = 16,
        tail: int = 16,
        stages: int = 7,
        shared: bool = True,
        learn_phi: bool = True,
        channels: int = 1,
    ) -> None:
        super().__init__(stages)
        check_widths(width, growth, 1)
        if not 0 < ratio <= 100:
            raise ValueError(f"ratio is per cent of the pixels, above 0 and at most 100, not {ratio}")
        self.tied, self.channels, self.ratio = shared, check_channels(channels), ratio
        act, unused_act = nn.PReLU(), nn.PReLU()
        phi = nn.init.xavier_normal_(torch.empty(measurements_of(ratio), BLOCK * BLOCK))
        self.Phi = nn.Parameter(phi, requires_grad=learn_phi)
        self.measurement = replace(type(self).measurement, first=channels * len(phi))
        self.r0, self.r_final = step_size(), step_size()
        self.shallow_feat1 = shallow_features(width, act, channels)
        if shared:
            self.stage_model = MiddleStage(width, growth, unused_act, channels)
        else:
            self.body = nn.ModuleList(MiddleStage(width, growth, unused_act, channels) for _ in range(stages - 2))
        self.shallow_feat_final = shallow_features(width, act, channels)
        self.stage1_encoder = Encoder(width, growth, "add")
        self.stage1_decoder = Decoder(width, growth)
        self.sam12 = StageOutput(width, channels, attention=True)
        self.concat_final = ConcatMerge(width, width + tail)
        self.tail = nn.Conv2d(width + tail, channels, 3, padding=1, bias=False)
        for name, parameter in self.stage1_encoder.named_parameters():
            if "csff" in name:  # the first stage has no previous one: in published files, never used
                parameter.requires_grad_(False)

    def start_as_identity(self) -> None:
        """``OPTIM.START identity``: every stage returns x_0 = Phi^T m, the low-pass filtered image (ours).

        Phi begins with the lowest frequencies of the block's cosine transform. Its rows are orthonormal, so that the
        gradient steps change nothing, and the last convolutions of the proximal steps begin with zeros.
        """
        unets = (self.modules_of(k).unet for k in range(self.stages))
        with torch.no_grad():
            self.Phi.copy_(torch.from_numpy(lowest_frequencies(len(self.Phi), BLOCK)))
            for layer in (*(unet.output.conv2 for unet in unets if unet), self.tail):
                nn.init.zeros_(layer.weight)

    @property
    def inputs(self) -> dict[str, Input]:
        return {"image": image(self.channels, f"(B,{self.channels},H,W) in [0,1], measured and restored")}

    @property
    def measurements(self) -> int:
        """M, measurements per block."""
        return len(self.Phi)

    def give_sampling(self, phi: Tensor | Array | str | Path) -> None:
        """Use this sampling matrix (M, 1024), an array or a .npy file, and do not learn it.

        Build the network with ``learn_phi=False`` for saving and loading it without learning Phi.
        """
        if isinstance(phi, (str, Path)):
            phi = np.load(phi, allow_pickle=False)
        phi = torch.as_tensor(phi)
        if phi.shape != self.Phi.shape:
            raise ValueError(f"the sampling matrix has shape {tuple(phi.shape)}, not {tuple(self.Phi.shape)}")
        with torch.no_grad():
            self.Phi.copy_(phi)
        self.Phi.requires_grad_(False)

    def measure(self, x: Tensor) -> Tensor:
        """x (B,1,H,W), padded right and bottom by zeros to multiples of 32 -> measurements (B,M,H/32,W/32)."""
        check_image(x, self.channels, "an image to measure")
        with full_precision(x.device):
            return self.sampled(pad_to_multiple(at_least_float32(x), BLOCK, mode="constant"))

    def sampled(self, x: Tensor) -> Tensor:
        """Phi x on every block of every channel: x (B,C,H,W) of whole blocks -> (B,C M,H/32,W/32)."""
        if self.channels == 1:
            return sample(x, self.Phi, BLOCK)
        return sample(x.flatten(0, 1)[:, None], self.Phi, BLOCK).unflatten(0, (len(x), self.channels)).flatten(1, 2)

    def adjoint(self, m: Tensor) -> Tensor:
        """Phi^T m on every block of every channel: m (B,C M,h,w) -> (B,C,32h,32w)."""
        if self.channels == 1:
            return sample_adjoint(m, self.Phi, BLOCK)
        each = m.unflatten(1, (self.channels, -1)).flatten(0, 1)
        return sample_adjoint(each, self.Phi, BLOCK)[:, 0].unflatten(0, (len(m), self.channels))

    def begin(self, m: Tensor | None = None, *, image: Tensor | None = None) -> tuple[Tensor, Context]:
        if (m is None) == (image is None):
            raise ValueError("give either measurements m or image=, the image to measure")
        if m is None:
            assert image is not None
            m = self.measure(image)
        if not isinstance(m, Tensor):
            raise ValueError(f"measurements are a tensor of shape (B, M, h, w), not of the type {type(m).__name__}")
        if m.ndim != 4 or m.shape[1] != self.channels * len(self.Phi):
            raise ValueError(
                f"measurements have shape (B, {self.channels * len(self.Phi)}, h, w), not {tuple(m.shape)}"
            )
        m = at_least_float32(m)
        with full_precision(m.device):
            x = self.adjoint(m)
        height, width = (x if image is None else image).shape[-2:]
        return x, Context(m, (height, width))

    def modules_of(self, k: int) -> Stage:
        operator, adjoint = self.sampled, self.adjoint
        if k == 0:
            unet = UNet(self.stage1_encoder, self.stage1_decoder, self.sam12)
            return Stage(self.r0, operator, adjoint, self.shallow_feat1, None, unet)
        if k == self.stages - 1:
            return Stage(self.r_final, operator, adjoint, self.shallow_feat_final, self.concat_final, None)
        s: Any = self.stage_model if self.tied else self.body[k - 1]
        unet = UNet(s.stage_encoder, s.stage_decoder, s.sam)
        return Stage(s.r, operator, adjoint, s.shallow_feat, s.concat, unet)

    def data_step(self, s: Stage, x: Tensor, context: Context) -> Tensor:
        with full_precision(x.device):
            return super().data_step(s, x, context)
