"""Reading checkpoint files of any layout in use: tensors and plain values only, whole or not at all."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from unfold.errors import UnfoldError

WRAPPERS = ("state_dict", "params_ema", "params", "net")  # under which key a file may hold its state dict
PREFIXES = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every name


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    state: names and tensors on the CPU, without prefixes; model: name and arguments of the network where the file says
    them; content: what else a file of this package holds.
    """

    state: dict[str, Tensor]
    model: tuple[str, dict[str, Any]] | None = None
    content: dict[str, Any] = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a .safetensors file, or a torch file of the zip or the legacy format.

    Its state dict may be bare or below one of WRAPPERS, its names may have PREFIXES. A torch file is read with
    weights_only=True: one that holds more than tensors and plain values is refused, and nothing in it runs. Raises
    UnfoldError for a file that is missing, damaged or no checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise UnfoldError(f"there is no weights file {path}")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
            about = dict(file.metadata() or {})
        model = json.loads(about["model"]) if "model" in about else None
    except (SafetensorError, OSError, ValueError) as error:
        raise UnfoldError(f"{path} is damaged or no safetensors file ({error})") from None
    return Checkpoint(_named(state, path), _model(model), about)


def _read_torch(path: Path) -> Checkpoint:
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
    wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
    state = content if wrapper is None else content[wrapper]
    rest = {} if wrapper is None else {str(key): value for key, value in content.items() if key != wrapper}
    return Checkpoint(_named(state, path), _model(rest.get("model")), rest)


def _named(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    if not state or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise UnfoldError(f"{path} holds no state dict (names and tensors)")
    named = dict(state)
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in named)), None):
        named = {key.removeprefix(prefix): value for key, value in named.items()}
    return named


def _model(told: Any) -> tuple[str, dict[str, Any]] | None:
    """(name, arguments) where a file says them, as this package's do."""
    if not isinstance(told, Mapping) or not isinstance(told.get("arguments"), Mapping):
        return None
    return str(told.get("name")), dict(told["arguments"])
