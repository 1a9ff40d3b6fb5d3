"""Convert weights: to self-describing safetensors, or to the layout of the authors' code."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save

import unfold
from unfold.errors import UnfoldError
from unfold.models.registry import network_part, skeleton
from unfold.registry import short
from unfold.util.atomic_files import whole_file
from unfold.util.download import sha256_of
from unfold.weights.load_model import fitted, identify, in_words, model_record, open_weights
from unfold.weights.read_checkpoint import digest


def convert(
    source: str | Path, target: Path, name: str | None = None, *, key: str | None = None, official: bool = False
) -> str:
    """Write the network of ``source`` to ``target``; returns a one-line report.

    source: a file, or the name of published weights; key: which of several networks in it. A .safetensors target stores
    name and arguments of the network, SHA-256 of the source, date and version, and loads without a name. official:
    write a .pth target for the authors' code. Never overwrites. Raises UnfoldError.
    """
    wanted = ".pth" if official else ".safetensors"
    if target.suffix != wanted:
        raise UnfoldError(f"{target}: the target is a {wanted} file {'with' if official else 'without'} --official")
    if target.exists():
        raise UnfoldError(f"{target} exists already and is not overwritten")
    path, checkpoint, name = open_weights(source, name, key)
    name, arguments = identify(checkpoint, path, name)
    net = skeleton(name, arguments)
    # Copies: shared parameters are stored under several names, each in full.
    state = {key: value.clone().contiguous() for key, value in fitted(net, checkpoint.state, path).items()}
    part = network_part(name)
    options = checkpoint.model[1] if checkpoint.model else {}
    # Digests of the files that the weights need, as in training; unknown for others' weights.
    beside = {key: options.get(key) if checkpoint.model else {"sha256": None} for key in part.files()}
    beside = {key: value if isinstance(value, Mapping) else {"sha256": None} for key, value in beside.items() if value}
    about = {
        "model": json.dumps(model_record(part, {**arguments, **beside})),
        "protocol": json.dumps(checkpoint.content.get("protocol") if checkpoint.model else None, default=str),
        "digest": digest(state),
        "source_sha256": sha256_of(path),
        "date": datetime.date.today().isoformat(),
        "unfold": unfold.__version__,
    }
    try:
        with whole_file(target) as file:
            if official:
                # The authors' code runs on torch 1.1 to 1.7, which cannot read the zip format.
                torch.save(net.official_layout(state), file, _use_new_zipfile_serialization=False)
            else:
                file.write(save(state, metadata=about))
    except (RuntimeError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UnfoldError(f"{target} cannot be written: {reason}") from None
    words = f" with {in_words(arguments)}" if arguments else ""
    return f"{target}: {short(name)}{words}, {len(state)} entries"
