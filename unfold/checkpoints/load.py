"""Reading weights: never anything but tensors and plain values, never half of them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.models.registry import create_model
from unfold.models.unfolding import UnfoldingNetwork

SHOWN = 3  # keys per kind of difference


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file as a dict with at least "state_dict", on the CPU.

    Takes what this package writes, and a bare or wrapped state dict. Files that hold anything but tensors and plain
    values are refused, and nothing in them runs. Raises UnfoldError for a file that is missing, damaged or no
    checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise UnfoldError(f"there is no weights file {path}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # loaded or refused, as any other
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # Not torch's own words, which advise to load it all the same.
        raise UnfoldError(f"{path} is no checkpoint, or holds more than weights: code in a file is never run") from None
    except Exception as error:  # damaged files raise nearly anything: AssertionError, TypeError, KeyError, ...
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnfoldError(f"{path} is damaged or no checkpoint ({reason})") from None
    if not isinstance(content, Mapping):
        raise UnfoldError(f"{path} holds a {type(content).__name__}, and a checkpoint is a dict of tensors")
    checkpoint = dict(content) if "state_dict" in content else {"state_dict": content}
    state = checkpoint["state_dict"]
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise UnfoldError(f"{path} holds no state dict (names and tensors)")
    checkpoint["state_dict"] = {str(key).removeprefix("module."): value for key, value in state.items()}
    return checkpoint


def load_state(net: UnfoldingNetwork, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy weights into a network; UnfoldError that names the keys where they do not fit, with nothing copied."""
    own = net.state_dict()
    missing = [key for key in own if key not in state]
    extra = [key for key in state if key not in own]
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
        raise UnfoldError(f"the weights in {path} do not fit this {type(net).__name__}: {'; '.join(parts)}")
    net.load_state_dict(dict(state))


def load_model(path: str | Path, name: str | None = None, **overrides: Any) -> UnfoldingNetwork:
    """Build the network that a checkpoint file holds and load its weights, in eval mode on the CPU.

    name, overrides: model and constructor arguments, as for :func:`unfold.create_model`; only needed where the file
    does not say them (this package's checkpoints do). Raises UnfoldError for a file or name that does not fit.
    """
    checkpoint = read_checkpoint(path)
    if name is None:
        told = checkpoint.get("model")
        if not isinstance(told, Mapping) or not isinstance(told.get("arguments"), Mapping):
            raise UnfoldError(f"{path} does not say which network it holds; give name= (see `unfold models`)")
        name, overrides = str(told.get("name")), {**told["arguments"], **overrides}
    net = create_model(name, **overrides)
    load_state(net, checkpoint["state_dict"], path)
    return net.eval()
