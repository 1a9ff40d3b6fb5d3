"""DGUNet and DGUNet+, also for compressive sensing, against numbers of the published code."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unfold.models.golden.golden_rules import Golden, Networks, Outcome, fill, furthest
from unfold.models.registry import plain_model


def dgunet_rule(name: str, shape: torch.Size, noise: torch.Generator) -> Tensor:
    if math.prod(shape) == 1:
        return torch.full(shape, 0.25 if name.endswith(".weight") else 0.5)
    if name.endswith(".bias"):
        return 0.05 * torch.randn(shape, generator=noise)
    if name == "Phi":
        return 0.02 * torch.randn(shape, generator=noise)
    if len(shape) == 1:
        return 1 + 0.2 * torch.randn(shape, generator=noise)
    fan_in = shape[0] if name.endswith(".up.weight") else math.prod(shape[1:])
    return torch.randn(shape, generator=noise) * (0.5 / fan_in) ** 0.5


def check_dgunet(name: str, golden: Golden) -> Outcome:
    net = fill(plain_model(name), dgunet_rule).eval()
    key = "image" if name.endswith("_cs") else "y"
    inputs = {key: torch.from_numpy(golden["input"])}
    stages = net(**inputs, return_stages=True)
    expected = [golden[f"out{len(stages) - 1 - k}"] for k in range(len(stages))]
    return Outcome(net, f"{len(stages)} stages", furthest(stages, expected), inputs, stages[-1])


NETWORKS: Networks = {
    "dgunet_deblur_dgunet_v2": ("dgunet_deblur", check_dgunet),
    "dgunet_derain_dgunet_v2": ("dgunet_derain", check_dgunet),
    "dgunet_derain_dgunet_plus_v2": ("dgunet_plus_derain", check_dgunet),
    "dgunet_denoise_dgunet_plus_v2": ("dgunet_plus_denoise", check_dgunet),
    "dgunet_cs_dgunet_r25_v2": ("dgunet_cs", check_dgunet),
    "dgunet_cs_dgunet_deblock_r25_v2": ("dgunet_cs", check_dgunet),
    "dgunet_cs_dgunet_plus_r25_v2": ("dgunet_plus_cs", check_dgunet),
    "dgunet_cs_dgunet_plus_deblock_r25_v2": ("dgunet_plus_cs", check_dgunet),
}
