"""Pairs of images: what was measured, and what it should become."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray

from unfold.data.images import EXTENSIONS, chosen, find_folder, images_in, read_uint8, sliced
from unfold.errors import UnfoldError

# Names of folders, written in small or capital letters.
INPUTS = ("input", "inputcrop", "blur", "blurry", "rainy", "rain", "noisy", "lq")
TARGETS = ("target", "targetcrop", "gt", "groundtruth", "sharp", "clean", "norain", "hq")
# Marks in the names of files that lie side by side: Flower_blur1 and Flower_sharp1, chair_real and chair_mean.
_INPUT_MARK = re.compile(r"_(blur|real)(?=\d*$)")
_MARK = re.compile(r"_(blur|real|sharp|mean)(?=\d*$)")


class NoPartnerError(UnfoldError):
    """Images of a set of pairs have no partner."""


class Pair(NamedTuple):
    """name: the input's, without its extension, which no other pair of the set has."""

    name: str
    input: Path
    target: Path


def find_pairs(source: str, split: str = "test") -> list[Pair]:
    """The pairs of a set, in natural order. Partners have the same name but for the extension.

    source: a folder, as it is or under UNFOLD_DATA, with one folder of INPUTS and one of TARGETS in it, or in its
    folder ``split``; or with files side by side that are called NAME_blur and NAME_sharp, or NAME_real and NAME_mean,
    with the same number behind, or none; or a slice of these pairs, "name[:-4]". UnfoldError where there are no pairs,
    or an image has no partner or two.
    """
    name, part = sliced(source)
    return chosen(_all_pairs(find_folder(name), split), part, source)


def _all_pairs(folder: Path, split: str) -> list[Pair]:
    for place in (folder, folder / split):
        inputs, targets = subfolder(place, INPUTS), subfolder(place, TARGETS)
        if inputs and targets:
            return _all_matched(place, *match(images_in(inputs), images_in(targets)))
        if inputs or targets:
            there, missing, names = (inputs, "targets", TARGETS) if inputs else (targets, "inputs", INPUTS)
            raise UnfoldError(f"{there} has no folder of {missing} beside it, which would be one of {', '.join(names)}")
    if not marked_inputs(folder.iterdir()):
        raise UnfoldError(
            f"{folder} holds no pairs: neither folders such as input and target, there or in {split}, "
            "nor images such as 1_blur.png and 1_sharp.png"
        )
    return _all_matched(folder, *match(*side_by_side(images_in(folder)), unmarked))


def side_by_side(files: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Files of one folder as inputs, which are marked (NAME_blur1, NAME_real), and all others."""
    marked = {path: bool(_INPUT_MARK.search(path.stem)) for path in files}
    return [path for path in marked if marked[path]], [path for path in marked if not marked[path]]


def subfolder(folder: Path, names: Iterable[str]) -> Path | None:
    """The folder inside ``folder`` that has one of the names; None where there is none, UnfoldError where several."""
    if not folder.is_dir():
        return None
    found = natsorted(path for path in folder.iterdir() if path.name.lower() in names and path.is_dir())
    if len(found) > 1:
        raise UnfoldError(f"{folder} holds both {found[0].name} and {found[1].name}, and one of them is wanted")
    return found[0] if found else None


def read_pair(pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Input and target as (H,W,3) RGB of 8 bits. UnfoldError as for read_uint8, and where their sizes differ."""
    y, target = read_uint8(pair.input), read_uint8(pair.target)
    if y.shape != target.shape:
        (h, w), (high, wide) = y.shape[:2], target.shape[:2]
        raise UnfoldError(f"{pair.input} is {h}x{w} and {pair.target} {high}x{wide}: a pair has one size")
    return y, target


def stem(path: Path) -> str:
    """What partners in two folders have in common."""
    return path.stem


def unmarked(path: Path) -> str:
    """What partners side by side have in common: the name without _blur, _real, _sharp or _mean."""
    return _MARK.sub("", path.stem)


def match(
    inputs: Iterable[Path], targets: Iterable[Path], key: Callable[[Path], str] = stem
) -> tuple[list[Pair], list[Path]]:
    """Pairs of files of one key, and the files that have no partner. UnfoldError where two of a side have one key."""
    of_input, of_target = _by_key(inputs, key), _by_key(targets, key)
    alone = [path for name, path in (of_input | of_target).items() if (name in of_input) != (name in of_target)]
    pairs = [Pair(path.stem, path, of_target[name]) for name, path in of_input.items() if name in of_target]
    return pairs, alone


def _all_matched(place: Path, pairs: list[Pair], alone: list[Path]) -> list[Pair]:
    if alone:
        first = ", ".join(str(path.relative_to(place)) for path in alone[:3])
        more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
        raise NoPartnerError(f"{place}: {len(alone)} without a partner of the same name: {first}{more}")
    return pairs


def _by_key(paths: Iterable[Path], key: Callable[[Path], str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if (other := found.setdefault(key(path), path)) is not path:
            raise UnfoldError(f"{other} and {path.name} have one name: the partner of both is not clear")
    return found


def marked_inputs(files: Iterable[Path]) -> list[Path]:
    """Those images among the files that are marked as inputs and have the target beside them, in natural order."""
    inputs, others = side_by_side(natsorted(path for path in files if path.suffix.lower() in EXTENSIONS))
    names = {unmarked(path) for path in others}
    return [path for path in inputs if unmarked(path) in names]
