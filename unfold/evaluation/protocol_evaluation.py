"""`unfold test --protocol`: a published evaluation of a network or a baseline, as a table, JSON and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

import unfold
from unfold.data.images import EXTENSIONS, check_images
from unfold.errors import UnfoldError, nearest_or_all
from unfold.evaluation.methods import BASELINES, baseline
from unfold.evaluation.run_protocol import Result, evaluate
from unfold.models.number_of_stages import with_stages
from unfold.models.registry import list_models, network_part
from unfold.models.run_on_arrays import Method, network
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.protocol import Case, Protocol
from unfold.registry import short
from unfold.report.numbers import finite
from unfold.user_files import their_errors
from unfold.util.atomic_files import make_folder, whole_file
from unfold.util.device import pick_device, place
from unfold.util.download import sha256_of
from unfold.util.matrix_files import digest_beside
from unfold.weights.load_model import load_named


def run_protocol(
    text: str,
    source: str,
    weights: str | None,
    model: str | None,
    *,
    key: str | None = None,
    output: Path | None = None,
    json_file: Path | None = None,
    device: str = "auto",
    stages: int | None = None,
    files: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Evaluate by the protocol ``text`` on the images ``source``; returns a table as text.

    weights, model: a network's weights (file or published name) and, where they do not name it, the network's name; or
    no weights and the name of a baseline. key: which of several networks in the file. output: folder for the restored
    pictures; json_file: for the numbers, one object per image and the means. stages: another number of them than the
    stages: run another number of stages, see :func:`unfold.models.number_of_stages.with_stages`; files: files that the
    weights need besides, by the network's options. Raises UnfoldError for bad input.
    """
    protocol = parse_protocol(text)
    if not protocol.scored and output is None:
        raise UnfoldError(f"{protocol.name} has no reference: give --output, the folder for the pictures")
    with their_errors(f"the protocol {protocol.name}"):
        cases = protocol.cases(source)
    _prepare_places(cases, output, json_file)
    method, about = _method(protocol, weights, model, key, pick_device(device), stages, files)
    check_images(
        [path for case in cases for path in case.files if path.suffix.lower() in EXTENSIONS], 1, protocol.bands
    )
    rows: list[Result] = []

    def write(**more: Any) -> None:
        if json_file is not None and rows:
            content = {"protocol": _named(protocol), "data": source, **about, **more, **_numbers(rows)}
            with whole_file(json_file) as file:
                file.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    try:
        with ExitStack() as stack:
            save = None if output is None else stack.enter_context(protocol.saving(output, cases))
            for result in evaluate(protocol, method, cases):
                if save is not None:
                    save(result.image, result.case)
                rows.append(result._replace(image=np.empty(0)))  # keep the numbers, not the pictures
    except (UnfoldError, OSError, KeyboardInterrupt) as error:
        write(stopped=f"{str(error) or 'interrupted'}; {len(rows)} of {len(cases)} images are done")
        raise
    write()
    options = ", ".join(f"{key} {value}" for key, value in protocol.options().items())
    title = f"{protocol.name} (version {protocol.version}{options and '; '}{options}) on {source}: {about['model']}"
    title += f", {Path(about['weights']['file']).name}" if "weights" in about else ""
    title += "" if stages is None else f", {stages} stage{'s' if stages > 1 else ''}"
    return f"{title}\n{format_results(rows)}"


def _prepare_places(cases: Sequence[Case], output: Path | None, json_file: Path | None) -> None:
    """Make the folders, before any work. UnfoldError if existing files would be lost, or nothing can be written."""
    if output is not None:
        if output.resolve() in {path.parent.resolve() for case in cases for path in case.files}:
            raise UnfoldError(f"--output {output} is the folder of the images themselves, which would be lost")
        make_folder(output)
    if json_file is not None:
        if not json_file.name or (json_file.exists() and not json_file.is_file()) or json_file == output:
            raise UnfoldError(f"--json {json_file or ''} cannot be the name of a file: give another")
        make_folder(json_file.parent)


