"""Training sets of small pairs cut from large ones, as is customary: SIDD and GoPro.

Patches of one size are read faster than photographs of ten million pixels; a patch cache needs no cutting.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from natsort import natsorted
from PIL import Image

from unfold.data.images import find_folder
from unfold.data.pairs import Pair, find_pairs, subfolder
from unfold.data.parallel import in_parallel
from unfold.data.prepare.atomic_folders import whole_folder
from unfold.data.stores.image_stores import Window, files_of, read_files, read_head
from unfold.errors import UnfoldError
from unfold.util.atomic_files import whole_file

SIDD_SIZE, SIDD_COUNT = 256, 300
GOPRO_SIZE, GOPRO_STEP = 512, 256
Windows = Callable[[Pair], list[Window]]


class Job(NamedTuple):
    """One pair to cut: into folder/input/NAME_1.png, folder/target/NAME_1.png, NAME_2.png, ..."""

    pair: Pair
    windows: list[Window]
    folder: Path


def prepare_sidd(source: str, output: Path) -> str:
    """Cut SIDD's training pairs into 300 random patches of 256x256 each, as input/I_J.png and target/I_J.png.

    source: folder with SIDD's *NOISY*.PNG and *GT*.PNG at any depth, as it is or under UNFOLD_DATA; I: number of the
    pair in natural order, J: of its patch, both from 1. Positions are seeded by the name of the noisy file, so they are
    the same every time; the published ones are not. Resumable (see whole_folder). Returns a one-line report.
    UnfoldError if there are no pairs, or an image has no partner, is unreadable or too small.
    """
    pairs = _sidd_pairs(find_folder(source))
    plan = {"set": "sidd", "size": SIDD_SIZE, "count": SIDD_COUNT}
    return _cut("SIDD", plan, pairs, lambda pair: random_windows(pair, SIDD_SIZE, SIDD_COUNT), output)


def prepare_gopro(source: str, output: Path) -> str:
    """Cut GoPro's training pairs into 512x512 parts on a grid of step 256, as input/NAME_J.png and target/NAME_J.png.

    The last row and column of parts end at the border, so that 1280x720 gives 4 x 2 parts, and the 2103 pairs 16824, as
    in the field's later practice. source: pairs as find_pairs takes them, in the folder or its folder ``train``, or a
    folder per scene of such pairs, as published; NAME: of the pair, behind its scene. Else as :func:`prepare_sidd`;
    UnfoldError also if two pairs would have one name.
    """
    pairs = _gopro_pairs(source)
    plan = {"set": "gopro", "size": GOPRO_SIZE, "step": GOPRO_STEP}
    return _cut("GoPro", plan, pairs, lambda pair: grid_windows(pair, GOPRO_SIZE, GOPRO_STEP), output)


def random_windows(pair: Pair, size: int, count: int) -> list[Window]:
    """``count`` square parts of a pair at random positions, seeded by the input's file name alone."""
    height, width = _size(pair, size)
    rng = np.random.default_rng(np.frombuffer(hashlib.sha256(pair.input.name.encode()).digest(), np.uint32))
    rows = rng.integers(height - size, size=count, endpoint=True)
    columns = rng.integers(width - size, size=count, endpoint=True)
    return [Window(int(row), int(column), size, size) for row, column in zip(rows, columns, strict=True)]


def grid_windows(pair: Pair, size: int, step: int) -> list[Window]:
    """Square parts of a pair on a grid, row by row, with the last ones at the border."""
    rows, columns = ([*range(0, n - size, step), n - size] for n in _size(pair, size))
    return [Window(row, column, size, size) for row in rows for column in columns]


def _size(pair: Pair, least: int) -> tuple[int, int]:
    height, width = read_head(pair.input).size
    if min(height, width) < least:
        raise UnfoldError(f"{pair.input} is {width}x{height}, and parts of {least}x{least} are wanted")
    return height, width


def _sidd_pairs(folder: Path) -> list[Pair]:
    files = [path for path in folder.rglob("*") if path.suffix.lower() == ".png" and path.name[0] != "."]
    noisy = natsorted(path for path in files if "NOISY" in path.name)
    clean = {path for path in files if "GT" in path.name}
    pairs = [
        Pair(str(i), path, path.with_name(path.name.replace("NOISY", "GT"))) for i, path in enumerate(noisy, start=1)
    ]
    if not pairs:
        raise UnfoldError(f"{folder} holds no *NOISY*.PNG of SIDD, at whatever depth")
    _one_name(folder, noisy)
    if alone := natsorted(clean.symmetric_difference(pair.target for pair in pairs)):
        raise UnfoldError(f"{folder}: {alone[0].relative_to(folder)} has no partner, or is one that is missing")
    return pairs


def _gopro_pairs(source: str) -> list[Pair]:
    home = find_folder(source)
    folder = home / "train" if (home / "train").is_dir() else home
    scenes = natsorted(
        path for path in folder.iterdir() if path.is_dir() and (subfolder(path, "input") or subfolder(path, "target"))
    )
    if not scenes:
        return find_pairs(source, "train")
    pairs = [
        pair._replace(name=f"{scene.name}_{pair.name}") for scene in scenes for pair in find_pairs(str(scene), "train")
    ]
    seen: dict[str, Pair] = {}
    for pair in pairs:
        if (other := seen.setdefault(pair.name.casefold(), pair)) is not pair:
            raise UnfoldError(
                f"{other.input} and {pair.input} would both be called {pair.name}: give one of the scenes another name"
            )
    return pairs


def _one_name(folder: Path, files: Iterable[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in files:
        if (other := seen.setdefault(path.name, path)) is not path:
            raise UnfoldError(f"{folder}: {other} and {path} have one name, and are to be different images of SIDD")


def _cut(what: str, plan: dict[str, object], pairs: list[Pair], windows: Windows, output: Path) -> str:
    sources = [[file.name, file.stat().st_size] for pair in pairs for file in (pair.input, pair.target)]
    with whole_folder(output, {**plan, "sources": sources}) as folder:
        if folder is None:
            return f"{what} in {output}: all was there already"
        for kind in ("input", "target"):
            (folder / kind).mkdir(exist_ok=True)
        jobs = [Job(pair, windows(pair), folder) for pair in pairs]
        written = sum(in_parallel(_cut_pair, jobs, f"preparing {what}", "pair"))
    total = sum(len(job.windows) for job in jobs)
    return f"{what} in {output}: {total} pairs out of {len(pairs)}, {written} files written now"


def _cut_pair(job: Job) -> int:
    """Cut one pair; returns the number of new files."""
    wanted = [
        (kind, window, path)
        for kind in ("input", "target")
        for number, window in enumerate(job.windows, start=1)
        if not (path := job.folder / kind / f"{job.pair.name}_{number}.png").exists()
    ]
    if wanted:
        images = read_files(files_of(job.pair))
        if images["input"].dtype != np.uint8:
            raise UnfoldError(f"{job.pair.input} has 16 bits per channel, and images of 8 are cut")
        for kind, (row, column, height, width), path in wanted:
            crop = images[kind][row : row + height, column : column + width]
            with whole_file(path) as file:
                # Low compression: at most a third of the time, with files 5 % (GoPro) to a third (smooth images)
                # larger.
                Image.fromarray(np.ascontiguousarray(crop)).save(file, "PNG", compress_level=1)
    return len(wanted)
