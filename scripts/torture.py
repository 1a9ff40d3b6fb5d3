"""Kill and disturb training runs, resume them, and count those that end as undisturbed ones.

    scripts/torture [N]

Real processes of `unfold train` on made-up pictures: 8 steps in 2 epochs, gradients accumulated and weights averaged, 0
and 2 worker processes in turn. "Identical" means: every tensor and number of last.pth (weights, average,
optimiser, counters, best score) and of best.pth, the rows of log.jsonl without their times, and validation.json, bit
for bit as of the run that nothing happened to; and no unfinished file is left. N: how often -9 kills; the other faults
come in proportion. Prints a table in Markdown; problems are printed on stderr, with exit code 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: the networks are tiny

import unfold.util.as_program  # isort: skip  # noqa: F401

import torch

from tests.training import faults_of_files as files
from tests.training import faults_of_processes as processes
from tests.training.trial import Ground, Notes, Trial, attempt


def faults(n: int) -> Iterator[tuple[str, int, Callable[[Trial], Notes]]]:
    """What is done, how often, and by what."""
    yield "kill -9 at a random moment", n // 2, processes.killed_anywhere
    yield "kill -9 when a checkpoint is begun", n - n // 2, processes.killed_while_writing
    yield "kill -9 twice in the first steps", max(n // 5, 1), processes.killed_twice_at_first
    yield "kill -9 four times in one run", max(n // 10, 1), processes.killed_again_and_again
    yield "SIGTERM", max(2 * n // 5, 1), processes.sigterm
    yield "SIGINT, SIGUSR1", max(n // 5, 1), processes.sigint_or_usr1
    yield "SIGTERM to all its processes, 2 workers", max(n // 10, 1), processes.sigterm_to_all
    yield "SIGTERM in validation", max(n // 12, 1), processes.in_validation
    yield "Ctrl-C at a terminal, 2 workers", max(n // 25, 1), processes.ctrl_c
    yield "Ctrl-C twice in a step of a minute", max(n // 25, 1), processes.ctrl_c_twice
    yield "a worker killed by -9", max(n // 10, 1), processes.dead_worker
    yield "one of two processes of a run killed by -9", max(n // 10, 1), processes.dead_rank
    yield "nobody reads its output any more", max(n // 25, 1), processes.no_reader
    yield "newest checkpoint truncated", max(n // 5, 1), files.truncated
    yield "newest checkpoint, one bit flipped", max(2 * n // 5, 1), files.flipped
    yield "all checkpoints damaged: refused, nothing touched", max(n // 12, 1), files.all_damaged
    if files.can_mount():
        yield "full disk, then room", max(n // 10, 1), files.full_disk
    yield "no file larger than 1 MiB, then no limit", max(n // 25, 1), files.file_limit
    yield "corrupt image: refused; then left out", max(n // 25, 1), files.corrupt_image
    yield "patch cache cut off during the run, then whole", max(n // 12, 1), files.corrupt_cache
    yield "a NaN in a batch, and kill -9", max(n // 12, 1), processes.nan_batch
    yield "resumed when it was done", max(n // 25, 1), files.finished


def row(what: str, outcomes: list[Notes | str]) -> str:
    """A line of the table."""
    good = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    sums: Counter[str] = Counter()
    for notes in good:
        for name, value in notes.items():
            sums[name] = max(sums[name], value) if name.startswith("slowest") else sums[name] + value
    sums_text = "; ".join(name.format(value) for name, value in sums.items())
    return f"| {what} | {len(outcomes)} | {len(good)} of {len(outcomes)} | {sums_text} |"


def torture(ground: Ground, n: int, only: str) -> bool:
    """Run all trials, print the table, and return whether all ended well."""
    begin = time.monotonic()
    print("| fault | how often | ended identical | notes |\n|---|---|---|---|", flush=True)
    wrong = False
    with ThreadPoolExecutor(2) as pool:
        for what, count, fault in faults(n):
            if only not in fault.__name__:
                continue
            trials = [Trial(ground, f"{fault.__name__}{i}", i) for i in range(count)]
            outcomes = list(pool.map(lambda trial, fault=fault: attempt(fault, trial), trials))
            print(row(what, outcomes), flush=True)
            for trial, outcome in zip(trials, outcomes, strict=True):
                if isinstance(outcome, str):
                    wrong = True
                    print(f"{trial.name}: {outcome}", file=sys.stderr)
    time.sleep(10)  # an orphan looks for its parent every 5 seconds
    left = ground.place.left_behind()
    print(
        f"\n{len(left)} processes left behind; a run takes {ground.seconds:.1f} s, all of it took "
        f"{time.monotonic() - begin:.0f} s; torch {torch.__version__}, Python {platform.python_version()}."
    )
    return not wrong and not left


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/torture", description="Torment training runs and resume them.")
    parser.add_argument("n", nargs="?", type=int, default=50, metavar="N", help="how often -9 kills (50)")
    parser.add_argument("--only", default="", metavar="NAME", help="faults whose function has this in its name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="torture") as folder:
        return 0 if torture(Ground(Path(folder)), arguments.n, arguments.only) else 1


if __name__ == "__main__":
    sys.exit(main())
