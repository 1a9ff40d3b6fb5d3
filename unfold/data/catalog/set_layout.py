"""The images below some paths, the sets they belong to, and their pairs."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from natsort import natsorted

from unfold.data.images import data_root, find_list, is_image_name, listed_images
from unfold.data.pair_names import ALL_SPLITS, SPLITS, Matched, Pair, match_sides, side_by_side, side_of, split_in
from unfold.data.pairs import Given, NoPairsError, find_paired_set, find_pairs, subfolder
from unfold.errors import UnfoldError
from unfold.util.paths import as_path, expanded


class Finding(NamedTuple):
    """kind: unreadable, unpaired, pair, size, name, mixed, duplicate; error: whether work with these files would fail.

    paths: the files; text: what is wrong, in one line that names them.
    """

    kind: str
    error: bool
    text: str
    paths: tuple[Path, ...]


class Rule(NamedTuple):
    """The rule that found the pairs of a folder, in words, and the pairs."""

    place: Path
    text: str
    pairs: list[Pair]


def find_sets(paths: Sequence[str]) -> dict[Path, str]:
    """The images of files and folders, each once, in natural order, with the name of its set.

    Paths are used as they are or under UNFOLD_DATA; a text file that lists images or pairs is a set. A set is a folder
    including its inputs and targets, or a split (train, val, test) with everything in it. UnfoldError if a path does
    not exist.
    """
    names: dict[Path, str] = {}
    seen: set[str] = set()
    for text in paths:
        root = next((place for place in (as_path(text), data_root() / expanded(text)) if place.exists()), None)
        if root is None:
            raise UnfoldError(
                f"there is no {text}, nor {data_root() / text} (UNFOLD_DATA names the folder of data sets)"
            )
        for path in _walk(root) if root.is_dir() else _listed(root):
            if (real := os.path.realpath(path)) not in seen:  # Path.resolve raises for a link to itself
                seen.add(real)
                names[path] = _set_name(path, root, len(paths) > 1)
    return names


def _listed(path: Path) -> list[Path]:
    """The files that a list names, or the file itself."""
    if find_list(str(path)) is None:
        return [path]
    pairs = listed_pairs(path)
    return listed_images(path) if pairs is None else [file for pair in pairs for file in (pair.input, pair.target)]


def listed_pairs(path: Path) -> list[Pair] | None:
    """The pairs of a list; None if it lists images."""
    try:
        return find_pairs(str(path))
    except UnfoldError as error:
        try:
            listed_images(path)
        except UnfoldError:
            raise error from None
        return None


def _walk(root: Path) -> list[Path]:
    """Images at any depth, in natural order; links to folders are followed, once."""
    found, been = [], set()
    for folder, inner, files in os.walk(root, followlinks=True):
        been.add(Path(folder).resolve())
        inner[:] = [name for name in inner if name[0] != "." and (Path(folder) / name).resolve() not in been]
        found += [Path(folder) / name for name in files if is_image_name(name)]
    return natsorted(found)


def _set_name(path: Path, root: Path, several: bool) -> str:
    if not root.is_dir():  # itself, or a list
        return str(root)
    parts = path.parent.relative_to(root).parts
    split = next((i for i, part in enumerate(parts) if part.lower() in ALL_SPLITS), None)
    if split is not None:
        parts = parts[: split + 1]
    elif (side := next((i for i, part in enumerate(parts) if side_of(part)), None)) is not None:
        parts = parts[:side]
    return str(Path(root, *parts)) if several else str(Path(*parts)) if parts else root.resolve().name


def pair_up(files: Iterable[Path]) -> tuple[list[Rule], list[Finding]]:
    """Find pairs in two folders or in one, see :mod:`unfold.data.pairs`. Returns the rules with their pairs, and the
    problems.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        folders[path.parent].append(path)
    looked = {place for folder in folders for place in (folder, *folder.parents)}
    homes: dict[Path, set[str]] = defaultdict(set)  # the sides that a folder contains
    for place in looked:
        homes[place.parent].add(side_of(place.name))
    sides: dict[Path, list[Path]] = defaultdict(list)  # the images in and below a folder that holds a side
    for folder in folders:
        named = [place for place in (folder, *folder.parents) if side_of(place.name)]
        both = [place for place in named if {"input", "target"} <= homes[place.parent]]
        if both or folder in named:
            sides[both[0] if both else folder] += folders[folder]
    rules: list[Rule] = []
    findings: list[Finding] = []
    for home, split in dict.fromkeys((folder.parent, split_in(folder.name)) for folder in sides):
        try:
            found = [subfolder(home, side, split) for side in ("input", "target")]
            beside = [side for side in found if side and side in sides]
            if len(beside) == 2:
                matched = match_sides(sides[beside[0]], sides[beside[1]], (beside[0], beside[1]))
                rule = f"folders {beside[0].name} and {beside[1].name}, {matched.rule}"
                _add(home, matched._replace(rule=rule), rules, findings)
            elif beside:
                missing = "targets" if side_of(beside[0].name) == "input" else "inputs"
                text = f"{beside[0]} has no folder of {missing} beside it that is looked at and holds images"
                findings.append(Finding("unpaired", False, text, (beside[0],)))
        except UnfoldError as error:
            findings.append(Finding("unpaired", True, str(error), (home,)))
    covered = {path.parent for inside in sides.values() for path in inside}
    for folder in folders:
        if folder in covered:
            continue
        try:
            if beside_one_another := side_by_side(folders[folder]):
                _add(folder, beside_one_another, rules, findings)
        except UnfoldError as error:
            findings.append(Finding("unpaired", True, str(error), (folder,)))
    return rules, findings


def given_pairs(paths: Sequence[str], given: Given) -> tuple[list[Rule], list[Finding]]:
    """The pairs of each path in training, validation and test, by the given layout."""
    rules: list[Rule] = []
    findings: list[Finding] = []
    for text in paths:
        seen: set[Path] = set()
        problems: list[UnfoldError] = []
        for split in SPLITS:
            try:
                found = find_paired_set(text, split, given)
            except UnfoldError as error:
                problems.append(error)
                continue
            if pairs := [pair for pair in found.pairs if pair.input not in seen]:
                seen.update(pair.input for pair in pairs)
                folders = {file.parent for pair in pairs for file in pair[1:]}
                rules.append(Rule(Path(os.path.commonpath(folders)), found.rule, pairs))
        reported = [
            error for error in problems if not (seen and isinstance(error, NoPairsError))
        ]  # such as a missing val
        findings += [Finding("unpaired", True, line, (Path(text),)) for line in dict.fromkeys(map(str, reported))]
    return rules, findings


def _add(place: Path, matched: Matched, rules: list[Rule], findings: list[Finding]) -> None:
    if matched.pairs:
        rules.append(Rule(place, matched.rule, matched.pairs))
    findings += [
        Finding("unpaired", True, f"{path} has no partner of the same name", (path,)) for path in matched.alone
    ]
