"""Weights out: safetensors that say what they are, or the layout of the authors' code."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

import unfold
from unfold.checkpoints.load import identify, load_state
from unfold.checkpoints.read import read_checkpoint
from unfold.errors import UnfoldError
from unfold.models.registry import create_model


def convert(source: Path, target: Path, name: str | None = None, *, official: bool = False) -> str:
    """Write the network that ``source`` holds to ``target``; returns a line that says what was written.

    A .safetensors target carries name and arguments of the network, SHA-256 of the source, date and version, and loads
    without a name. official: a .pth target as the authors' code reads it. Never overwrites. Raises UnfoldError.
    """
    wanted = ".pth" if official else ".safetensors"
    if target.suffix != wanted:
        raise UnfoldError(f"{target}: the target is a {wanted} file {'with' if official else 'without'} --official")
    if target.exists():
        raise UnfoldError(f"{target} exists already and is not overwritten")
    checkpoint = read_checkpoint(source)
    name, arguments = identify(checkpoint, source, name)
    net = create_model(name, **arguments)
    load_state(net, checkpoint.state, source)
    # Copies: parameters that are shared stand under several names, in full.
    state = {key: value.detach().clone().contiguous() for key, value in net.state_dict().items()}
    if official:
        content = official_layout(name, state)
        _write(target, lambda path: torch.save(content, path))
    else:
        about = {
            "model": json.dumps({"name": name, "arguments": arguments}),
            "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
            "date": datetime.date.today().isoformat(),
            "unfold": unfold.__version__,
        }
        _write(target, lambda path: save_file(state, path, metadata=about))
    told = f" with {', '.join(f'{key} {value}' for key, value in arguments.items())}" if arguments else ""
    return f"{target}: {name}{told}, {len(state)} entries"


def official_layout(name: str, state: dict[str, Tensor]) -> dict[str, Any]:
    """What the published code of that network loads: DGUNet wraps its state dict; NRL-GDN and compressive sensing save
    from DataParallel, with its prefix; USRNet saves it bare."""
    if name.startswith(("nrl_gdn", "rgdn")) or name.endswith("_cs"):
        return {f"module.{key}": value for key, value in state.items()}
    return {"state_dict": state} if name.startswith("dgunet") else dict(state)


def _write(target: Path, write: Callable[[Path], None]) -> None:
    """Under a temporary name first: a reader sees the whole file or none."""
    temporary = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
