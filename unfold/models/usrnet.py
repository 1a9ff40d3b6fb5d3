"""USRNet: half-quadratic splitting for blur, decimation and noise, unfolded.

Zhang, Van Gool, Timofte: Deep Unfolding Network for Image Super-Resolution, CVPR 2020 (arXiv 2003.10428).

    Stage k:  z_k = argmin_z ||S(k * z) - y||^2 + alpha_k ||z - x_{k-1}||^2     closed form
              x_k = P(z_k, beta_k)                                              one ResUNet for all stages

with (alpha, beta) = H(sigma, s), x_0 the nearest neighbour interpolation of y. USRGAN is the same network with other
training. Parameters have the names of the published checkpoints, which are bare state dicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from unfold.facts import Input, Preset, Tiling, image, kernel, level, whole
from unfold.models.unfolding import UnfoldingNetwork, check_channels, check_image
from unfold.priors.resunet import ResUNet, arguments_in
from unfold.steps.closed_form import Measurement, PreparedKernel, begin
from unfold.util.precision import full_precision


class Context(NamedTuple):
    """What all stages share: the measurement with its kernel, and alpha, beta (B,K,1,1)."""

    data: Measurement
    alphas: Tensor
    betas: Tensor


class HyperParameters(nn.Module):
    """H: noise level and scale -> alpha and beta of all stages, both positive, by three 1x1 convolutions."""

    def __init__(self, stages: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(2, width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * stages, 1),
            nn.Softplus(),
        )

    def forward(self, sigma: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        """sigma (B,), std in [0,1] -> alphas, betas (B,K,1,1)."""
        given = torch.stack([sigma, torch.full_like(sigma, scale)], dim=1)[:, :, None, None]
        with full_precision(sigma.device):
            alphas, betas = (self.mlp(given) + 1e-6).chunk(2, dim=1)
        return alphas, betas

    @torch.no_grad()
    def start(self) -> None:
        """Initialise with a schedule as in plug-and-play restoration (Zhang et al., DPIR, arXiv 2008.13751), at any
        scale.

        alpha_k = 0.23 sigma^2 / beta_k^2 and 0.23 are theirs. Ours is that beta_k falls from 0.5 to 0.03 for all sigma,
        evenly in its logarithm: the first estimates follow the measurement only, even where that amplifies noise, and
        then the prior takes over. sigma^2 is replaced by sigma^2 + 0.0027^2, as truncating the blurred image to 8 bits
        adds noise, too. Exact for sigma of 0, 1, 2, 4, 8, 16 and 32 in 255 units (with fewer than 6 hidden channels,
        for the first of these), linear before Softplus between them and beyond.
        """
        weight_1, bias_1, weight_2, bias_2, weight_3, bias_3 = self.mlp.parameters()
        stages = len(bias_3) // 2
        betas = torch.logspace(math.log10(0.5), math.log10(0.03), stages)
        sigmas = torch.tensor([0.0, 1, 2, 4, 8, 16, 32])[: len(bias_1) + 1] / 255
        alphas = 0.23 * (sigmas**2 + 0.0027**2) / betas[:, None] ** 2
        values = torch.log(torch.expm1(alphas - 1e-6))  # before Softplus
        slopes = values.diff() / sigmas.diff()
        used = range(len(sigmas) - 1)  # one hidden channel per interval: how far sigma is above its start
        for parameter in (weight_1, bias_1, weight_2, bias_2):
            parameter[used] = 0.0
        unit = 4 / 255  # unit of sigma, so that it has the magnitude of the scale
        weight_1[used, 0] = 1 / unit
        bias_1[used] = -sigmas[:-1] / unit
        weight_2[used, used] = 1.0
        weight_3.zero_()
        weight_3[:stages, used] = unit * slopes.diff(prepend=torch.zeros(stages, 1))[..., None, None]
        bias_3[:] = torch.cat([values[:, 0], torch.log(torch.expm1(betas))])


class USRNet(UnfoldingNetwork):
    """Non-blind super-resolution and deblurring with one network for all kernels, scales and noise levels.

    widths: channels of the ResUNet prior's four levels; depth: residual blocks per level; stages: K; hyper_width:
    hidden channels of H; channels: C of the images.

    ``net(y, kernel=k, scale=s, sigma=sigma)``: y (B,C,h,w) in [0,1]; kernel (B|1,1,kh,kw) for true convolution, or what
    :func:`unfold.steps.closed_form.prepare` made of one; scale a whole number >= 1; sigma a float or (B,), noise
    standard deviation in [0,1] -> (B,C,h*s,w*s), not clamped. ValueError if the kernel exceeds the restored size.
    """

    presets: ClassVar = {
        "usrnet": Preset("USRNet or USRGAN: super-resolution and deblurring"),
        "usrnet_tiny": Preset("USRNet or USRGAN, tiny", {"widths": (16, 32, 64, 64), "stages": 6, "hyper_width": 32}),
    }
    size_multiple = 8
    takes_half = False
    tiling = Tiling(
        reach=97,
        blurred=True,
        beyond="the data step is circular and inverts a blur, which reaches further than the kernel, and the reaches "
        "of all stages add up",
    )
    border = "circular"
    trained_on = "usrnet"
    output = "(B,C,s h,s w), not clamped"
    bf16 = "Fourier transforms, hyper-parameters and the last layer stay in float32"
    meanings: Mapping[str, str] = MappingProxyType(
        {
            "residual": "A blurs by the kernel with a circular border and keeps every s-th pixel",
            "alpha": "weight of the estimate before against the measurement in the data step",
            "beta": "noise level given to the prior, in [0,1] units",
        }
    )

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, object] | None:
        if "h.mlp.0.weight" not in state:
            return None
        hyper = {"stages": state["h.mlp.4.bias"].shape[0] // 2, "hyper_width": state["h.mlp.0.weight"].shape[0]}
        channels = state["p.m_tail.weight"].shape[0]
        return {**arguments_in(state, "p"), **hyper, **({} if channels == 3 else {"channels": channels})}

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512),
        depth: int = 2,
        stages: int = 8,
        hyper_width: int = 64,
        channels: int = 3,
    ) -> None:
        super().__init__(stages)
        self.channels = check_channels(channels)
        self.p = ResUNet(channels + 1, channels, widths, depth)
        self.h = HyperParameters(stages, hyper_width)

    @property
    def inputs(self) -> dict[str, Input]:
        return {
            "y": image(self.channels, f"(B,{self.channels},h,w) in [0,1]"),
            "kernel": kernel("(B|1,1,kh,kw), for true convolution, sum 1, no larger than the restored image"),
            "scale": whole(),
            "sigma": level(),
        }

    def start_as_identity(self) -> None:
        """Initialise the prior near the identity, so that only the data steps act."""
        self.p.start_as_identity()
        self.h.start()

    def begin(
        self, y: Tensor, *, kernel: Tensor | PreparedKernel, scale: int, sigma: float | Tensor
    ) -> tuple[Tensor, Context]:
        check_image(y, self.channels)
        x, data = begin(y, kernel, scale)
        if isinstance(sigma, (int, float)):
            if not 0 <= sigma <= 1:
                raise ValueError(f"sigma is a standard deviation in [0,1] units, not {sigma}: divide 255 units by 255")
            # filled in on the device: copying a number there makes the host wait
            sigma = x.new_full((1,), sigma)
        levels = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).flatten()
        if len(levels) not in (1, len(y)):
            raise ValueError(f"sigma is one number or one per sample, {len(y)}, not {len(levels)} of them")
        return x, Context(data, *self.h(levels.expand(len(y)), int(scale)))

    def stage(self, k: int, x: Tensor, memory: object, context: Context) -> tuple[Tensor, object]:
        z = context.data.solve(x, context.alphas[:, k : k + 1])
        level = context.betas[:, k : k + 1].expand(-1, -1, *z.shape[-2:])
        return self.p(torch.cat([z, level], dim=1)), None

    def residual(self, k: int, x: Tensor, context: Context) -> Tensor:
        return context.data.residual(x)

    def numbers(self, k: int, context: Context) -> dict[str, Tensor]:
        return {"alpha": context.alphas[:, k], "beta": context.betas[:, k]}
