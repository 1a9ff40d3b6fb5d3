"""USRNet, its parts and its data step against numbers of the published code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unfold.models.golden.golden_rules import (
    TOLERANCE,
    TOLERANCE_FLOAT64,
    Golden,
    Networks,
    Outcome,
    Parts,
    fill,
    furthest,
)
from unfold.models.registry import plain_model
from unfold.steps.closed_form import prepare

STEP = ("x", "y", "k", "alpha", "z")


def usrnet_rule(name: str, shape: torch.Size, noise: torch.Generator) -> Tensor:
    if len(shape) < 2:
        return torch.full(shape, 0.1)
    return torch.randn(shape, generator=noise) * (0.6 / float(np.sqrt(math.prod(shape[1:]))))


def check_usrnet(name: str, golden: Golden) -> Outcome:
    net: Any = fill(plain_model(name), usrnet_rule).eval()
    y, kernel = torch.from_numpy(golden["lr"]), torch.from_numpy(golden["kernel"]).reshape(1, 1, 25, 25)
    inputs = {"kernel": kernel, "scale": int(golden["sf"]), "sigma": float(golden["sigma"])}
    x, context = net.begin(y, **inputs)
    z = context.data.solve(x, context.alphas[:, :1])
    stages = net(y, **inputs, return_stages=True)
    hyper = torch.cat([context.alphas, context.betas], dim=1)
    expected = [golden["ab"], golden["z1"], golden["x1"], golden["out"]]
    difference = furthest([hyper, z, stages[0], stages[-1]], expected)
    return Outcome(net, "alpha and beta, z_1, x_1, result", difference, {"y": y, **inputs}, stages[-1])


def check_usrnet_prior(name: str, golden: Golden) -> Outcome:
    net: Any = fill(plain_model(name), usrnet_rule).eval()
    return Outcome(net, "prior alone, 37x29", furthest([net.p(torch.from_numpy(golden["x"]))], [golden["out"]]))


def check_usrnet_hyper(name: str, golden: Golden) -> Outcome:
    net: Any = fill(plain_model(name), usrnet_rule).eval()
    rows = [torch.cat(net.h(row[0].flatten(), int(row[1])), dim=1)[0] for row in torch.from_numpy(golden["x"])]
    return Outcome(net, "hyper-parameters of 4 settings", furthest(rows, golden["out"]))


def data_step_difference(golden: Golden, precision: str) -> float:
    """Largest difference of the closed-form step over scales 1 to 4."""
    found = []
    for scale in (1, 2, 3, 4):
        x, y, k, alpha, z = (torch.from_numpy(golden[f"{precision}_x{scale}_{name}"]) for name in STEP)
        prepared = prepare(k, (x.shape[-2], x.shape[-1]), scale)
        found.append(furthest([prepared.solve(x, prepared.spectrum(y), alpha)], [z]))
    return float(np.max(found))


NETWORKS: Networks = {
    **{f"{name}_x{s}": (name, check_usrnet) for name in ("usrnet", "usrnet_tiny") for s in (1, 2, 4)},
    **{f"usrnet_prior_{name}": (name, check_usrnet_prior) for name in ("usrnet", "usrnet_tiny")},
    **{f"usrnet_hyper_{name}": (name, check_usrnet_hyper) for name in ("usrnet", "usrnet_tiny")},
}
PARTS: Parts = {
    "usrnet_datastep": [
        ("closed-form data step, float64", lambda g: data_step_difference(g, "f64"), TOLERANCE_FLOAT64),
        ("closed-form data step, float32", lambda g: data_step_difference(g, "f32"), TOLERANCE),
    ],
}