def _method(
    protocol: Protocol,
    weights: str | None,
    model: str | None,
    key: str | None,
    device: torch.device,
    stages: int | None,
    files: Mapping[str, str],
) -> tuple[Method, dict[str, Any]]:
    about = {"unfold": unfold.__version__, "torch": torch.__version__, "device": str(device)}
    if weights is None and key is not None:
        raise UnfoldError("--key chooses a network in a weights file: give --weights, too")
    if weights is None and stages is not None:
        raise UnfoldError("--stages is for networks: give --weights, too")
    if weights is None and files:
        raise UnfoldError("--input is for networks: give --weights, too")
    if model in BASELINES:
        if weights is not None:
            raise UnfoldError(f"{model} is a baseline, which has no weights: leave --weights or --model out")
        return baseline(model, protocol), {"model": model, **about}
    if weights is None and model in list_models():
        raise UnfoldError(f"{model} is a network, which needs --weights")
    if weights is None:
        typo = f"{model} is no baseline, {nearest_or_all(model, BASELINES)}" if model else ""
        raise UnfoldError(typo or f"give --weights, or --model with one of the baselines {', '.join(BASELINES)}")
    name, path, net = load_named(weights, model, key=key, files=files)
    if unknown := sorted(set(files) - set(network_part(name).files())):
        raise UnfoldError(f"--input {unknown[0]} names no file that {short(name)} needs beside its weights")
    names = set(net.required)
    if not names <= set(protocol.inputs):
        raise UnfoldError(
            f"{short(name)} takes {', '.join(sorted(names))}, and {protocol.name} gives "
            f"{', '.join(sorted(protocol.inputs))}"
        )
    protocol.fit(net)
    description = {
        "model": short(name),
        "weights": {"file": str(path), "sha256": sha256_of(path), **({} if key is None else {"key": key})},
        **({"beside": {name: digest_beside(file) for name, file in files.items()}} if files else {}),
        **about,
    }
    if stages is None:
        return network(place(net, device), device), description
    net, count = with_stages(net, stages)
    return network(place(net, device), device, count), {**description, "stages": stages}


def _named(protocol: Protocol) -> dict[str, object]:
    return {"name": protocol.name, "version": protocol.version, "options": protocol.options()}


def mean_of(rows: list[Result]) -> dict[str, float]:
    """Mean of every score over the cases."""
    return {key: float(np.mean([row.scores[key] for row in rows])) for key in rows[0].scores}


def _numbers(rows: list[Result]) -> dict[str, object]:
    def plain(scores: dict[str, float]) -> dict[str, float | None]:
        return {key: finite(value) for key, value in scores.items()}

    images = [
        {"image": row.case.name, "options": row.case.options, **plain(row.scores), "seconds": row.seconds}
        for row in rows
    ]
    return {"images": images, "mean": plain(mean_of(rows)), "median_seconds": median_seconds(rows)}


def median_seconds(rows: list[Result]) -> float:
    """The median, not the mean: the first case takes longer, as libraries load and devices warm up."""
    return float(np.median([row.seconds for row in rows]))


def format_results(rows: list[Result]) -> str:
    """A line per case, the mean (PSNR with three digits, SSIM with four), and the median time."""
    wide = max(len(name) for name in [*(row.case.name for row in rows), "image"])
    keys = [*rows[0].scores, "seconds"]

    def line(name: str, values: dict[str, float]) -> str:
        cells = [f"{values[key]:8.{4 if key.startswith('ssim') else 3}f}" for key in keys if key in values]
        return f"{name:{wide}}  " + "  ".join(cells)

    head = f"{'image':{wide}}  " + "  ".join(f"{key:>8}" for key in keys)
    lines = [line(row.case.name, {**row.scores, "seconds": row.seconds}) for row in rows]
    mean = [line("mean", mean_of(rows))] if rows[0].scores else []
    return "\n".join([head, *lines, *mean, f"median time {median_seconds(rows):.3f} s"])
