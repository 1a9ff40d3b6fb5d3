"""The published networks by name."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from typing import Any

from unfold.errors import UnfoldError
from unfold.models.dgunet import DGUNet, DGUNetPlus
from unfold.models.unfolding import UnfoldingNetwork


@dataclass(frozen=True)
class Model:
    """One published network: its class, the published arguments, and what it is in one line."""

    build: type[UnfoldingNetwork]
    arguments: dict[str, int]
    about: str


_MODELS = {
    "dgunet_deblur": Model(DGUNet, {"width": 80, "growth": 48, "tail": 32}, "DGUNet for motion deblurring"),
    "dgunet_plus_deblur": Model(DGUNetPlus, {"width": 96, "growth": 48}, "DGUNet+ for motion deblurring"),
    "dgunet_derain": Model(DGUNet, {"width": 40, "growth": 20, "tail": 16}, "DGUNet for rain removal"),
    "dgunet_plus_derain": Model(DGUNetPlus, {"width": 40, "growth": 20}, "DGUNet+ for rain removal"),
    "dgunet_denoise": Model(DGUNet, {"width": 80, "growth": 48, "tail": 32}, "DGUNet for denoising"),
    "dgunet_plus_denoise": Model(DGUNetPlus, {"width": 80, "growth": 40}, "DGUNet+ for denoising"),
}


def list_models() -> list[str]:
    """Names of all networks, sorted."""
    return sorted(_MODELS)


def model_info(name: str) -> Model:
    """The registry's entry for ``name``; UnfoldError with the nearest name where there is none."""
    if name not in _MODELS:
        near = difflib.get_close_matches(name, _MODELS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(list_models())}"
        raise UnfoldError(f"no model is called {name!r}{hint}")
    return _MODELS[name]


def create_model(name: str, **overrides: Any) -> UnfoldingNetwork:
    """Build a network with fresh weights.

    overrides: constructor arguments in place of the published ones, e.g. ``create_model("dgunet_denoise", stages=4)``.
    Raises UnfoldError for an unknown name, argument or value.
    """
    model = model_info(name)
    known = list(inspect.signature(model.build).parameters)
    for argument in overrides:
        if argument not in known:
            raise UnfoldError(f"{name} takes no argument {argument!r}; it takes {', '.join(known)}")
    try:
        return model.build(**{**model.arguments, **overrides})
    except (ValueError, TypeError, RuntimeError) as error:
        raise UnfoldError(f"{name} cannot be built with {overrides}: {error}") from error
