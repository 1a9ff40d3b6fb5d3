"""How long to the same quality: a published recipe beside ours, on the same photographs and the same processor.

    python scripts/time_to_quality.py -o runs/time_to_quality               # 80 minutes for each of two networks
    python scripts/time_to_quality.py -o runs/smoke --minutes 1 --validate 2 --networks dgunet_denoise

The second only shows whether all of it runs. The published recipe trains for --minutes, ours for a third of that. What
recipes count in steps or epochs (warm-up, halvings, blending of samples) comes at the same shares of these runs, which
helps where a rate falls near the end, and may harm where it is halved early. Everything else of the published recipe is
kept (loss, beginning, rate, batch, patch), but the data are ours (configs/small.yaml), and dgunet_denoise is as narrow
as ours and trained for all noise levels up to 55, as ours is. Speeds are measured first, so the machine should be idle.
Minutes are those of the training steps, without validation. PSNR is of 8 held-out photographs. Writes
time_to_quality.md, .json and .png. A run with the same --minutes and --validate that is there already is not repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import unfold.util.as_program  # isort: skip  # noqa: F401

from PIL import Image, ImageDraw

from unfold.config import load_config
from unfold.report.curve import ticks
from unfold.report.draw import ACCENT, GRID, INK, PAPER, SOFT, text
from unfold.report.text_table import markdown

ROOT = Path(__file__).parent.parent
SHARE = 3  # ours has the time divided by this
TRIAL = 5  # steps, of which the speed is measured
Point = tuple[float, float]
Points = list[Point]  # minutes, PSNR in dB


class Way(NamedTuple):
    """A recipe, and settings over it; what the recipe counts in steps or epochs, as shares of its own run."""

    recipe: str
    settings: dict[str, Any]
    shares: Mapping[str, Any] = MappingProxyType({})


NARROW = {"MODEL.ARGS.stages": 5, "MODEL.ARGS.width": 16, "MODEL.ARGS.growth": 8, "MODEL.ARGS.tail": 8}
ON_CPU = {"TRAIN.BATCH": 8}  # as configs/small.yaml advises for two cores
OURS = {"SCHEDULE.WARMUP": 200 / 5000}
IN_EPOCHS = ("TRAIN.MIXUP_AFTER",)
NETWORKS = {
    "usrnet_tiny": (
        "usrnet_table1:scale=2,kernel=5",
        Way("sr/configs/usrnet_tiny.yaml", {}, {"SCHEDULE.ARGS.milestones": [0.2, 0.4, 0.6, 0.8]}),
        Way("sr/configs/usrnet_tiny_small.yaml", {**ON_CPU, "DATA.ARGS.grey": 0}, OURS),
    ),
    "dgunet_denoise": (
        "gaussian_denoise:sigma=25",
        Way(
            "denoise/configs/gaussian.yaml",
            {**NARROW, "DATA.ARGS.sigma": 55.0, "DATA.ARGS.blind": True},
            {"SCHEDULE.WARMUP": 3 / 80, "SCHEDULE.ARGS.length": 117 / 80, "TRAIN.MIXUP_AFTER": 5 / 80},
        ),
        Way("denoise/configs/gaussian_small.yaml", {**ON_CPU, "DATA.ARGS.grey": 0}, OURS),
    ),
}


def train(way: Way, folder: Path, protocol: str, steps: int, per_epoch: int, validate: bool) -> list[dict[str, Any]]:
    """Train for a number of steps, ``per_epoch`` at a time; the lines of its log."""
    small = load_config(ROOT / "configs" / "small.yaml", [])
    settings = {"DATA.TRAIN": small.DATA.TRAIN, "DATA.VAL": small.DATA.VAL, "DATA.VAL_PROTOCOL": protocol}
    settings |= {"DATA.STORE": "memory", "DEVICE": "cpu", "OUTPUT": folder, "TRAIN.WORKERS": 0} | way.settings
    recipe = ROOT / "tasks" / way.recipe
    batch = settings.get("TRAIN.BATCH") or load_config(recipe, []).TRAIN.BATCH
    settings |= {"TRAIN.ITERATIONS": steps, "TRAIN.PATCHES": per_epoch * batch}
    settings["TRAIN.VALIDATE_EVERY"] = 1 if validate else 10**6
    for key, share in way.shares.items():
        run = -(-steps // per_epoch) if key in IN_EPOCHS else steps
        counts = [round(run * one) + i for i, one in enumerate(share if isinstance(share, list) else [share])]
        settings[key] = counts if isinstance(share, list) else counts[0]
    words = [str(word) for item in settings.items() for word in item]
    subprocess.run(
        [sys.executable, "-m", "unfold", "train", "--config", recipe, "--resume", "auto", *words], check=True
    )
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def measured(way: Way, folder: Path, protocol: str, minutes: float, validations: int) -> Points:
    """PSNR against minutes of training, of a run that takes about ``minutes``."""
    found = folder / f"points_{minutes:g}_minutes_{validations}.json"
    if found.is_file():
        return [tuple(point) for point in json.loads(found.read_text())]
    trial = train(way, folder / "speed", protocol, 2 * TRIAL, TRIAL, validate=False)
    steps = max(validations, round(60 * minutes * TRIAL / trial[-1]["seconds"]))  # the first epoch warms up
    points, taken = [], 0.0
    for line in train(way, folder, protocol, steps, -(-steps // validations), validate=True):
        taken += line["seconds"] / 60
        points.append((taken, line["val_psnr"]))
    found.write_text(json.dumps(points))
    return points


def reached(points: Points, psnr: float) -> float | None:
    """Minutes until a PSNR is reached."""
    return next((minutes for minutes, value in points if value >= psnr), None)


def draw(path: Path, curves: dict[str, tuple[Points, Points]]) -> None:
    """A panel per network: PSNR against minutes, the published recipe in grey, ours in colour."""
    wide, high, left, top = 520, 320, 60, 40
    picture = Image.new("RGB", (wide * len(curves), high), PAPER)
    canvas = ImageDraw.Draw(picture)
    for i, (name, pair) in enumerate(curves.items()):
        values = [value for points in pair for _, value in points]
        xs, ys = ticks(0, max(m for points in pair for m, _ in points)), ticks(min(values), max(values))

        def at(minutes: float, psnr: float, i: int = i, most: float = xs[-1], ys: list[float] = ys) -> Point:
            x = i * wide + left + (wide - left - 20) * minutes / most
            return x, high - 40 - (high - 40 - top) * (psnr - ys[0]) / (ys[-1] - ys[0])

        text(canvas, (i * wide + left, 10), f"{name}: held-out PSNR, dB, by minutes", 14, INK)
        for tick in xs:
            text(canvas, (at(tick, ys[0])[0], high - 34), f"{tick:g}", 11, SOFT, "ma")
        for tick in ys:
            canvas.line([at(0, tick), at(xs[-1], tick)], fill=GRID)
            text(canvas, (at(0, tick)[0] - 6, at(0, tick)[1]), f"{tick:g}", 11, SOFT, "rm")
        for points, colour, what in zip(pair, (SOFT, ACCENT), ("published recipe", "ours"), strict=True):
            canvas.line([at(*point) for point in points], fill=colour, width=3)
            text(canvas, (at(*points[-1])[0], at(*points[-1])[1] - 6), what, 11, colour, "rb")  # curves rise
    picture.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/time_to_quality"))
    parser.add_argument("--minutes", type=float, default=60, help="of the published recipe")
    parser.add_argument("--validate", type=int, default=20, help="validations in each run")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    asked = parser.parse_args()
    folder: Path = asked.output.resolve()
    curves: dict[str, tuple[Points, Points]] = {}
    rows = []
    for name in asked.networks:
        protocol, published, ours = NETWORKS[name]
        theirs = measured(published, folder / f"{name}_published", protocol, asked.minutes, asked.validate)
        own = measured(ours, folder / f"{name}_ours", protocol, asked.minutes / SHARE, asked.validate)
        curves[name] = theirs, own
        best = max(value for _, value in theirs)
        when = reached(own, best)
        rows.append(
            (
                name,
                f"{theirs[-1][1]:.2f} after {theirs[-1][0]:.1f} min",
                f"{own[-1][1]:.2f} after {own[-1][0]:.1f} min",
                "not reached" if when is None else f"{when:.1f} min, {when / theirs[-1][0]:.2f} of the time",
            )
        )
        table = markdown(("network", "published recipe, dB", "ours, dB", "ours reaches the published best"), rows)
        (folder / "time_to_quality.md").write_text(f"{table}\n")
        (folder / "time_to_quality.json").write_text(json.dumps(curves, indent=1))
        draw(folder / "time_to_quality.png", curves)
    print((folder / "time_to_quality.md").read_text())


if __name__ == "__main__":
    main()
