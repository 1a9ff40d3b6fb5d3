"""Dry run of every recipe: `unfold train --check` at its true width, as one table in Markdown.

    python scripts/check_recipes.py [KEY VALUE ...]

The sets are not needed: synthetic pictures of 480x320 replace them, and random weights replace VGG19's, which
changes neither memory nor the time of a step. Hours are those of the steps alone, without validation, on this machine;
EFLOP are 10^18 operations of all steps of the network alone, without discriminator and VGG19, a backward pass counted
as two forward ones. KEY VALUE go to every recipe. Exit code 1 where one could not start.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import unfold.util.as_program  # isort: skip  # noqa: F401

import torch

from tests.standins import random_vgg19, stand_ins

TASKS = Path(__file__).parent.parent / "tasks"
FIGURES = {
    "network": r"network +(\S+), ([\d,]+) parameters",
    "work": r"work +(\S+) GMAC",
    "memory": r"memory +(.+?) for a step of (\d+) of (\d+)x",
    "step": r"step +(\S+) s for .*by .* and \S+ s for (\d+ of \d+)x",
    "run": r"run +([\d,]+) steps",
}
COLUMNS = ["recipe", "network", "parameters", "GMAC per patch", "step of", "memory"]
COLUMNS += ["s per step", "by a step of", "steps", "hours", "EFLOP"]


def row(recipe: Path, words: list[str]) -> str:
    """A line of the table, or what went wrong."""
    name = f"{recipe.parent.parent.name}/{recipe.stem}"
    command = [sys.executable, "-m", "unfold", "train", "--check", "--overwrite", "--config", str(recipe), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=TASKS.parent)
    if done.returncode:
        return f"| {name} | FAILED: {done.stderr.strip()} |"
    found = {key: re.search(pattern, done.stdout) for key, pattern in FIGURES.items()}
    assert all(found.values()), done.stdout
    network, work, memory, step, run = (match.groups() for match in found.values() if match)
    size, steps = f"{memory[1]} of {memory[2]}", int(run[0].replace(",", ""))
    hours, operations = float(step[0]) * steps / 3600, 6e9 * float(work[0]) * int(memory[1]) * steps
    cells = [name, *network, *work, size, memory[0], *step, *run, f"{hours:,.3g}", f"{operations / 1e18:.3g}"]
    return f"| {' | '.join(cells)} |"


def main() -> int:
    failed = False
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        stand_ins(root, 320, 480, block=256, count=16)
        os.environ["UNFOLD_DATA"] = folder
        vgg = ["LOSS.TERMS.1.ARGS.vgg", str(random_vgg19(root / "vgg19.pth"))]
        for recipe in sorted(TASKS.glob("*/configs/*.yaml")):
            words = [*sys.argv[1:], *(vgg if "usrgan" in recipe.stem else [])]
            line = row(recipe, words)
            failed |= "FAILED" in line
            print(line, flush=True)
    print(f"\ntorch {torch.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} threads.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
