"""Loss of a network's estimated noise level against the true noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.losses.loss import Loss
from unfold.models.unfolding import Output
from unfold.util.precision import at_least_float32


class NoiseLevel(Loss):
    """Error of an estimated noise level: mean(|log m - log s|) for the map m that stages return as "level".

    s, the true level, is the root mean square of y - target over the pixels within 16 pixels in each direction, and at
    least 0.25/255.
    """

    def forward(self, output: Output, batch: Mapping[str, Any]) -> Tensor:
        if "level" not in output.extras:
            raise UnfoldError(
                "the loss noise_level is for networks whose stages return 'level', as those of hqs_denoiser do"
            )
        level = at_least_float32(output.extras["level"][0])
        squares = (at_least_float32(batch["y"]) - batch["target"]).square().mean(1, keepdim=True)
        around = F.avg_pool2d(squares, 33, stride=1, padding=16, count_include_pad=False)
        there = F.interpolate(around, level.shape[-2:], mode="bilinear").sqrt().clamp(min=0.25 / 255)
        return F.l1_loss(level.clamp(min=1e-6).log(), there.log())
