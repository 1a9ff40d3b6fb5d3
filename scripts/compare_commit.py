"""Does the working tree compute what an earlier commit computes, bit for bit?

    scripts/compare_commit OLD [--own-environment] [--keep FOLDER] [--only WORD]

One program, compare_commit_probe.py, runs in a temporary worktree of the commit OLD and in the present tree, on this
machine, with one thread each, on small made-up pictures. It uses today's settings: a tree of later keys has to read
them. What it finds (samples, trainings, protocols, a table, restored pictures, ...) is compared bit for bit. Prints a
table in Markdown: what, how many items, and whether they are identical, or the first one that is not. Exit code 1 where
anything differs, or the probe failed in one of the trees.

Both trees run in this Python where their dependencies in pyproject.toml are equal; else, or with --own-environment, the
old tree gets a virtual environment of its own, which takes some minutes and GB. --keep: leave all that was made in
FOLDER. --only: those parts alone whose names hold the word.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["OMP_NUM_THREADS"] = "1"  # before torch: the same number in both trees, and the networks are tiny

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat
from torchvision.models import vgg19

ROOT = Path(__file__).resolve().parent.parent
PROBE = ROOT / "scripts" / "compare_commit_probe.py"
FAILED = "failed"  # the item that a part of the probe leaves where it broke off
Item = tuple[str, str]  # what it belongs to, and its name


class Found(NamedTuple):
    """What the probe found in a tree: arrays and plain values."""

    items: dict[Item, Any]
    seconds: float


def picture(height: int, width: int, seed: int) -> Image.Image:
    """A smooth coloured picture with edges and some noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / 12.0
    waves = [np.sin(rows * rng.uniform(0.3, 2) + columns * rng.uniform(0.3, 2) + rng.uniform(0, 6)) for _ in range(3)]
    pixels = 0.5 + 0.3 * np.stack(waves, axis=-1)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = rng.uniform(0, 1, 3)
    pixels[height // 2 :, : width // 5] *= 0.4
    pixels += rng.normal(0, 0.02, pixels.shape)
    return Image.fromarray(np.rint(255 * pixels.clip(0, 1)).astype(np.uint8))


def make_data(root: Path) -> None:
    """Sets of made-up pictures, kernels and weights of VGG19, which both trees read."""

    def write(folder: str, sizes: list[tuple[int, int]], seed: int, mode: str = "RGB", names: str = "") -> None:
        (root / folder).mkdir(parents=True)
        for i, size in enumerate(sizes):
            picture(*size, seed=seed + i).convert(mode).save(root / folder / f"{names}{i}.png")

    some = [(64, 72), (56, 60), (70, 50), (110, 100)]
    write("photographs_of_ours", some, 0)
    write("held_out", [(48, 52), (56, 48)], 10)
    write("grey", [(64, 70), (50, 40)], 20, "L")
    for name, seed in (("pairs", 30), ("Rain100L", 40)):
        write(f"{name}/target", some, seed)
        (root / name / "input").mkdir()
        for i in range(len(some)):
            pixels = np.asarray(Image.open(root / name / "target" / f"{i}.png")).astype(float)
            noise = np.random.default_rng(seed + i).normal(0, 12, pixels.shape)
            Image.fromarray((0.9 * pixels + noise).clip(0, 255).astype(np.uint8)).save(
                root / name / "input" / f"{i}.png"
            )
    write("Set5", [(48, 56)] * 5, 50)
    (root / "kernels").mkdir()
    for name, count in (("kernels_12", 12), ("kernels_8", 8), ("kernels_bicubicx234", 3)):
        cells = np.empty((1, count), dtype=object)
        for i in range(count):
            side = 7 + 2 * (i % 3)
            kernel = np.random.default_rng(i).random((side, side)) ** 3
            cells[0, i] = kernel / kernel.sum()
        savemat(root / "kernels" / f"{name}.mat", {"kernels": cells})
    with torch.device("meta"):
        features = vgg19(weights=None).features
    generator, state = torch.Generator().manual_seed(0), {}
    for key, value in features.state_dict().items():
        gain = (2 / value[0].numel()) ** 0.5 if value.ndim == 4 else 0.1
        state[f"features.{key}"] = gain * torch.randn(value.shape, generator=generator)
    torch.save(state, root / "vgg19.pth")


def git(*words: str | Path) -> str:
    return subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def worktree(commit: str, folder: Path) -> Iterator[Path]:
    """A tree of the commit in the folder, as long as the block lasts."""
    git("worktree", "add", "--detach", folder, commit)
    try:
        yield folder
    finally:
        git("worktree", "remove", "--force", folder)


def dependencies(tree: Path) -> list[str]:
    """Those of pyproject.toml."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        from pip._vendor import tomli as tomllib
    found: list[str] = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["dependencies"]
    return found


def own_environment(tree: Path, folder: Path) -> str:
    """Make a virtual environment with what the tree asks for; returns its Python."""
    print(f"making an environment for {tree} (some minutes and GB)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-e", tree], check=True)
    return python


def start(python: str, tree: Path, folder: Path, data: Path, only: str) -> subprocess.Popen[bytes]:
    """Begin the probe in the tree. It runs as a copy, so that no folder of this tree comes before the old one."""
    folder.mkdir()
    probe = folder / PROBE.name
    probe.write_bytes(PROBE.read_bytes())
    environment = {**os.environ, "PYTHONPATH": str(tree), "UNFOLD_DATA": str(data), "PYTHONDONTWRITEBYTECODE": "1"}
    with (folder / "printed.txt").open("wb") as printed:
        words: list[str | Path] = [python, probe, tree, folder / "work", folder / "found", only, data]
        return subprocess.Popen(words, cwd=folder, env=environment, stdout=printed, stderr=subprocess.STDOUT)


def read_found(folder: Path) -> Found:
    content = json.loads((folder / "found" / "items.json").read_text())
    arrays = np.load(folder / "found" / "arrays.npz")
    items = {(what, name): arrays[value] if kind == "array" else value for what, name, kind, value in content["items"]}
    return Found(items, content["seconds"])


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    # As text, so that NaN is itself, and 1 is not 1.0 nor True.
    return type(a) is type(b) and not isinstance(a, np.ndarray) and repr(a) == repr(b)


def in_words(a: Any, b: Any) -> str:
    """How two values differ."""
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return " -> ".join("an array" if isinstance(value, np.ndarray) else f"{value!r:.60}" for value in (a, b))
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{a.dtype} {a.shape} -> {b.dtype} {b.shape}"
    apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return f"{np.count_nonzero(a != b)} of {a.size} numbers, by up to {apart.max():.2g}"


def compare(old: dict[Item, Any], new: dict[Item, Any]) -> tuple[list[str], bool]:
    """A line for each part, and whether all are identical."""
    lines, good = ["| what | items | new against old |", "|---|---|---|"], True
    for what in dict.fromkeys(part for part, _ in [*old, *new]):
        names = [name for part, name in dict.fromkeys([*old, *new]) if part == what]
        unlike, first = 0, ""
        for name in names:
            key = (what, name)
            if name == FAILED:
                trees = [tree for tree, items in (("old", old), ("new", new)) if key in items]
                reason = f"failed in the {' and the '.join(trees)} tree: {(old | new)[key]}"
            elif key not in new or key not in old:
                reason = f"{name} is in the {'old' if key in old else 'new'} tree alone"
            elif not same(old[key], new[key]):
                reason = f"{name}: {in_words(old[key], new[key])}"
            else:
                continue
            unlike += 1
            first = reason if not first or name == FAILED else first
        good = good and not unlike
        result = f"{unlike} DIFFER, first {first}" if unlike else "identical"
        lines.append(f"| {what} | {len(names)} | {result} |".replace("\n", " "))
    return lines, good


def run(arguments: argparse.Namespace, folder: Path) -> int:
    data = folder / "data"
    make_data(data)
    with worktree(arguments.old, folder / "tree") as tree:
        alone = arguments.own_environment or dependencies(tree) != dependencies(ROOT)
        old_python = own_environment(tree, folder / "environment") if alone else sys.executable
        begun = time.monotonic()
        sides = {"old": (old_python, tree), "new": (sys.executable, ROOT)}
        probes = {side: start(*how, folder / side, data, arguments.only) for side, how in sides.items()}
        try:
            codes = {side: probe.wait() for side, probe in probes.items()}
        finally:
            for probe in probes.values():
                probe.kill()
    for side, code in codes.items():
        if code:
            print(f"the probe ended with exit code {code} in the {side} tree:", file=sys.stderr)
            print((folder / side / "printed.txt").read_text(errors="replace")[-4000:], file=sys.stderr)
    if any(codes.values()):
        return 1
    old, new = read_found(folder / "old"), read_found(folder / "new")
    lines, good = compare(old.items, new.items)
    print("\n".join(lines))
    print(f"\nold: {git('rev-parse', '--short', arguments.old)}, new: {git('rev-parse', '--short', 'HEAD')}", end="")
    print(" with changes" if git("status", "--porcelain") else "", end="")
    count = len(old.items.keys() | new.items.keys())
    print(f"; {count} items, {'all identical' if good else 'NOT IDENTICAL'}; ", end="")
    print(f"{time.monotonic() - begun:.0f} s (old {old.seconds:.0f} s, new {new.seconds:.0f} s, side by side)")
    return 0 if good and count else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/compare_commit", description=__doc__.split("\n\n")[0])
    parser.add_argument("old", metavar="OLD", help="the commit to compare with")
    parser.add_argument("--own-environment", action="store_true", help="make a virtual environment for the old tree")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="leave what was made in this new folder")
    parser.add_argument("--only", metavar="WORD", default="", help="those parts alone whose names hold the word")
    arguments = parser.parse_args()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True)
    place = tempfile.TemporaryDirectory() if arguments.keep is None else nullcontext(str(arguments.keep.resolve()))
    with place as folder:
        return run(arguments, Path(folder).resolve())


if __name__ == "__main__":
    sys.exit(main())
