"""The published networks by name, each with its contract."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from unfold.errors import UnfoldError
from unfold.models import contract
from unfold.models.dgunet import DGUNet, DGUNetPlus
from unfold.models.dgunet_cs import DGUNetCS
from unfold.models.nrl_gdn import NRLGDN
from unfold.models.unfolding import UnfoldingNetwork
from unfold.models.usrnet import USRNet

LARGEST = 10_000  # a width or a number of stages above it is a mistake, or an attack on memory
Example = Callable[[int], dict[str, Any]]


def _image(size: int) -> dict[str, Any]:
    return {"y": torch.zeros(1, 3, size, size)}


def _grey(size: int) -> dict[str, Any]:
    return {"image": torch.zeros(1, 1, size, size)}


def _blurred(size: int) -> dict[str, Any]:
    return {"y": torch.zeros(1, 3, size, size), "kernel": torch.zeros(1, 1, 25, 25)}


def _low_resolution(size: int) -> dict[str, Any]:
    return {**_blurred(size), "scale": 1, "sigma": 0.0}


@dataclass(frozen=True)
class Model:
    """One published network: its class, the published arguments, what it is in one line, and its contract.

    example: size -> the named inputs that make an image of size x size, for counting what it costs.
    """

    build: type[UnfoldingNetwork]
    arguments: dict[str, Any]
    about: str
    contract: contract.Contract = contract.DGUNET
    example: Example = _image

    def full_arguments(self) -> dict[str, Any]:
        """The published arguments, with the constructor's defaults for those not named."""
        parameters = inspect.signature(self.build).parameters
        return {**{name: p.default for name, p in parameters.items()}, **self.arguments}


_TINY = {"widths": (16, 32, 64, 64), "stages": 6, "hyper_width": 32}
_GRADIENT = {"initial": "measurement", "noise_model": "gradient"}
_CS = (contract.DGUNET_CS, _grey)
_USRNET = (contract.USRNET, _low_resolution)
_NRL_GDN = (contract.NRL_GDN, _blurred)
_MODELS = {
    "dgunet_deblur": Model(DGUNet, {"width": 80, "growth": 48, "tail": 32}, "DGUNet for motion deblurring"),
    "dgunet_plus_deblur": Model(DGUNetPlus, {"width": 96, "growth": 48}, "DGUNet+ for motion deblurring"),
    "dgunet_derain": Model(DGUNet, {"width": 40, "growth": 20, "tail": 16}, "DGUNet for rain removal"),
    "dgunet_plus_derain": Model(DGUNetPlus, {"width": 40, "growth": 20}, "DGUNet+ for rain removal"),
    "dgunet_denoise": Model(DGUNet, {"width": 80, "growth": 48, "tail": 32}, "DGUNet for denoising"),
    "dgunet_plus_denoise": Model(DGUNetPlus, {"width": 80, "growth": 40}, "DGUNet+ for denoising"),
    "dgunet_cs": Model(DGUNetCS, {"shared": True}, "DGUNet for compressive sensing, 25 %", *_CS),
    "dgunet_plus_cs": Model(DGUNetCS, {"shared": False}, "DGUNet+ for compressive sensing, 25 %", *_CS),
    "usrnet": Model(USRNet, {}, "USRNet or USRGAN: super-resolution and deblurring", *_USRNET),
    "usrnet_tiny": Model(USRNet, _TINY, "USRNet or USRGAN, tiny", *_USRNET),
    "nrl_gdn": Model(NRLGDN, {}, "NRL-GDN: deblurring under non-uniform noise", *_NRL_GDN),
    "nrl_gdn_y0": Model(NRLGDN, {"initial": "measurement"}, "NRL-GDN that begins at the blurred image", *_NRL_GDN),
    "rgdn_uniform": Model(NRLGDN, _GRADIENT, "RGDN with a DRUNet: deblurring under uniform noise", *_NRL_GDN),
}


def list_models() -> list[str]:
    """Names of all networks, sorted."""
    return sorted(_MODELS)


def list_networks() -> list[type[UnfoldingNetwork]]:
    """The classes that the names stand for, each once, in the order of the registry."""
    return list(dict.fromkeys(model.build for model in _MODELS.values()))


def model_info(name: str) -> Model:
    """The registry's entry for ``name``; UnfoldError with the nearest name where there is none."""
    if name not in _MODELS:
        near = difflib.get_close_matches(name.lower(), _MODELS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(list_models())}"
        raise UnfoldError(f"no model is called {name!r}{hint}")
    return _MODELS[name]


def info_of(net: UnfoldingNetwork) -> Model:
    """A registry entry of a network's class, for its inputs and its contract; UnfoldError where there is none."""
    for model in _MODELS.values():
        if isinstance(net, model.build):
            return model
    raise UnfoldError(f"{type(net).__name__} is no network of the registry, so that its inputs and reach are not known")


def _fits(parameter: inspect.Parameter, value: Any) -> bool:
    """Whether a value is of the kind of the parameter's default, and a count not beyond any use."""
    default = parameter.default
    if isinstance(default, (bool, str)):
        return type(value) is type(default)
    if isinstance(default, tuple):
        return isinstance(value, (list, tuple)) and all(type(item) is int for item in value)
    if type(value) is float and parameter.annotation == "float":
        return math.isfinite(value)
    return type(value) is int and value <= LARGEST


def same_network(a: str, b: str) -> bool:
    """Whether two names stand for one network, as dgunet_deblur and dgunet_denoise do."""
    left, right = model_info(a), model_info(b)
    return left.build is right.build and left.full_arguments() == right.full_arguments()


def create_model(name: str, **overrides: Any) -> UnfoldingNetwork:
    """Build a network with fresh weights.

    overrides: constructor arguments in place of the published ones, e.g. ``create_model("dgunet_denoise", stages=4)``.
    Raises UnfoldError for an unknown name, argument or value.
    """
    model = model_info(name)
    known = inspect.signature(model.build).parameters
    for argument, value in overrides.items():
        if argument not in known:
            raise UnfoldError(f"{name} takes no argument {argument!r}; it takes {', '.join(known)}")
        if not _fits(known[argument], value):
            raise UnfoldError(f"{name}: {argument} is of the kind of {known[argument].default!r}, and {value!r} is not")
    try:
        return model.build(**{**model.arguments, **overrides})
    except (ValueError, TypeError, RuntimeError) as error:
        raise UnfoldError(f"{name} cannot be built with {overrides}: {error}") from error
