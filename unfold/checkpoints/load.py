"""Weights into networks: all of them or none, with every difference told."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from unfold.checkpoints.read import Checkpoint, read_checkpoint
from unfold.checkpoints.recognise import recognise
from unfold.errors import UnfoldError
from unfold.models.registry import create_model
from unfold.models.unfolding import UnfoldingNetwork

logger = logging.getLogger("unfold")
SHOWN = 10  # keys per kind of difference


def load_state(net: UnfoldingNetwork, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy weights into a network; where they do not fit, UnfoldError that names the keys, with nothing copied.

    Tolerated, and told by the log: parameters that no computation uses may be missing (the network keeps its own) or be
    there without a place, and of parameters that the network shares under several names one is enough.
    """
    own = net.state_dict(keep_vars=True)
    state = dict(state)
    shared: dict[int, list[str]] = defaultdict(list)
    for key, value in own.items():
        shared[id(value)].append(key)
    filled = []
    for keys in shared.values():
        given = [key for key in keys if key in state]
        for key in keys if given else []:
            if key not in state:
                state[key] = state[given[-1]]
                filled.append(key)
    unused = [key for key in own if key not in state and re.fullmatch(net.unused_keys, key)]
    foreign = [key for key in state if key not in own and re.fullmatch(net.foreign_keys, key)]
    _refuse_differences(net, {key: v for key, v in own.items() if key not in unused}, state, foreign, path)
    for keys, what in (
        (unused, "unused parameters are missing"),
        (foreign, "parameters that no computation uses are left out"),
        (filled, "shared parameters stand under fewer names"),
    ):
        if keys:
            logger.info("note: %s: %d %s (%s%s)", path, len(keys), what, keys[0], ", ..." if len(keys) > 1 else "")
    net.load_state_dict(
        {**{key: own[key].detach() for key in unused}, **{key: state[key] for key in state if key in own}}
    )


def _refuse_differences(
    net: UnfoldingNetwork, own: Mapping[str, Tensor], state: Mapping[str, Tensor], foreign: list[str], path: str | Path
) -> None:
    missing = [key for key in own if key not in state]
    extra = [key for key in state if key not in net.state_dict() and key not in foreign]
    reshaped = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    parts = [
        f"{len(keys)} {what} ({', '.join(keys[:SHOWN])}{', ...' if len(keys) > SHOWN else ''})"
        for what, keys in (("missing", missing), ("unknown", extra), ("of another shape", reshaped))
        if keys
    ]
    if parts:
        found = recognise(state)
        looks = f"; the file looks like {' or '.join(found[0])} with {_words(found[1])}" if found else ""
        told = "; ".join(parts)
        raise UnfoldError(f"the weights in {path} do not fit this {type(net).__name__}: {told}{looks}")


def _words(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in arguments.items())


def load_model(path: str | Path, name: str | None = None, **overrides: Any) -> UnfoldingNetwork:
    """Build the network that a checkpoint file holds and load its weights, in eval mode on the CPU.

    The network is what the file says (files of this package do), or what its names and shapes tell: any width, number
    of stages of untied networks and sampling ratio. name: only where neither says it (NRL-GDN's three variants share
    one layout), or to insist; overrides: constructor arguments, as for :func:`unfold.create_model`. Raises UnfoldError
    for a file or name that does not fit.
    """
    checkpoint = read_checkpoint(path)
    name, arguments = identify(checkpoint, path, name)
    net = create_model(name, **{**arguments, **overrides})
    load_state(net, checkpoint.state, path)
    return net.eval()


def identify(checkpoint: Checkpoint, path: str | Path, name: str | None = None) -> tuple[str, dict[str, Any]]:
    """Name and constructor arguments of the network in a checkpoint; ``name`` decides where it could be several."""
    if checkpoint.model is not None and name in (None, checkpoint.model[0]):
        return checkpoint.model
    found = recognise(checkpoint.state)
    if name is None:
        name = _only_name(found, path)
    return name, found[1] if found is not None and name in found[0] else {}


def _only_name(found: tuple[list[str], dict[str, Any]] | None, path: str | Path) -> str:
    if found is None:
        raise UnfoldError(f"{path} holds no network that is known here; give name= (see `unfold models`)")
    names, _ = found
    if names[0] == "nrl_gdn":
        raise UnfoldError(f"{path} fits {', '.join(names)}, which share one layout: give name= to say which it is")
    return names[0]
