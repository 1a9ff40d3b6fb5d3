"""Networks of published width with the numbers of the published code that lie in tests/golden."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unfold.models.golden.dgunet_golden import dgunet_rule
from unfold.models.golden.golden_rules import fill
from unfold.models.golden.nrl_gdn_golden import nrl_gdn_rule
from unfold.models.golden.usrnet_golden import usrnet_rule
from unfold.models.registry import plain_model
from unfold.models.unfolding import UnfoldingNetwork
from unfold.util.device import place

DGUNETS = ("dgunet_deblur", "dgunet_derain", "dgunet_plus_derain", "dgunet_plus_denoise", "dgunet_cs", "dgunet_plus_cs")
USRNETS = tuple(f"{name}_x{scale}" for name in ("usrnet", "usrnet_tiny") for scale in (1, 2, 4))
CASES = (*DGUNETS, *USRNETS, "nrl_gdn", "nrl_gdn_y0", "rgdn_uniform")
TOLERANCE = 1e-5  # float32's own rounding, against float64 on the CPU, is 2e-7 to 1.4e-6
# x_0 is an inverse filter (Eq. 22) that multiplies some frequencies, and their rounding, by 13, to values of up to 6.5:
# on the CPU 2.3e-6 from float64. USRNet's Fourier path divides by alpha, here 0.29 to 1, and needs no more than others.
TOLERANCES = {"nrl_gdn": 5e-5}


@functools.cache
def golden(family: str) -> dict[str, NDArray[Any]]:
    with np.load(Path(__file__).parents[1] / "golden" / f"{family}.npz") as content:
        return dict(content)


def image(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(0).rand(*shape).astype(np.float32))


@functools.cache
def published(case: str, device: torch.device) -> tuple[UnfoldingNetwork, dict[str, Any]]:
    """The network with the weights of its golden numbers, and their inputs, on the device. Not to be changed."""
    given: dict[str, Any]
    if case in DGUNETS:
        y = image(1, 3, 64, 64)
        given = {"image": y[:, :1]} if case.endswith("_cs") else {"y": y}
        net = fill(plain_model(case), dgunet_rule)
    elif case in USRNETS:
        name, scale = case.split("_x")
        kernel = torch.from_numpy(golden("usrnet")["kernel"])[None, None]
        y = image(1, 3, 36, 30) if scale == "1" else image(1, 3, 24, 20)
        given = {"y": y, "kernel": kernel, "scale": int(scale), "sigma": 0.01 * (int(scale) - 1)}
        net = fill(plain_model(name), usrnet_rule)
    else:
        given = {"y": image(1, 3, 64, 64), "kernel": torch.from_numpy(golden("nrl_gdn")["kernel"])[None, None]}
        net = fill(plain_model(case), nrl_gdn_rule)
    placed = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in given.items()}
    return place(net.eval(), device), placed


def expected(case: str) -> dict[str, NDArray[Any]]:
    """What the published code found, by what it is; images at rows ::2, columns 1::2."""
    if case in USRNETS:
        return {what: golden("usrnet")[f"{case}_{what}"] for what in ("ab", "z1", "x1", "out")}
    if case.endswith("_cs"):
        stages = golden("dgunet_cs")[f"{case}_whole"]
    else:
        stages = golden("dgunet" if case in DGUNETS else "nrl_gdn")[case][:, None]
    return {f"stage {k + 1}": stage for k, stage in enumerate(stages)}


def found(case: str, net: Any, given: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The same of our network."""
    stages = net(**given, return_stages=True)
    images = {f"stage {k + 1}": stage for k, stage in enumerate(stages)}
    hyper = {}
    if case in USRNETS:
        x, context = net.begin(**given)
        images = {"z1": context.data.solve(x, context.alphas[:, :1]), "x1": stages[0], "out": stages[-1]}
        hyper = {"ab": torch.cat([context.alphas, context.betas], dim=1).cpu().numpy()}
    return hyper | {what: x[..., ::2, 1::2].cpu().numpy() for what, x in images.items()}
