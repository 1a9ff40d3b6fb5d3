"""NRL-GDN, RGDN and their first estimate against numbers of the published code."""

from __future__ import annotations

import torch
from torch import Tensor

from unfold.models.golden.golden_rules import TOLERANCE, Golden, Net, Networks, Outcome, Parts, fill, furthest
from unfold.models.registry import plain_model
from unfold.steps.inverse_filter import inverse_filter


def nrl_gdn_rule(name: str, shape: torch.Size, noise: torch.Generator) -> Tensor:
    scale = {"r": 0.02, "h": 0.03, "d_alpha": 0.033}[name.split(".")[0]]
    return torch.randn(shape, generator=noise) * scale


def fill_plain_descent(net: Net, step: float) -> Net:
    """Weights of NRL-GDN with H = identity, D = -step identity, R = 0: the gradient method, whose stopping steps are
    known.
    """
    state = {name: torch.zeros_like(value) for name, value in net.state_dict().items()}
    colours = torch.arange(3)
    for part, last in (("h", 1.0), ("d_alpha", -step)):
        # Each colour passes the ReLUs as its positive and its negative part.
        for layer in range(0, 12, 2):
            weight = state[f"{part}.main.{layer}.weight"]
            weight[colours, colours, 2, 2] = 1
            weight[colours + 3, colours if layer == 0 else colours + 3, 2, 2] = -1 if layer == 0 else 1
        out = state[f"{part}.main.12.weight"]
        out[colours, colours, 2, 2] = last
        out[colours + 3, colours, 2, 2] = -last
    net.load_state_dict(state)
    return net


def check_nrl_gdn(name: str, golden: Golden) -> Outcome:
    net = fill(plain_model(name), nrl_gdn_rule).eval()
    inputs = {"y": torch.from_numpy(golden["y"]), "kernel": torch.from_numpy(golden["kt"])}
    stages = net(**inputs, return_stages=True)
    difference = furthest(torch.cat(list(stages)), golden["stages"][1:])
    return Outcome(net, f"{len(stages)} stages, published stop", difference, inputs, stages[-1])


def check_plain_descent(name: str, golden: Golden) -> Outcome:
    net = fill_plain_descent(plain_model(name), 1.0).eval()
    stages = net(torch.from_numpy(golden["y"]), kernel=torch.from_numpy(golden["kt"]), return_stages=True)
    expected = golden["stages"][1:].reshape(-1, *stages[0].shape)
    return Outcome(net, f"{len(stages)} stages of plain descent", furthest(stages, expected))


def initialiser_difference(golden: Golden) -> float:
    """Largest difference of the tapered inverse filter over 8 kernels."""
    y = torch.from_numpy(golden["y"])
    kernels = [torch.from_numpy(golden[f"k{i}"]).float().flip(-2, -1) for i in range(8)]
    results = [inverse_filter(y, k.reshape(1, 1, *k.shape[-2:])) for k in kernels]
    return furthest(results, [golden[f"init{i}"].reshape(results[0].shape) for i in range(8)])


NETWORKS: Networks = {
    "nrlgdn_NRL_GDN_b": ("nrl_gdn", check_nrl_gdn),
    "nrlgdn_NRL_GDN_Y0_b": ("nrl_gdn_y0", check_nrl_gdn),
    "nrlgdn_rgdn_uniform_b": ("rgdn_uniform", check_nrl_gdn),
    "nrlgdn_NRL_GDN_Y0_analytic_cd1.0": ("nrl_gdn_y0", check_plain_descent),
    "nrlgdn_rgdn_uniform_analytic_cd1.0": ("rgdn_uniform", check_plain_descent),
}
PARTS: Parts = {
    "nrlgdn_init_taper": [("edge taper and inverse filter, 8 kernels", initialiser_difference, TOLERANCE)],
}
