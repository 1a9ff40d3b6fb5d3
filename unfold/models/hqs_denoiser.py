"""Half-quadratic splitting for denoising, unfolded, with a noise level map estimated by the network itself.

    m       = strength S(y)                              noise level at each place, in [0,1] units; log S is learned
    z_k     = argmin_z |z - y|^2 + mu_k |z - x_k|^2      = (y + mu_k x_k) / (1 + mu_k), x_0 = y
    x_{k+1} = z_k + m P_k(z_k, y, log m)                 P_k a ResUNet on blocks of 2x2 pixels

Each correction is a multiple of m: where the network sees no noise, the picture stays unchanged. The network is ours.
The splitting is USRNet's (CVPR 2020); pixel blocks with an additional level are FFDNet's (TIP 2018); estimating the map
within the network is CBDNet's idea (CVPR 2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfold.facts import Input, Tiling, image, number
from unfold.models.unfolding import UnfoldingNetwork, check_channels, check_image
from unfold.priors.resunet import ResUNet
from unfold.util.padding import crop_to, pad_to_multiple

LEAST, MOST = 0.25 / 255, 100 / 255  # range of the map before ``strength``


class Context(NamedTuple):
    """y in blocks (B,4C,H/2,W/2), the level m (B,1,H/2,W/2), its size in pixels before padding."""

    y: Tensor
    level: Tensor
    size: tuple[int, int]


class LevelEstimate(nn.Module):
    """S: blocks (B,cin,h,w) -> log of the noise level (B,1,h,w), with a receptive field of about 60 blocks, smooth over
    8.
    """

    def __init__(self, cin: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(cin, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(4, ceil_mode=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2, ceil_mode=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 1, 3, padding=1),
        )
        nn.init.constant_(self.get_parameter("body.10.bias"), math.log(5 / 255))

    def forward(self, y: Tensor) -> Tensor:
        coarse = self.body(y).float().clamp(math.log(LEAST), math.log(MOST))
        return F.interpolate(coarse, scale_factor=8, mode="bilinear")[..., : y.shape[-2], : y.shape[-1]]


class HQSDenoiser(UnfoldingNetwork):
    """Denoising of photographs whose noise is unknown.

    widths: channels of the four levels of each stage's ResUNet, which sees blocks of 2x2 pixels; depth: residual blocks
    per level; stages: K; level_width: channels of the estimate of the noise level; channels: C of the images.

    ``net(y)``: y (B,C,H,W) in [0,1] -> (B,C,H,W), not clamped. ``strength`` >= 0 multiplies the estimated noise level:
    with 0 the picture does not change, 1 is used in training, and larger values smooth more.
    """

    size_multiple = 16
    takes_half = False
    tiling = Tiling(reach=100, beyond="two U-Nets on blocks of pixels, whose reaches add up")
    bf16 = "noise level and last layers stay in float32"

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
        if "level.body.0.weight" not in state:
            return None
        widths = [state["priors.0.m_head.weight"].shape[0]]
        depth = sum(key.startswith("priors.0.m_body.") and key.endswith(".res.0.weight") for key in state)
        widths += [state[f"priors.0.m_down{i}.{depth}.weight"].shape[0] for i in (1, 2, 3)]
        level_width, blocks = state["level.body.0.weight"].shape[:2]
        channels = {} if blocks == 12 else {"channels": blocks // 4}
        return {
            "widths": tuple(widths),
            "depth": depth,
            "stages": len(state["log_mu"]),
            "level_width": level_width,
            **channels,
        }

    def __init__(
        self,
        widths: Sequence[int] = (32, 32, 40, 32),
        depth: int = 2,
        stages: int = 2,
        level_width: int = 16,
        channels: int = 3,
    ) -> None:
        super().__init__(stages)
        self.channels = check_channels(channels)
        blocks = 4 * channels
        self.level = LevelEstimate(blocks, level_width)
        self.log_mu = nn.Parameter(torch.zeros(stages))
        self.priors = nn.ModuleList(ResUNet(2 * blocks + 1, blocks, widths, depth) for _ in range(stages))
        for prior in self.priors:
            nn.init.zeros_(prior.m_tail.weight)  # type: ignore[union-attr, arg-type]

    @property
    def inputs(self) -> dict[str, Input]:
        strength = number("float >= 0, 1 by default: times the noise level that the network estimates", least=0)
        return {"y": image(self.channels), "strength": strength}

    def begin(self, y: Tensor, *, strength: float | Tensor = 1.0) -> tuple[Tensor, Context]:
        check_image(y, self.channels)
        padded = F.pixel_unshuffle(pad_to_multiple(y, 2, mode="replicate"), 2)
        level = self.level(padded).exp() * torch.as_tensor(strength, dtype=torch.float32).to(y.device).reshape(
            -1, 1, 1, 1
        )
        return padded, Context(padded, level, (y.shape[-2], y.shape[-1]))

    def stage(self, k: int, x: Tensor, memory: Any, context: Context) -> tuple[Tensor, Any, dict[str, Tensor]]:
        # Written as a correction of x, so that x = y stays exactly y.
        z = x + (context.y - x) / (1 + self.log_mu[k].exp())
        log_level = context.level.clamp(min=LEAST / 10).log()
        correction = self.priors[k](torch.cat([z, context.y, log_level.to(z.dtype)], dim=1))
        return z + context.level * correction, None, {"level": context.level}

    def finish(self, x: Tensor, context: Context) -> Tensor:
        return crop_to(F.pixel_shuffle(x, 2), context.size)

    def residual(self, k: int, x: Tensor, context: Context) -> Tensor:
        return self.finish(x - context.y, context)

    def numbers(self, k: int, context: Context) -> dict[str, Tensor]:
        return {"mu": self.log_mu[k].exp()}
