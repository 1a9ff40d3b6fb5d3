"""The speed of a network in several ways of running it, against the machine's limit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from unfold.bench.roofline import alone, dominant
from unfold.bench.timing import Times, peak, take_turns
from unfold.bench.variants import (
    PLAIN,
    Mode,
    Way,
    computed,
    forward,
    least_side,
    prepared,
    random_inputs,
    training_step,
    ways_of,
    why_not,
)
from unfold.errors import UnfoldError, out_of_memory, reason_of
from unfold.models.registry import built, network_part, skeleton
from unfold.report.models_list import count_gmac, count_parameters
from unfold.report.provenance import provenance
from unfold.util.device import pick_device
from unfold.util.progress import progress

logger = logging.getLogger("unfold")
EQUAL = 1e-5  # estimates in [0,1] that differ by no more count as equal


@dataclass
class Row:
    """The result of one way. outcome: "" or why it failed; difference: largest difference of the result to the plain
    way's; teraflops: TFLOP/s; of_ceiling: their share of what the isolated convolution reaches.
    """

    way: str
    outcome: str = ""
    times: Times | None = None
    peak: int | None = None
    difference: float | None = None
    teraflops: float | None = None
    of_ceiling: float | None = None


@dataclass
class Bench:
    """All results: the setting, a row per way, the ceilings in TFLOP/s by precision."""

    model: str
    mode: Mode
    size: tuple[int, int]
    batch: int
    parameters: int
    gmac: float
    ceiling_of: str
    ceiling_share: float
    ceilings: dict[str, float]
    rows: list[Row]
    provenance: dict[str, Any]
    threads: int

    def as_json(self) -> dict[str, Any]:
        content = asdict(self)
        for row, own in zip(content["rows"], self.rows, strict=True):
            row["times"] = own.times._asdict() if own.times else None
        return content


def run_bench(
    name: str,
    *,
    mode: Mode = "infer",
    size: tuple[int, int] = (256, 256),
    batch: int = 1,
    only: list[str] | None = None,
    seconds: float = 60.0,
    device: str = "auto",
    **overrides: Any,
) -> Bench:
    """Measure a published network with fresh weights. only: names of ways, besides the plain one.

    seconds: total time in which ways take turns, at least three rounds. UnfoldError if the network, the size or a
    way is not available.
    """
    where = pick_device(device)
    torch.manual_seed(0)
    net = built(network_part(name), overrides)
    check_size(name, size, batch, seconds)
    given = random_inputs(net, batch, *size, where)
    ways = _chosen(ways_of(mode, where), only)
    build = training_step if mode == "train" else forward
    runs, rows, plain = {}, {way.name: Row(way.name, why_not(way, net, given)) for way in ways}, None
    for way in progress([way for way in ways if not rows[way.name].outcome], "first runs", "way"):
        row = rows[way.name]
        try:
            run = build(prepared(net, way, where), way, given)
            result = run()  # compiles, and allocates workspaces
            row.peak = peak(run, where)
        except Exception as error:  # a compiler or a device may raise any error
            row.outcome = _reason(error)
            continue
        plain = result if way == PLAIN else plain
        if mode == "infer" and plain is not None:
            expected = plain.clamp(0, 1) if way.tiled else plain  # unfold.restore clamps
            row.difference = float((result.cpu().float() - expected.cpu().float()).abs().max())
        runs[way.name] = run

    bare = skeleton(name, overrides).train()
    with torch.device("meta"):
        meta = {key: value.to("meta") if isinstance(value, Tensor) else value for key, value in given.items()}
    gmac = count_gmac(bare, meta)
    convolution, share = dominant(bare, meta)
    ceilings: dict[str, tuple[Callable[[], Tensor], int]] = {}
    for way in ways:
        key = _precision(way)
        if key not in ceilings:
            ceilings[key] = _ceiling(convolution, way, where)
    everything: dict[str, Callable[[], object]] = {
        **runs,
        **{f"ceiling {key}": run for key, (run, _) in ceilings.items()},
    }
    logger.info("%d ways take turns for %.0f s", len(runs), seconds)
    times, failed = take_turns(everything, where, seconds)

    reached = {
        key: 2e-12 * macs / times[f"ceiling {key}"].median
        for key, (_, macs) in ceilings.items()
        if f"ceiling {key}" in times
    }
    passes = 3 if mode == "train" else 1  # the backward pass counts as two forward ones
    for way in ways:
        row = rows[way.name]
        if way.name in failed:
            row.outcome = _reason(failed[way.name])
        if way.name in times:
            row.times = times[way.name]
            row.teraflops = 2e-3 * gmac * passes / row.times.median
            ceiling = reached.get(_precision(way))
            row.of_ceiling = ceiling and row.teraflops / ceiling
    return Bench(
        name,
        mode,
        size,
        batch,
        count_parameters(net),
        gmac,
        str(convolution),
        share,
        reached,
        list(rows.values()),
        provenance(where),
        torch.get_num_threads(),
    )


def check_size(name: str, size: tuple[int, int], batch: int, seconds: float) -> None:
    """UnfoldError if the image is too small for the network, or batch or seconds are not positive."""
    least = least_side(skeleton(name, {}))
    if min(size) < least:
        raise UnfoldError(f"--size is at least {least} {least} for {name}, not {size[0]} {size[1]}")
    if min(batch, seconds) <= 0:
        raise UnfoldError("--batch and --seconds are above 0")


def _chosen(ways: list[Way], only: list[str] | None) -> list[Way]:
    names = [way.name for way in ways]
    for name in only or []:
        if name not in names:
            raise UnfoldError(f"--ways: there is none called {name!r}; there are {', '.join(names)}")
    return [way for way in ways if only is None or way == PLAIN or way.name in only]


def _precision(way: Way) -> str:
    return "bf16" if way.bf16 else "tf32" if way.tf32 else "float32"


def _ceiling(convolution: Any, way: Way, device: torch.device) -> tuple[Callable[[], Tensor], int]:
    run, macs = alone(convolution, torch.bfloat16 if way.bf16 else torch.float32, device)

    def within() -> Tensor:
        with computed(Way(way.name, tf32=way.tf32), device):  # no autocast: the tensors have their precision
            return run()

    return within, macs


def _reason(error: Exception) -> str:
    return "out of memory" if out_of_memory(error) else reason_of(error)
