"""Narrow versions of every network, quick to run, and inputs for them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unfold import create_model
from unfold.models.golden.dgunet_golden import dgunet_rule
from unfold.models.golden.golden_rules import fill
from unfold.models.golden.usrnet_golden import usrnet_rule
from unfold.models.unfolding import UnfoldingNetwork

# Networks of our own, of which nobody published anything; all others are of the papers.
OURS = ("composed", "hqs_denoiser", "dgunet_prompt", "dgunet_prompt_narrow")

_DGUNET = {"width": 16, "growth": 4, "stages": 3}
_USRNET = {"widths": (4, 6, 8, 8), "depth": 1, "stages": 3, "hyper_width": 8}
_ISTA_NET = {"stages": 3, "width": 8}
_NRL_GDN = {"widths": (4, 6, 8, 8), "depth": 1, "width": 6, "train_stages": 3}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "dgunet_deblur": {**_DGUNET, "tail": 4, "operator_width": 4},
    "dgunet_plus_deblur": {**_DGUNET, "operator_width": 4},
    "dgunet_prompt": {**_DGUNET, "tail": 4, "operator_width": 4, "prompt_width": 4, "prompt_size": 3},
    "dgunet_cs": {**_DGUNET, "tail": 4, "ratio": 10},
    "dgunet_plus_cs": {**_DGUNET, "tail": 4, "ratio": 10, "stages": 4},
    "ista_net": {**_ISTA_NET, "block": 16},
    "ista_net_plus": {**_ISTA_NET, "block": 16},
    "ista_net_plus_mri": _ISTA_NET,
    "usrnet": _USRNET,
    "nrl_gdn": _NRL_GDN,
    "nrl_gdn_y0": _NRL_GDN,
    "rgdn_uniform": _NRL_GDN,
}
NAMES = sorted(ARGUMENTS)


def strong_rule(name: str, shape: torch.Size, noise: torch.Generator) -> Tensor:
    """For NRL-GDN: in narrow layers, the rule of its goldens would leave each stage without effect."""
    return torch.randn(shape, generator=noise) * (0.7 / math.prod(shape[1:])) ** 0.5


def ista_rule(name: str, shape: torch.Size, noise: torch.Generator) -> Tensor:
    if math.prod(shape) == 1:
        return torch.full(shape, 0.005 if name.endswith("soft_thr") else 0.5)
    return torch.randn(shape, generator=noise) * (1.0 / math.prod(shape[1:])) ** 0.5


def narrow(name: str, **arguments: Any) -> UnfoldingNetwork:
    """A narrow network of that name, its weights made by its rule."""
    rules = {"usrnet": usrnet_rule, "dgunet": dgunet_rule, "ista": ista_rule}
    rule = next((rule for begin, rule in rules.items() if name.startswith(begin)), strong_rule)
    return fill(create_model(name, **{**ARGUMENTS[name], **arguments}), rule).eval()


def saved(name: str, path: Path) -> Path:
    """A checkpoint of that narrow network, which says what it is."""
    model = {"name": name, "arguments": ARGUMENTS[name]}
    torch.save({"state_dict": narrow(name).state_dict(), "model": model}, path)
    return path


def kernels(batch: int, side: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """Different kernels for each sample, of sum 1."""
    k = torch.rand(batch, 1, side, side, dtype=dtype) + 0.1
    return k / k.sum(dim=(2, 3), keepdim=True)


def inputs(name: str, batch: int, height: int, width: int, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """Named inputs of a network; the result has (height, width), or twice that for USRNet."""
    if name.endswith("_cs"):
        return {"image": torch.rand(batch, 1, height, width, dtype=dtype)}
    if name.startswith("ista_net"):
        mask = (torch.rand(batch, 1, height, width, dtype=dtype) < 0.4).to(dtype)
        mask[..., 0, 0] = 1
        given = {"image": torch.rand(batch, 1, height, width, dtype=dtype)}
        return {**given, "mask": mask} if name.endswith("_mri") else given
    y = torch.rand(batch, 3, height, width, dtype=dtype)
    if name.startswith("dgunet"):
        return {"y": y}
    if name == "usrnet":
        sigma = torch.linspace(0.01, 0.1, batch, dtype=dtype)
        return {"y": y, "kernel": kernels(batch, 7, dtype), "scale": 2, "sigma": sigma}
    return {"y": y, "kernel": kernels(batch, 5, dtype)}


def of_sample(given: dict[str, Any], i: int) -> dict[str, Any]:
    """The inputs of one sample of a batch."""
    return {name: value[i : i + 1] if isinstance(value, Tensor) else value for name, value in given.items()}
