"""Which images lie below some paths, to which sets they belong, and which are pairs."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from natsort import natsorted

from unfold.data.images import EXTENSIONS, data_root
from unfold.data.pairs import INPUTS, TARGETS, Pair, match, side_by_side, subfolder, unmarked
from unfold.errors import UnfoldError
from unfold.util.paths import as_path, expanded

SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")


class Finding(NamedTuple):
    """kind: unreadable, unpaired, pair, size, name, mixed, duplicate; error: whether work with these files would fail.

    paths: the files; text: what is wrong, in one line that names them.
    """

    kind: str
    error: bool
    text: str
    paths: tuple[Path, ...]


def find_sets(paths: Sequence[str]) -> dict[Path, str]:
    """The images of files and folders, each once, in natural order, with the names of their sets.

    Paths are taken as they are or under UNFOLD_DATA. A set is a folder, inputs and targets in it included, or a split
    (one of SPLITS) with all that is in it. UnfoldError where a path does not exist.
    """
    names: dict[Path, str] = {}
    seen: set[str] = set()
    for text in paths:
        root = next((place for place in (as_path(text), data_root() / expanded(text)) if place.exists()), None)
        if root is None:
            raise UnfoldError(f"there is no {text}, nor {data_root() / text} (UNFOLD_DATA says where data sets lie)")
        for path in _walk(root) if root.is_dir() else [root]:
            if (real := os.path.realpath(path)) not in seen:  # Path.resolve raises for a link to itself
                seen.add(real)
                names[path] = _set_name(path, root, len(paths) > 1)
    return names


def _walk(root: Path) -> list[Path]:
    """Images at any depth, in natural order; links to folders are followed, once."""
    found, been = [], set()
    for folder, inner, files in os.walk(root, followlinks=True):
        been.add(Path(folder).resolve())
        inner[:] = [name for name in inner if (Path(folder) / name).resolve() not in been]
        found += [Path(folder) / name for name in files if Path(name).suffix.lower() in EXTENSIONS]
    return natsorted(found)


def _set_name(path: Path, root: Path, several: bool) -> str:
    if path == root:
        return str(root)
    parts = path.parent.relative_to(root).parts
    split = next((i for i, part in enumerate(parts) if part.lower() in SPLITS), None)
    if split is not None:
        parts = parts[: split + 1]
    elif parts and parts[-1].lower() in INPUTS + TARGETS:
        parts = parts[:-1]
    return str(Path(root, *parts)) if several else str(Path(*parts)) if parts else root.resolve().name


def pair_up(files: Iterable[Path]) -> tuple[list[Pair], list[Finding]]:
    """Pairs in two folders or side by side, see :mod:`unfold.data.pairs`, and what is wrong with them."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        folders[path.parent].append(path)
    sides = [folder for folder in folders if folder.name.lower() in INPUTS + TARGETS]
    pairs: list[Pair] = []
    findings: list[Finding] = []
    for home in dict.fromkeys(folder.parent for folder in sides):
        try:
            found = [subfolder(home, names) for names in (INPUTS, TARGETS)]
            beside = [side for side in found if side and side in folders]
            if len(beside) == 2:
                _add(*match(folders[beside[0]], folders[beside[1]]), pairs, findings)
                continue
            missing = "targets" if beside[0].name.lower() in INPUTS else "inputs"
            text = f"{beside[0]} has no folder of {missing} beside it that is looked at and holds images"
            findings.append(Finding("unpaired", False, text, (beside[0],)))
        except UnfoldError as error:
            findings.append(Finding("unpaired", True, str(error), (home,)))
    for folder in folders:
        marked, others = side_by_side(folders[folder])
        if folder in sides or not {unmarked(path) for path in marked} & {unmarked(path) for path in others}:
            continue  # a mark without any partner is a name like others
        try:
            _add(*match(marked, others, unmarked), pairs, findings)
        except UnfoldError as error:
            findings.append(Finding("unpaired", True, str(error), (folder,)))
    return pairs, findings


def _add(matched: list[Pair], alone: list[Path], pairs: list[Pair], findings: list[Finding]) -> None:
    pairs += matched
    findings += [Finding("unpaired", True, f"{path} has no partner of the same name", (path,)) for path in alone]
