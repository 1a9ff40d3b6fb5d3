"""`unfold check --golden DIR`: the networks against numbers of the published code.

Every file holds inputs and outputs of the published code under weights made by a rule from the names of the
parameters, so that no weights need to be at hand. Files that lie in the folder are checked, others are told to be
missing.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from unfold.errors import UnfoldError
from unfold.metrics import psnr
from unfold.models.registry import create_model
from unfold.models.unfolding import UnfoldingNetwork
from unfold.progress import progress
from unfold.report.models import count_parameters
from unfold.steps.closed_form import prepare
from unfold.steps.inverse_filter import inverse_filter

TOLERANCE = 1e-5  # float32 outputs of order 1
TOLERANCE_FLOAT64 = 1e-10  # the data step in float64

Net = TypeVar("Net", bound=nn.Module)
Rule = Callable[[str, torch.Size, torch.Generator], Tensor]


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


def usrnet_rule(name: str, shape: torch.Size, noise: torch.Generator) -> Tensor:
    if len(shape) < 2:
        return torch.full(shape, 0.1)
    return torch.randn(shape, generator=noise) * (0.6 / float(np.sqrt(math.prod(shape[1:]))))


def nrl_gdn_rule(name: str, shape: torch.Size, noise: torch.Generator) -> Tensor:
    scale = {"r": 0.02, "h": 0.03, "d_alpha": 0.033}[name.split(".")[0]]
    return torch.randn(shape, generator=noise) * scale


def fill(net: Net, rule: Rule = dgunet_rule) -> Net:
    """Give every entry of the state dict numbers that depend on its name and shape alone."""
    state = {}
    for name, value in net.state_dict().items():
        state[name] = rule(name, value.shape, torch.Generator().manual_seed(zlib.crc32(name.encode())))
    net.load_state_dict(state)
    return net


def fill_plain_descent(net: Net, step: float) -> Net:
    """Weights of NRL-GDN with H = identity, D = -step identity, R = 0: the gradient method, whose stops are known."""
    state = {name: torch.zeros_like(value) for name, value in net.state_dict().items()}
    colours = torch.arange(3)
    for part, last in (("h", 1.0), ("d_alpha", -step)):
        # Each colour passes the ReLUs as its positive and its negative half.
        for layer in range(0, 12, 2):
            weight = state[f"{part}.main.{layer}.weight"]
            weight[colours, colours, 2, 2] = 1
            weight[colours + 3, colours if layer == 0 else colours + 3, 2, 2] = -1 if layer == 0 else 1
        out = state[f"{part}.main.12.weight"]
        out[colours, colours, 2, 2] = last
        out[colours + 3, colours, 2, 2] = -last
    net.load_state_dict(state)
    return net


class Check(NamedTuple):
    """One golden file: the model (None for a part of one), what was compared, and how far off it is at most.

    bfloat16: PSNR in dB of the result under bfloat16 autocast against the float32 result, where a whole network ran.
    """

    file: str
    model: str | None
    parameters: int
    compared: str
    difference: float
    tolerance: float = TOLERANCE
    bfloat16: float | None = None

    @property
    def passed(self) -> bool:
        return self.difference <= self.tolerance


Golden = dict[str, Any]


class Outcome(NamedTuple):
    """What a comparison of a network found; inputs and result where the whole network ran."""

    net: UnfoldingNetwork
    compared: str
    difference: float
    inputs: dict[str, Any] | None = None
    result: Tensor | None = None


def under_autocast(found: Outcome) -> float:
    """PSNR in dB, for a peak of 1, of the bfloat16 autocast result against the float32 result."""
    assert found.inputs is not None
    assert found.result is not None
    with torch.autocast("cpu", torch.bfloat16):
        half = found.net(**found.inputs)
    return float(psnr(half, found.result).mean())


def furthest(results: Any, expected: Any) -> float:
    """Maximum absolute difference; infinite where shapes or counts differ, NaN where a number is NaN."""
    if len(results) != len(expected):
        return math.inf
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(results, expected, strict=True)]
    return float(np.max([np.abs(a - b).max() if a.shape == b.shape else math.inf for a, b in pairs]))


def check_dgunet(name: str, golden: Golden) -> Outcome:
    net = fill(create_model(name)).eval()
    key = "image" if name.endswith("_cs") else "y"
    inputs = {key: torch.from_numpy(golden["input"])}
    stages = net(**inputs, return_stages=True)
    expected = [golden[f"out{len(stages) - 1 - k}"] for k in range(len(stages))]
    return Outcome(net, f"{len(stages)} stages", furthest(stages, expected), inputs, stages[-1])


def check_usrnet(name: str, golden: Golden) -> Outcome:
    net: Any = fill(create_model(name), usrnet_rule).eval()
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
    net: Any = fill(create_model(name), usrnet_rule).eval()
    return Outcome(net, "prior alone, 37x29", furthest([net.p(torch.from_numpy(golden["x"]))], [golden["out"]]))


def check_usrnet_hyper(name: str, golden: Golden) -> Outcome:
    net: Any = fill(create_model(name), usrnet_rule).eval()
    rows = [torch.cat(net.h(row[0].flatten(), int(row[1])), dim=1)[0] for row in torch.from_numpy(golden["x"])]
    return Outcome(net, "hyper-parameters of 4 settings", furthest(rows, golden["out"]))


def check_nrl_gdn(name: str, golden: Golden) -> Outcome:
    net = fill(create_model(name), nrl_gdn_rule).eval()
    inputs = {"y": torch.from_numpy(golden["y"]), "kernel": torch.from_numpy(golden["kt"])}
    stages = net(**inputs, return_stages=True)
    difference = furthest(torch.cat(list(stages)), golden["stages"][1:])
    return Outcome(net, f"{len(stages)} stages, published stop", difference, inputs, stages[-1])


def check_plain_descent(name: str, golden: Golden) -> Outcome:
    net = fill_plain_descent(create_model(name), 1.0).eval()
    stages = net(torch.from_numpy(golden["y"]), kernel=torch.from_numpy(golden["kt"]), return_stages=True)
    expected = golden["stages"][1:].reshape(-1, *stages[0].shape)
    return Outcome(net, f"{len(stages)} stages of plain descent", furthest(stages, expected))


STEP = ("x", "y", "k", "alpha", "z")


def data_step_difference(golden: Golden, precision: str) -> float:
    """Largest difference of the closed-form step over scales 1 to 4."""
    found = []
    for scale in (1, 2, 3, 4):
        x, y, k, alpha, z = (torch.from_numpy(golden[f"{precision}_x{scale}_{name}"]) for name in STEP)
        prepared = prepare(k, (x.shape[-2], x.shape[-1]), scale)
        found.append(furthest([prepared.solve(x, prepared.spectrum(y), alpha)], [z]))
    return float(np.max(found))


def initialiser_difference(golden: Golden) -> float:
    """Largest difference of the tapered inverse filter over 8 kernels."""
    y = torch.from_numpy(golden["y"])
    kernels = [torch.from_numpy(golden[f"k{i}"]).float().flip(-2, -1) for i in range(8)]
    results = [inverse_filter(y, k.reshape(1, 1, *k.shape[-2:])) for k in kernels]
    return furthest(results, [golden[f"init{i}"].reshape(results[0].shape) for i in range(8)])


NETWORKS: dict[str, tuple[str, Callable[[str, Golden], Outcome]]] = {
    "dgunet_deblur_dgunet_v2": ("dgunet_deblur", check_dgunet),
    "dgunet_derain_dgunet_v2": ("dgunet_derain", check_dgunet),
    "dgunet_derain_dgunet_plus_v2": ("dgunet_plus_derain", check_dgunet),
    "dgunet_denoise_dgunet_plus_v2": ("dgunet_plus_denoise", check_dgunet),
    "dgunet_cs_dgunet_r25_v2": ("dgunet_cs", check_dgunet),
    "dgunet_cs_dgunet_deblock_r25_v2": ("dgunet_cs", check_dgunet),
    "dgunet_cs_dgunet_plus_r25_v2": ("dgunet_plus_cs", check_dgunet),
    "dgunet_cs_dgunet_plus_deblock_r25_v2": ("dgunet_plus_cs", check_dgunet),
    **{f"{name}_x{s}": (name, check_usrnet) for name in ("usrnet", "usrnet_tiny") for s in (1, 2, 4)},
    **{f"usrnet_prior_{name}": (name, check_usrnet_prior) for name in ("usrnet", "usrnet_tiny")},
    **{f"usrnet_hyper_{name}": (name, check_usrnet_hyper) for name in ("usrnet", "usrnet_tiny")},
    "nrlgdn_NRL_GDN_b": ("nrl_gdn", check_nrl_gdn),
    "nrlgdn_NRL_GDN_Y0_b": ("nrl_gdn_y0", check_nrl_gdn),
    "nrlgdn_rgdn_uniform_b": ("rgdn_uniform", check_nrl_gdn),
    "nrlgdn_NRL_GDN_Y0_analytic_cd1.0": ("nrl_gdn_y0", check_plain_descent),
    "nrlgdn_rgdn_uniform_analytic_cd1.0": ("rgdn_uniform", check_plain_descent),
}
PARTS: dict[str, list[tuple[str, Callable[[Golden], float], float]]] = {
    "usrnet_datastep": [
        ("closed-form data step, float64", lambda g: data_step_difference(g, "f64"), TOLERANCE_FLOAT64),
        ("closed-form data step, float32", lambda g: data_step_difference(g, "f32"), TOLERANCE),
    ],
    "nrlgdn_init_taper": [("edge taper and inverse filter, 8 kernels", initialiser_difference, TOLERANCE)],
}


@torch.inference_mode()
def checks(folder: Path) -> Iterator[Check | str]:
    """A Check per comparison, or the name of a file that is not there. UnfoldError where there is none at all."""
    names = [*NETWORKS, *PARTS]
    if not any((folder / f"{name}.npz").is_file() for name in names):
        raise UnfoldError(f"{folder} holds none of the golden files ({names[0]}.npz and others)")
    for name in progress(names, "checking", "file"):
        path = folder / f"{name}.npz"
        if not path.is_file():
            yield name
            continue
        try:
            with np.load(path) as content:
                golden = dict(content)
            yield from _check(name, golden)
        except KeyError as error:
            raise UnfoldError(f"{path} is another file than its name says: {error}") from None
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise UnfoldError(f"{path} cannot be read: {error}") from None


def _check(name: str, golden: Golden) -> Iterator[Check]:
    if name in NETWORKS:
        model, compare = NETWORKS[name]
        found = compare(model, golden)
        half = None if found.inputs is None else under_autocast(found)
        yield Check(name, model, count_parameters(found.net), found.compared, found.difference, bfloat16=half)
    else:
        for compared, part, tolerance in PARTS[name]:
            yield Check(name, None, 0, compared, part(golden), tolerance)


def format_checks(results: list[Check | str]) -> str:
    """A table; files that are missing come last, by name."""
    lines = [f"{'golden':<38}{'model':<21}{'parameters':>12}  {'max |difference|':>16}{'bf16, dB':>10}  compared"]
    for result in results:
        if isinstance(result, Check):
            model, parameters = result.model or "-", f"{result.parameters:,}" if result.parameters else "-"
            verdict = "" if result.passed else f"   MORE THAN {result.tolerance:.0e}"
            half = "-" if result.bfloat16 is None else f"{result.bfloat16:.1f}"
            figures = f"{parameters:>12}  {result.difference:>16.1e}{half:>10}"
            lines.append(f"{result.file:<38}{model:<21}{figures}  {result.compared}{verdict}")
    missing = [result for result in results if isinstance(result, str)]
    if missing:
        lines.append(f"not in this folder, not checked: {', '.join(missing)}")
    return "\n".join(lines)
