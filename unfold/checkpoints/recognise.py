"""Telling a network from the names and shapes of its parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unfold.models.registry import model_info

State = Mapping[str, Tensor]
PUBLISHED_RATIOS = (1, 4, 10, 25, 30, 40, 50)


def recognise(state: State) -> tuple[list[str], dict[str, Any]] | None:
    """The registry's names that the state dict fits, and the constructor arguments its shapes tell; None if no network.

    Several names are the same network (dgunet_deblur and dgunet_denoise), or, for NRL-GDN, different networks that
    share one layout. Any width is recognised: then the names are those of its family.
    """
    for marker, family in (
        ("basic.phi_1.body.0.weight", _dgunet),
        ("shallow_feat2.0.weight", _dgunet_plus),
        ("Phi", _dgunet_cs),
        ("h.mlp.0.weight", _usrnet),
        ("d_alpha.main.0.weight", _nrl_gdn),
    ):
        if marker in state:
            try:
                names, arguments = family(state)
            except (KeyError, IndexError, ValueError, ZeroDivisionError):  # names of it, and other shapes
                return None
            return _published(names, arguments), arguments
    return None


def _published(names: list[str], arguments: dict[str, Any]) -> list[str]:
    """Those of the names whose published arguments these are, or all of them."""
    return [name for name in names if arguments.items() <= model_info(name).full_arguments().items()] or names


def _widths_of_dgunet(state: State) -> dict[str, Any]:
    width = state["shallow_feat1.0.weight"].shape[0]
    return {"width": width, "growth": state["stage1_encoder.body.0.conv_1.weight"].shape[0] - width}


def _dgunet(state: State) -> tuple[list[str], dict[str, Any]]:
    arguments = _widths_of_dgunet(state)
    arguments["tail"] = state["concat67.weight"].shape[0] - arguments["width"]
    arguments["operator_width"] = state["phi_0.body.0.weight"].shape[0]
    return ["dgunet_deblur", "dgunet_denoise", "dgunet_derain"], arguments


def _dgunet_plus(state: State) -> tuple[list[str], dict[str, Any]]:
    stages = sum(re.fullmatch(r"r\d+", key) is not None for key in state)
    operator_width = state["phi_0.body.0.weight"].shape[0]
    names = ["dgunet_plus_deblur", "dgunet_plus_denoise", "dgunet_plus_derain"]
    return names, {**_widths_of_dgunet(state), "stages": stages, "operator_width": operator_width}


def _dgunet_cs(state: State) -> tuple[list[str], dict[str, Any]]:
    arguments = _widths_of_dgunet(state)
    measurements, pixels = state["Phi"].shape
    ratio = next((r for r in PUBLISHED_RATIOS if -(-r * pixels // 100) == measurements), 100 * measurements / pixels)
    arguments |= {"ratio": ratio, "tail": state["concat_final.weight"].shape[0] - arguments["width"]}
    if "stage_model.r" in state:
        return ["dgunet_cs"], arguments
    return ["dgunet_plus_cs"], {**arguments, "stages": 2 + sum(key.endswith(".r") for key in state)}


def _resunet(state: State, prefix: str) -> dict[str, Any]:
    depth = sum(key.startswith(f"{prefix}.m_body.") and key.endswith(".res.0.weight") for key in state)
    down = [state[f"{prefix}.m_down{i}.{depth}.weight"].shape[0] for i in (1, 2, 3)]
    return {"widths": (state[f"{prefix}.m_head.weight"].shape[0], *down), "depth": depth}


def _usrnet(state: State) -> tuple[list[str], dict[str, Any]]:
    hyper = {"stages": state["h.mlp.4.bias"].shape[0] // 2, "hyper_width": state["h.mlp.0.weight"].shape[0]}
    return ["usrnet", "usrnet_tiny"], {**_resunet(state, "p"), **hyper}


def _nrl_gdn(state: State) -> tuple[list[str], dict[str, Any]]:
    width = state["d_alpha.main.0.weight"].shape[0]
    return ["nrl_gdn", "nrl_gdn_y0", "rgdn_uniform"], {**_resunet(state, "r"), "width": width}
