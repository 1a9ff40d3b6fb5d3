"""Reading checkpoint files of any layout in use: tensors and plain values only, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import pickle
import textwrap
import warnings
import zipfile
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
LONGEST_NAME = 200


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
    weights_only=True: one that holds more than tensors and plain values is refused, and nothing in it runs. Zip files
    must pass their checksums and hold nothing compressed, safetensors of this package their digest; the legacy format
    and other safetensors have none, so that a flipped bit inside a number cannot be seen there. Raises UnfoldError for
    a file that is missing, damaged or no checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise UnfoldError(f"there is no weights file {path}")
    return _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and numbers."""
    total = hashlib.sha256()
    for key in sorted(state):
        value = state[key].contiguous()
        total.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
            about = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise UnfoldError(f"{path} is damaged or no safetensors file ({_brief(error)})") from None
    named = _named(state, path)
    if "digest" in about and about["digest"] != digest(named):
        raise UnfoldError(f"{path} is damaged: its numbers are not those that were written")
    content = {key: _decoded(value) for key, value in about.items()}
    return Checkpoint(named, _model(content.get("model")), content)


def _decoded(text: str) -> Any:
    """What this package writes as JSON; what others write stays text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _read_torch(path: Path) -> Checkpoint:
    try:
        _check_zip(path)
        with warnings.catch_warnings():
            # Such files are refused, or loaded as any other.
            warnings.filterwarnings("ignore", message="Detected pickle protocol|Validating sparse tensor")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # Not torch's own words, which advise to load it all the same.
        raise UnfoldError(f"{path} is no checkpoint, or holds more than weights: code in a file is never run") from None
    except Exception as error:  # damaged files raise nearly anything: AssertionError, TypeError, KeyError, ...
        raise UnfoldError(f"{path} is damaged or no checkpoint ({_brief(error)})") from None
    if not isinstance(content, Mapping):
        raise UnfoldError(f"{path} holds a {type(content).__name__}, and a checkpoint is a dict of tensors")
    wrapper = next((key for key in WRAPPERS if _has_tensors(content.get(key))), None)
    state = content if wrapper is None else content[wrapper]
    rest = {} if wrapper is None else {str(key): value for key, value in content.items() if key != wrapper}
    return Checkpoint(_named(state, path), _model(rest.get("model")), rest)


def _check_zip(path: Path) -> None:
    """torch looks at no checksum, and would inflate a small file to any size."""
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise ValueError("it is empty")
    if not zipfile.is_zipfile(path):
        if head.startswith(b"PK"):
            raise ValueError("its end is missing")
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed, which torch's files are not")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("its parts are larger than the file")
        if (bad := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its part {bad!r} is wrong")


def _has_tensors(content: Any) -> bool:
    return isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values())


def _brief(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, EOFError):
        words = "it ends too early"
    return textwrap.shorten("".join(c if c.isprintable() else "?" for c in words), 160)


def _named(state: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    if not state or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise UnfoldError(f"{path} holds no state dict (names and tensors)")
    for key, value in state.items():
        if len(key) > LONGEST_NAME or not key.isprintable():
            raise UnfoldError(f"{path} holds a parameter with an impossible name, {key[:40]!r}")
        plain = value.layout == torch.strided and value.device.type == "cpu" and value.is_floating_point()
        if not plain or value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise UnfoldError(f"{path}: {key} is no plain tensor of floating-point numbers")
    named = dict(state)
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in named)), None):
        named = {key.removeprefix(prefix): value for key, value in named.items()}
    return named


def _model(told: Any) -> tuple[str, dict[str, Any]] | None:
    """(name, arguments) where a file says them, as this package's do; anything else is not ours and does not count."""
    if not isinstance(told, Mapping) or not isinstance(told.get("arguments"), Mapping):
        return None
    name, arguments = told.get("name"), dict(told["arguments"])
    if not isinstance(name, str) or not all(isinstance(key, str) for key in arguments):
        return None
    return name, arguments
