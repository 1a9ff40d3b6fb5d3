"""What only a CUDA GPU can show: the tests marked gpu, and time and memory of every published network.

    scripts/gpu_checks [--output DIR] [--seconds S]

Writes gpu_checks.json and gpu_checks.md after every measurement, so that an interrupted run leaves its results.
No measurement starts later than 6.5 minutes (--seconds) after the start: the plan is in order of importance.
Networks run as `unfold` runs them (channels_last, no cuDNN benchmark), with fresh weights and in training mode, in
which NRL-GDN has a fixed number of stages. Exit code 1 where a test or a measurement failed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import unfold.util.as_program  # isort: skip  # noqa: F401

import torch

from tests.gpu.record import run_tests
from tests.gpu.setting import PRECISIONS, computed_in, free_memory, random_inputs
from unfold import create_model, list_models
from unfold.losses.loss import Term, TotalLoss
from unfold.losses.pixel import Charbonnier
from unfold.models.unfolding import Output, UnfoldingNetwork
from unfold.util.atomic_files import whole_file
from unfold.util.device import place

SECONDS = 390.0  # after which no measurement begins; the tests are ended after half of them
REPEATS = 10  # at most
FIRST = ["dgunet_deblur", "usrnet", "nrl_gdn", "dgunet_cs"]  # one of each family
STEP_PRECISIONS = ("tf32", "bfloat16")
# Batch and patch of the published training.
PUBLISHED = {"usrnet": (48, 96), "usrnet_tiny": (48, 96), "dgunet_cs": (32, 32), "dgunet_plus_cs": (32, 32)}
PUBLISHED |= {"dgunet_denoise": (16, 128), "dgunet_plus_denoise": (16, 128)}
PUBLISHED |= {"ista_net": (64, 33), "ista_net_plus": (64, 33), "ista_net_plus_mri": (4, 256)}
PUBLISHED |= dict.fromkeys(("nrl_gdn", "nrl_gdn_y0", "rgdn_uniform"), (8, 256))
PUBLISHED |= {f"dgunet_{task}": (16, 256) for task in ("deblur", "derain", "plus_deblur", "plus_derain")}
Build = Callable[[str], UnfoldingNetwork]


@dataclass
class Row:
    """One measurement: what was run, and what was found. ``outcome`` says why nothing was."""

    kind: str  # forward or training step
    model: str
    precision: str
    batch: int
    height: int
    width: int
    checkpointed: bool = False
    outcome: str = "not measured"
    stages: int | None = None
    seconds: float | None = None  # median
    fastest: float | None = None
    slowest: float | None = None
    repeats: int | None = None
    megapixels_per_s: float | None = None
    peak_gib: float | None = None  # all that was allocated, weights and optimiser state among it
    loss: float | None = None  # of the last training step


def plan(names: Sequence[str], small: tuple[int, int], large: tuple[int, int]) -> list[Row]:
    """All measurements, most important first: those of one network of each family before all others."""
    rows = []
    for group in ([name for name in FIRST if name in names], [name for name in names if name not in FIRST]):
        rows += [Row("forward", name, precision, 1, *small) for name in group for precision in PRECISIONS]
        for name in group:
            batch, patch = PUBLISHED[name]
            for precision in STEP_PRECISIONS:
                rows += [Row("training step", name, precision, batch, patch, patch, c) for c in (False, True)]
        rows += [Row("forward", name, precision, 1, *large) for name in group for precision in PRECISIONS]
    return rows


def forward(row: Row, net: UnfoldingNetwork, device: torch.device) -> Callable[[], None]:
    given = random_inputs(net, row.batch, row.height, row.width, device)

    def run() -> None:
        with torch.no_grad(), computed_in(row.precision, device):
            net(**given)

    return run


def training_step(row: Row, net: UnfoldingNetwork, device: torch.device) -> Callable[[], torch.Tensor]:
    given = random_inputs(net, row.batch, row.height, row.width, device)
    target = torch.rand_like(given["image"] if "image" in given else given["y"])
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-4)
    net.checkpoint_stages = row.checkpointed

    def run() -> torch.Tensor:
        with computed_in(row.precision, device):
            stages = net(**given, return_stages=True)
        with computed_in("tf32" if row.precision == "tf32" else "float32", device):
            loss = TotalLoss([Term(Charbonnier(), every_stage=True)])(Output(stages, {}), {"target": target})
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return loss.detach()

    return run


def time_it(run: Callable[[], Any], device: torch.device) -> tuple[list[float], Any]:
    """Seconds of 3 runs, or more where those are quick, after two to warm up; and what the last one returned."""
    wait = functools.partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    for _ in range(2):
        run()
    wait()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times: list[float] = []
    while len(times) < 3 or (len(times) < REPEATS and sum(times) < 2.0):
        start = time.perf_counter()
        result = run()
        wait()
        times.append(time.perf_counter() - start)
    return times, result


def fill_in(row: Row, build: Build, device: torch.device) -> None:
    """Measure."""
    with torch.device(device):
        net = place(build(row.model).train(), device)
    row.stages = net.count()
    prepared = forward if row.kind == "forward" else training_step
    times, loss = time_it(prepared(row, net, device), device)
    row.seconds, row.fastest, row.slowest = statistics.median(times), min(times), max(times)
    row.repeats = len(times)
    row.megapixels_per_s = row.batch * row.height * row.width / row.seconds / 1e6
    if device.type == "cuda":
        row.peak_gib = torch.cuda.max_memory_allocated() / 2**30
    row.outcome = "measured"
    if loss is not None:
        row.loss = loss.item()
        if not math.isfinite(row.loss):
            row.loss, row.outcome = None, "failed: the loss is not finite"


def measure(rows: Sequence[Row], build: Build, device: torch.device, until: float, saved: Callable[[], None]) -> None:
    """Fill in all rows, as far as time (of time.monotonic) allows; ``saved`` is called after each."""
    for row in rows:
        if time.monotonic() > until:
            row.outcome = "not measured: out of time"
            continue
        try:
            fill_in(row, build, device)
        except Exception as error:  # the other measurements are wanted all the same
            row.outcome = f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            if "out of memory" in str(error):
                row.outcome = "out of memory"
        with contextlib.suppress(RuntimeError):  # a broken GPU shows in this row, and in all rows after it
            free_memory(device)
        how = f"{row.precision}{', checkpointed' * row.checkpointed}"
        print(f"{row.kind} {row.model} {how} {row.batch} x {row.height}x{row.width}: {cell(row)}", flush=True)
        saved()
    saved()


def output_of(*command: str) -> str:
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        return found.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def environment(device: torch.device, commit: str | None) -> dict[str, Any]:
    cuda = device.type == "cuda"
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit or output_of("git", "describe", "--always", "--dirty", "--abbrev=12"),
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "memory_gib": round(torch.cuda.get_device_properties(device).total_memory / 2**30, 1) if cuda else None,
        "driver": output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").split("\n")[0],
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def cell(row: Row) -> str:
    if row.seconds is None or row.megapixels_per_s is None or row.outcome != "measured":
        return row.outcome
    memory = "" if row.peak_gib is None else f", {row.peak_gib:.2f} GiB"
    return f"{1e3 * row.seconds:.1f} ms, {row.megapixels_per_s:.3g} Mpx/s{memory}"


def table(rows: Sequence[Row], columns: dict[str, Callable[[Row], bool]]) -> Iterator[str]:
    """Markdown: a line per network and size, a column per way to run it."""
    yield "| network | stages | size | " + " | ".join(columns) + " |"
    yield "|" + "---|" * (3 + len(columns))
    for key in dict.fromkeys((row.model, row.batch, row.height, row.width) for row in rows):
        mine = [row for row in rows if (row.model, row.batch, row.height, row.width) == key]
        stages = next((str(row.stages) for row in mine if row.stages), "-")
        cells = [", ".join(cell(row) for row in mine if belongs(row)) for belongs in columns.values()]
        yield f"| {key[0]} | {stages} | {key[1]} x {key[2]}x{key[3]} | " + " | ".join(cells) + " |"


def as_item(test: dict[str, Any]) -> str:
    """What a test found, in one line of Markdown."""
    figures = [f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in test["figures"].items()]
    reason = [" ".join(test["reason"].split())] if test["outcome"] == "failed" else []
    return f"- {test['outcome']}: `{test['name'].split('::', 1)[-1]}`: {', '.join(figures + reason)}"


def markdown(about: dict[str, Any], tests: dict[str, Any], rows: Sequence[Row]) -> str:
    outcomes = [test["outcome"] for test in tests["tests"]]
    summary = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in ("passed", "failed", "skipped"))
    cut = "" if tests["in_time"] else f"; ended after {tests['limit_s']:.0f} s, before the last one"
    forwards, steps = ([row for row in rows if row.kind == kind] for kind in ("forward", "training step"))
    ways = {(p, c): f"{p}{', checkpointed' * c}" for p in STEP_PRECISIONS for c in (False, True)}
    lines = [
        f"`scripts/gpu_checks`: {', '.join(f'{key} {value}' for key, value in about.items())}.",
        "",
        "Forward: median time, speed, peak memory. float32 is without TF32, tf32 with it for convolutions and matrix",
        "products, bfloat16 is autocast.",
        "",
        *table(forwards, {p: lambda row, p=p: row.precision == p for p in PRECISIONS}),
        "",
        "Training step (forward, backward, Adam):",
        "",
        *table(steps, {ways[w]: lambda row, w=w: (row.precision, row.checkpointed) == w for w in ways}),
        "",
        f"Tests that need a GPU: {summary}{cut}.",
        "",
        *(as_item(test) for test in tests["tests"] if test["figures"] or test["outcome"] == "failed"),
    ]
    return "\n".join(lines) + "\n"


def check(
    folder: Path,
    device: torch.device,
    rows: list[Row],
    build: Build,
    tests: list[str],
    commit: str | None = None,
    seconds: float = SECONDS,
) -> bool:
    """Test, measure and write both files; whether nothing failed."""
    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    about, tested = environment(device, commit), run_tests(folder / "tests.jsonl", tests, seconds / 2)

    def save() -> None:
        content = {"environment": about, "tests": tested, "measurements": [asdict(row) for row in rows]}
        content["seconds"] = round(time.monotonic() - start, 1)
        texts = {"json": json.dumps(content, indent=1, allow_nan=False) + "\n", "md": markdown(about, tested, rows)}
        for kind, text in texts.items():
            with whole_file(folder / f"gpu_checks.{kind}") as file:
                file.write(text.encode())

    save()
    measure(rows, build, device, start + seconds, save)
    return tested["passed"] and not any(row.outcome.startswith("failed") for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/gpu_checks", description="What only a CUDA GPU can show.")
    parser.add_argument("--output", type=Path, default=Path("runs/gpu_checks"), metavar="DIR", help="for the two files")
    parser.add_argument("--commit", help="what to call this version, where the folder is no git repository")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        metavar="S",
        help="no measurement begins later than this (%(default)g)",
    )
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("scripts/gpu_checks: there is no CUDA GPU here, and nothing else to check")
        return 0
    rows = plan(list_models(), (256, 256), (720, 1280))
    tests = ["tests", "-m", "gpu"]
    passed = check(
        arguments.output, torch.device("cuda"), rows, create_model, tests, arguments.commit, arguments.seconds
    )
    print(f"{'nothing failed' if passed else 'SOMETHING FAILED'}: see {arguments.output}/gpu_checks.md")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
