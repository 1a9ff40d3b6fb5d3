"""`unfold bench MODEL`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from unfold.bench.bench import check_size, run_bench
from unfold.bench.bench_table import format_bench, format_rates
from unfold.bench.sample_loading import rates
from unfold.bench.variants import Mode
from unfold.errors import UnfoldError
from unfold.report.provenance import provenance
from unfold.util.atomic_files import whole_file
from unfold.util.device import pick_device


def measure(
    model: str,
    mode: Mode,
    *,
    size: tuple[int, int],
    batch: int,
    ways: list[str] | None,
    seconds: float,
    device: str,
    json_file: Path | None,
) -> str:
    """Measure, write the JSON file where one is wanted, and return the table. UnfoldError for bad arguments."""
    if json_file is not None and (json_file.is_dir() or not json_file.resolve().parent.is_dir()):
        what = "it is a folder" if json_file.is_dir() else f"there is no folder {json_file.parent}"
        raise UnfoldError(f"--json {json_file}: {what}")
    if mode == "data":
        if size[0] != size[1] or ways:
            raise UnfoldError("--mode data takes square patches, --size N N, and no --ways")
        check_size(model, size, batch, seconds)
        where = pick_device(device)
        found = rates(model, size[0], batch, seconds, where)
        text = format_rates(model, size[0], batch, found)
        content = {"model": model, "mode": mode, "patch": size[0], "batch": batch, "provenance": provenance(where)}
        content |= {"threads": torch.get_num_threads(), "rates": [asdict(rate) for rate in found]}
    else:
        bench = run_bench(model, mode=mode, size=size, batch=batch, only=ways, seconds=seconds, device=device)
        text, content = format_bench(bench), bench.as_json()
    if json_file is not None:
        with whole_file(json_file) as file:
            file.write(json.dumps(content, indent=1).encode() + b"\n")
    return text
