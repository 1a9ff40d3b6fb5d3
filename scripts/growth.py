"""Growth of time and memory of inference with pixels, stages, batch and tiles: figures with both axes logarithmic.

    python scripts/growth.py FOLDER [NETWORK ...]

Writes FOLDER/growth_NETWORK.png, FOLDER/growth.json and FOLDER/growth.md, a table, after every network. Networks have
fresh weights and published width, and run as `unfold` runs them, in float32. A time is the median of three runs, or of
one where that takes more than four seconds. Memory is the peak of the process beside what it held before (Linux), on
CUDA torch's.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
import torch

from unfold import create_model
from unfold.bench.timing import peak, timed
from unfold.bench.variants import Way, forward, prepared, random_inputs
from unfold.inference.restore import restore
from unfold.report.curve import draw_curves
from unfold.util.device import pick_device
from unfold.util.progress import progress

# Sides of square images, up to 8 megapixels for the narrow network, 1 for the wide ones, 0.25 for NRL-GDN.
SIDES = {
    "usrnet_tiny": (256, 512, 1024, 2048, 2896),
    "usrnet": (128, 256, 512, 1024),
    "dgunet_derain": (128, 256, 512, 1024),
    "nrl_gdn": (96, 128, 256, 512),
}
STAGES, BATCHES, SIDE = (3, 4, 6, 8, 12), (1, 2, 4, 8), 96
TILES, TILED = (64, 128, 256, 512), 512  # sides of tiles, and of the image
PATIENCE = 4.0  # s


@dataclass
class Point:
    """axis: pixels (in millions), stages, batch or tile (side)."""

    axis: str
    x: float
    seconds: float
    megabytes: float


def measured(axis: str, x: float, run: Callable[[], object], device: torch.device) -> Point:
    times: list[float] = []
    taken = peak(lambda: times.append(timed(run, device)), device)
    if times[0] < PATIENCE:  # and it was the first of its shape
        times = [timed(run, device) for _ in range(3)]
    return Point(axis, x, statistics.median(times), math.nan if taken is None else taken / 1e6)


def work(name: str, device: torch.device) -> Iterator[tuple[str, float, Callable[[], object]]]:
    """What is to be measured of a network: (axis, x, what to run)."""
    way = Way("channels_last")
    net = prepared(create_model(name), way, device)
    for side in SIDES[name]:
        yield "pixels", side * side / 1e6, forward(net, way, random_inputs(net, 1, side, side, device))
    key = "train_stages" if name == "nrl_gdn" else "stages"
    for stages in STAGES:
        deeper = prepared(create_model(name, **{key: stages}), way, device)
        yield "stages", stages, forward(deeper, way, random_inputs(net, 1, SIDE, SIDE, device))
    for batch in BATCHES:
        yield "batch", batch, forward(net, way, random_inputs(net, batch, SIDE, SIDE, device))
    if name == "usrnet_tiny":
        picture = np.random.default_rng(0).random((TILED, TILED, 3), dtype=np.float32)
        given = {"kernel": np.full((25, 25), 1 / 625), "scale": 1, "sigma": 0.01}
        for side in TILES:
            yield "tile", side, lambda side=side: restore(picture, net, tile=side, **given)


def drawable(points: list[Point], value: str) -> list[tuple[float, float]]:
    """(x, value) of the points that have one: memory may be unknown, or too small to be measured."""
    pairs = [(point.x, getattr(point, value)) for point in points]
    return [(x, y) for x, y in pairs if math.isfinite(y) and y > 0]


def exponent(points: list[Point], value: str) -> str:
    """The slope of a straight line through the upper half of the points, both axes logarithmic."""
    pairs = drawable(points, value)
    upper = pairs[len(pairs) // 2 :]
    return f"{np.polyfit(*np.log(upper).T, 1)[0]:.2f}" if len(upper) > 1 else "-"


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-") or set(sys.argv[2:]) - SIDES.keys():
        print(__doc__, file=sys.stderr)
        return 2
    folder, device = Path(sys.argv[1]), pick_device("auto")
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Point]] = {}
    lines = [
        "| network | axis (pixels in millions) | from to | seconds | exponent | MB | exponent |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sys.argv[2:] or SIDES:
        torch.manual_seed(0)
        found[name] = [measured(*one, device) for one in progress(list(work(name, device)), name, "point")]
        curves = []
        for axis in dict.fromkeys(point.axis for point in found[name]):
            points = [point for point in found[name] if point.axis == axis]
            first, last = points[0], points[-1]
            lines.append(
                f"| {name} | {axis} | {first.x:.3g} to {last.x:.3g} | {first.seconds:.3g} to {last.seconds:.3g} "
                f"| {exponent(points, 'seconds')} | {first.megabytes:.0f} to {last.megabytes:.0f} "
                f"| {exponent(points, 'megabytes')} |"
            )
            label = "megapixels" if axis == "pixels" else axis
            curves.append((f"{name}: seconds by {label}", drawable(points, "seconds")))
            curves.append((f"{name}: MB by {label}", drawable(points, "megabytes")))
        content = {key: [asdict(point) for point in points] for key, points in found.items()}
        (folder / "growth.json").write_text(json.dumps(content, indent=1) + "\n")
        (folder / "growth.md").write_text("\n".join(lines) + "\n")
        draw_curves(folder / f"growth_{name}.png", curves, "", growth=True, columns=2)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
