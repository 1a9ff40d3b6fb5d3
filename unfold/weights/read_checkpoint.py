"""Read checkpoint files of all common layouts: only tensors and plain values, complete or not at all."""

from __future__ import annotations

import hashlib
import json
import pickle
import textwrap
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.models.unfolding import UnfoldingNetwork
from unfold.weights.find_network import choose_network, outline, without_prefixes
from unfold.weights.inert_types import inert
from unfold.weights.refused_files import (
    instead_of_weights,
    names_all_arrays,
    numpy_archive,
    saving,
    torchscript,
    why_refused,
)

LONGEST_NAME = 200


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    state: names and tensors on the CPU, without prefixes; model: name and arguments of the network where the file has
    them; content: other entries of a file of this package; outline: for a file with other things, what they are and how
    to save the weights alone, used in messages about unknown networks.
    """

    state: dict[str, Tensor]
    model: tuple[str, dict[str, Any]] | None = None
    content: dict[str, Any] = field(default_factory=dict)
    outline: str = ""


def read_checkpoint(
    path: str | Path,
    key: str | None = None,
    *,
    name: str | None = None,
    like: Callable[[], UnfoldingNetwork] | None = None,
) -> Checkpoint:
    """Read a .safetensors file, or a torch file of the zip or the legacy format, with any name.

    Its network may be under any keys, with any prefix of its names: it is found by names and shapes. Among copies the
    moving average is taken, and logged. key: which of several networks, by its keys and prefixes joined by dots; name:
    of the wanted network; like: makes a network on the meta device, for one that is not known by name. A torch file is
    read with weights_only=True: types that other trainers save beside weights (:mod:`unfold.weights.inert_types`)
    become stand-ins, a file with other types is refused, and no code in it runs.
    Zip files must pass their checksums and contain nothing compressed, safetensors of this package must match their
    digest. The legacy format and other safetensors have no checksum, so a flipped bit inside a number is not detected
    there. Raises UnfoldError for a file that is missing, damaged or not a checkpoint, and where several networks are in
    it.
    """
    path = Path(path)
    if not path.is_file():
        raise UnfoldError(f"there is no weights file {path}")
    try:
        if why := instead_of_weights(path):
            raise UnfoldError(why)
        content, about = _safetensors(path) if _is_safetensors(path) else (_torch(path), None)
    except OSError as error:
        raise UnfoldError(f"{path} cannot be read: {error.strerror or error}") from None
    if about is not None:
        place, state = choose_network(content, path, key, name, like)
        return Checkpoint(_checked(state, path), _model(about.get("model")), about)
    if not isinstance(content, Mapping | list | tuple):
        raise UnfoldError(f"{path} holds a {type(content).__name__}, and a checkpoint is a dict of tensors")
    top: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
    model = _model(top.get("model"))
    if key is None and model is not None and _is_state(top.get("state_dict")):  # a file of this package
        ours = top["state_dict"]
        place, state = "state_dict", ours if "digest" in top else without_prefixes(ours)
    else:
        place, state = choose_network(content, path, key, name, like)
    rest = {str(k): value for k, value in top.items() if place != k and not place.startswith(f"{k}.")}
    return Checkpoint(_checked(state, path), model, rest if place else {}, outline(content, path, place))


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and numbers."""
    total = hashlib.sha256()
    for key in sorted(state):
        value = state[key].contiguous()
        total.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _is_safetensors(path: Path) -> bool:
    """Decide by the first bytes, or else by the file name."""
    with path.open("rb") as file:
        head = file.read(9)
    if head.startswith(b"PK\x03\x04"):
        return False
    begins = head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size
    return begins or path.suffix.lower() == ".safetensors"


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Names and tensors, and the file's metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
            about = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise UnfoldError(f"{path} is damaged or no safetensors file ({_brief(error)})") from None
    if "digest" in about and about["digest"] != digest(state):
        raise UnfoldError(f"{path} is damaged: its numbers are not those that were written")
    return state, {key: _decoded(value) for key, value in about.items()}


def _decoded(text: str) -> Any:
    """Decode JSON metadata of this package; other metadata stays text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _torch(path: Path) -> Any:
    try:
        _check_zip(path)
        with path.open("rb") as file, warnings.catch_warnings(), inert():
            # Such files are refused, or loaded like any other.
            warnings.filterwarnings("ignore", message="Detected pickle protocol|Validating sparse tensor")
            return _without_attributes(torch.load(file, map_location="cpu", weights_only=True))
    except UnfoldError:
        raise
    except pickle.UnpicklingError:
        # Not torch's own message, which advises loading the file unsafely.
        raise UnfoldError(why_refused(path)) from None
    except Exception as error:  # damaged files raise almost any error: AssertionError, TypeError, KeyError, ...
        raise UnfoldError(f"{path} is damaged or no checkpoint ({_brief(error)})") from None


def _without_attributes(content: Any) -> Any:
    """The content without attributes that a file sets on its dicts and tensors: they may shadow methods."""
    waiting, seen = [content], {id(content)}
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping | Tensor) and hasattr(value, "__dict__"):
            vars(value).clear()
        if isinstance(value, Mapping | list | tuple):
            inner = value.values() if isinstance(value, Mapping) else value
            fresh = [one for one in inner if isinstance(one, Mapping | list | tuple | Tensor) and id(one) not in seen]
            seen.update(map(id, fresh))
            waiting += fresh
    return content


def _check_zip(path: Path) -> None:
    """Check a zip file: torch checks no checksums, and would inflate a small file to any size."""
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
        names = {member.filename.partition("/")[2] for member in members}
        if "constants.pkl" in names and any(name.startswith("code/") for name in names):
            raise UnfoldError(torchscript(path))
        if names_all_arrays(archive):
            raise UnfoldError(numpy_archive(path))
        if not any("/" in member.filename for member in members):
            raise UnfoldError(f"{path} is a zip file with {members[0].filename}: unpack it first")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed, which torch's files are not")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("its parts are larger than the file")
        if (bad := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its part {bad!r} is wrong")


def _is_state(content: Any) -> bool:
    given = isinstance(content, Mapping) and bool(content)
    return given and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())


def _brief(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, EOFError):
        words = "it ends too early"
    return textwrap.shorten("".join(c if c.isprintable() else "?" for c in words), 160)


def _checked(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    for key, value in state.items():
        if len(key) > LONGEST_NAME or not key.isprintable():
            raise UnfoldError(f"{path} holds a parameter with an impossible name, {key[:40]!r}")
        if value.is_meta:
            raise UnfoldError(f"{path}: {key} is no plain tensor: it was saved from the device meta, without numbers")
        if value.layout != torch.strided or value.is_quantized:
            kind, call = ("quantized", "dequantize") if value.is_quantized else ("sparse", "to_dense")
            lines = saving(path, "torch.load({0})", f"{{k: v.{call}() for k, v in content.items()}}")
            raise UnfoldError(
                f"{path}: {key} is no plain tensor: it is {kind}; save all as dense ones, in Python: {lines}"
            )
        plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not plain or value.untyped_storage().nbytes() < value.numel() * value.element_size():
            raise UnfoldError(f"{path}: {key} is no plain tensor")
    return dict(state)


def _model(record: Any) -> tuple[str, dict[str, Any]] | None:
    """(name, arguments) from a record of this package; None for anything else."""
    if not isinstance(record, Mapping) or not isinstance(record.get("arguments"), Mapping):
        return None
    name, arguments = record.get("name"), dict(record["arguments"])
    if not isinstance(name, str) or not all(isinstance(key, str) for key in arguments):
        return None
    return name, arguments
