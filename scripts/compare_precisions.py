"""Does bfloat16 cost quality? The quickstart recipe with three seeds in both precisions.

    python scripts/compare_precisions.py [KEY VALUE ...]

Runs go to runs/precisions/PRECISION-SEED, one after the other; unfinished ones are continued, finished ones are reused.
Prints the validation PSNR in dB after the last epoch, always of a float32 restoration. bfloat16 passes where the
mean over its seeds lies inside the spread of the float32 seeds. KEY VALUE go to every run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

from unfold.training.log import read_log

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "tasks" / "denoise" / "configs" / "quickstart.yaml"
SEEDS = (0, 1, 2)
PRECISIONS = ("float32", "bfloat16")


def trained(precision: str, seed: int, overrides: list[str]) -> float:
    """Validation PSNR in dB at the end of a run."""
    folder = ROOT / "runs" / "precisions" / f"{precision}-{seed}"
    words = ["SEED", str(seed), "TRAIN.PRECISION", precision, "OUTPUT", str(folder), *overrides]
    train = [sys.executable, "-m", "unfold", "train", "--resume", "auto", "--config", str(RECIPE)]
    subprocess.run([*train, *words], check=True, cwd=ROOT)
    return float(read_log(folder / "log.jsonl")[-1]["val_psnr"])


def verdict(found: dict[str, list[float]]) -> tuple[str, bool]:
    """A table of PSNR by precision and seed, and whether bfloat16's mean lies inside float32's spread."""
    seeds = len(found["float32"])
    lines = [
        "| |" + "".join(f" seed {seed} |" for seed in SEEDS[:seeds]) + " mean | spread |",
        "|---" * (seeds + 3) + "|",
    ]
    for precision, values in found.items():
        cells = [f"{value:.2f}" for value in (*values, sum(values) / seeds)]
        lines.append(f"| {precision} | {' | '.join(cells)} | {min(values):.2f} to {max(values):.2f} |")
    mean = sum(found["bfloat16"]) / seeds
    inside = min(found["float32"]) <= mean <= max(found["float32"])
    lines += ["", f"bfloat16's mean is {'inside' if inside else 'OUTSIDE'} float32's spread over {seeds} seeds"]
    return "\n".join(lines), inside


def main() -> int:
    found = {precision: [trained(precision, seed, sys.argv[1:]) for seed in SEEDS] for precision in PRECISIONS}
    table, inside = verdict(found)
    print(table)
    return 0 if inside else 1


if __name__ == "__main__":
    sys.exit(main())
