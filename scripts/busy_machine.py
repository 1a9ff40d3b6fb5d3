"""Seconds per image when one, two and three runs share the machine, for two ways in which threads wait.

    python scripts/busy_machine.py [--seconds S] [--network NAME] [--size N]

Runs begin together, each a process of its own, and restore one image again and again for S (20) seconds, with as many
threads as torch chooses. "spinning": OpenMP's default, idle threads keep their processor for a
while; "passive": OMP_WAIT_POLICY=passive, which `unfold` sets unless it is set. All of it on all processors, and
on one, as by taskset. Prints a table in Markdown: seconds an image, the mean over the runs of their medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import date

RUNS = (1, 2, 3)


def work(network: str, size: int, seconds: float) -> None:
    """One of the runs: says that it is ready, and when a line comes, measures and prints what it found."""
    import torch

    from unfold import create_model
    from unfold.util.device import place

    net = place(create_model(network).eval(), torch.device("cpu"))
    given = net.example(size, size)
    spent: list[float] = []
    with torch.inference_mode():
        net(**given)
        print("ready", flush=True)
        input()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(spent) < 3:
            start = time.perf_counter()
            net(**given)
            spent.append(time.perf_counter() - start)
    print(json.dumps({"seconds": statistics.median(spent), "threads": torch.get_num_threads()}))


def measure(arguments: argparse.Namespace, runs: int, waiting: str, processors: set[int]) -> tuple[float, int]:
    """Mean over the runs of the median seconds an image, and their threads."""
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
    if waiting == "passive":
        environment["OMP_WAIT_POLICY"] = "passive"
    command = [sys.executable, __file__, "--work", "--network", arguments.network, "--size", str(arguments.size)]
    command += ["--seconds", str(arguments.seconds)]
    os.sched_setaffinity(0, processors)  # which children inherit
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    each = [subprocess.Popen(command, env=environment, **pipes) for _ in range(runs)]
    for one in each:
        one.stdout.readline()  # all have loaded torch
    for one in each:
        one.stdin.write("begin\n")
        one.stdin.flush()
    results = [json.loads(one.communicate()[0]) for one in each]
    return statistics.mean(one["seconds"] for one in results), results[0]["threads"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Seconds an image where several runs share the machine.")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="that each run measures (20)")
    parser.add_argument("--network", default="usrnet_tiny", metavar="NAME", help="usrnet_tiny")
    parser.add_argument("--size", type=int, default=256, metavar="N", help="side of the image in pixels (256)")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.network, arguments.size, arguments.seconds)
        return 0
    everything = os.sched_getaffinity(0)
    load = os.getloadavg()[0]
    print(f"{arguments.network}, {arguments.size}x{arguments.size}, seconds an image; load before: {load:.1f}")
    print("\n| processors | threads | waiting |" + "".join(f" {runs} at once |" for runs in RUNS))
    print("|---|---|---|" + "---|" * len(RUNS))
    for processors in (everything, {min(everything)}):
        for waiting in ("spinning", "passive"):
            found = [measure(arguments, runs, waiting, processors) for runs in RUNS]
            cells = "".join(f" {seconds:.3f} |" for seconds, _ in found)
            print(f"| {len(processors)} | {found[0][1]} | {waiting} |{cells}", flush=True)
    print(f"\n{date.today().isoformat()}; `python scripts/busy_machine.py --seconds {arguments.seconds:g}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
