"""Pairs of images: degraded input and ground truth. Rules of their names: :mod:`unfold.data.pair_names`."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from natsort import natsorted

from unfold.data.images import (
    as_channels,
    chosen,
    find_folder,
    find_list,
    images_in,
    is_image_name,
    listed_lines,
    read_channels,
    read_own,
    sliced,
    without_heading,
)
from unfold.data.pair_names import (
    ALL_SPLITS,
    SPLITS,
    Matched,
    below,
    check_template,
    half_of,
    mark_of,
    match_sides,
    match_template,
    old_mark,
    side_by_side,
    side_of,
    split_in,
    unmarked,
)
from unfold.data.pair_names import INPUTS as INPUTS
from unfold.data.pair_names import TARGETS as TARGETS
from unfold.data.pair_names import NoPairsError as NoPairsError
from unfold.data.pair_names import NoPartnerError as NoPartnerError
from unfold.data.pair_names import Pair as Pair
from unfold.errors import UnfoldError
from unfold.util.arrays import Array
from unfold.util.paths import as_path

DEPTH = 3  # levels of nested scene folders
SIDES = {"input": "inputs", "target": "targets"}
BY_LIST = "a text file with the two paths of a pair per line names any others"


class Given(NamedTuple):
    """What the user sets: the folders of the two sides, and the template of the inputs' names; "" for none."""

    input: str = ""
    target: str = ""
    name: str = ""


UNSAID = Given()


class PairedSet(NamedTuple):
    """pairs, in natural order of the inputs; rule: how they were found, in words."""

    pairs: list[Pair]
    rule: str


def find_pairs(source: str, split: str = "test", *, input: str = "", target: str = "", name: str = "") -> list[Pair]:
    """The pairs of a set, in natural order.

    source: a folder, or a text file with two paths per line (a space, tab or comma between them), relative to it, as it
    is or under UNFOLD_DATA; or a slice of these pairs, "name[:-4]". In a folder, pairs are looked for

    - in two folders of known names (pair_names.INPUTS and TARGETS), there or in its folder ``split``, which may also
      lie in each of the two; partners are found by :func:`unfold.data.pair_names.match_sides`;
    - in one folder, by marks in the names (0_noisy.png and 0_clean.png);
    - in folders of scenes that each hold pairs in one of these ways.

    input, target: folders of the two sides, relative to the source, instead of known names. name: the template of the
    inputs' names, {id} being the target's name: "{id}_*".

    UnfoldError if there are no pairs, or an image has no partner or an ambiguous one.
    """
    return find_paired_set(source, split, Given(input, target, name)).pairs


def find_paired_set(source: str, split: str = "test", given: Given = UNSAID) -> PairedSet:
    """As :func:`find_pairs`, with the rule by which they were found."""
    if given.name:
        check_template(given.name)
    name, part = sliced(source)
    if (listed := find_list(name)) is not None:
        if any(given):
            raise UnfoldError(f"{listed} lists pairs: leave the options input, target and name out")
        found = PairedSet(_listed_pairs(listed), "a list")
    else:
        folder = find_folder(name)
        place, matched = _search(folder, split, given)
        found = PairedSet(_distinct(_all_matched(place, matched)), matched.rule)
    return PairedSet(chosen(found.pairs, part, source), found.rule)


def holds_pairs(folder: Path, split: str) -> bool:
    """Whether a folder is a set of pairs by its names: it has a folder of one side, or pairs in another layout."""
    places = _places(folder, split)
    if any(subfolder(place, side, split) for place in places for side in SIDES):
        return True
    if any(_halves(place, split) for place in places):
        return True
    if _images_of(folder):
        return bool(marked_inputs(folder.iterdir()))
    return any(_scenes(place, split, UNSAID, DEPTH) for place in places)


def _places(folder: Path, split: str) -> list[Path]:
    """The folder, and its subfolders named after the split."""
    known = SPLITS.get(split, (split,))
    return [folder, *(path for path in _folders(folder) if path.name.lower() in known)]


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return natsorted(folder / entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())


def _search(folder: Path, split: str, given: Given) -> tuple[Path, Matched]:
    """The place in a folder that holds pairs, the pairs, and the unpaired files. UnfoldError if there are none."""
    halves: list[UnfoldError] = []
    places = _places(folder, split)
    for place in places:
        try:
            sides = _two_sides(place, split, given)
        except NoPartnerError as half:
            halves.append(half)
            continue
        if sides is not None:
            return place, _match_folders(place, *sides, split, given.name)
    if halves:
        raise halves[0]
    for place in places:
        if matched := _one_folder(place, given):
            return place, matched
    for place in places:
        if matched := _scenes(place, split, given, DEPTH):
            return place, matched
    raise _nothing(folder, split, given)


def subfolder(folder: Path, side: str, split: str = "") -> Path | None:
    """The subfolder that holds a side ("input" or "target") by its name; among names with a split (train_blur), that of
    ``split``. None if there is none, UnfoldError if there are several.
    """
    if not folder.is_dir():
        return None
    found = [path for path in _folders(folder) if side_of(path.name) == side and split_in(path.name) in ("", split)]
    found = [path for path in found if split_in(path.name)] or found
    if len(found) > 1:
        raise UnfoldError(
            f"{folder} holds both {found[0].name} and {found[1].name}, and one of them is wanted: the option {side} "
            "says which"
        )
    return found[0] if found else None


def _halves(folder: Path, split: str) -> tuple[Path, Path] | None:
    """The folders of the two sides by opposite names: see pair_names.half_of. None if
    there are no such two, UnfoldError if there are more.
    """
    known = [(half, path) for path in _folders(folder) if (half := half_of(path.name)) and half.split in ("", split)]
    known = [(half, path) for half, path in known if half.split] or known
    # A and B may also be scenes, which hold the two sides.
    known = [(half, path) for half, path in known if not half.weak or _images_of(path) or _places(path, split)[1:]]
    sides: dict[str, dict[str, list[Path]]] = {}
    for half, path in known:
        sides.setdefault(half.stem, {"input": [], "target": []})[half.side].append(path)
    whole = [both for both in sides.values() if all(both.values())]
    if not whole:
        return None
    names = [path.name for both in whole for side in both.values() for path in side]
    if len(names) > 2:
        raise UnfoldError(
            f"{folder} holds {', '.join(names)}, and two of them are wanted: the options input and target"
        )
    return whole[0]["input"][0], whole[0]["target"][0]


def _two_sides(place: Path, split: str, given: Given) -> tuple[Path, Path] | None:
    """The folders of inputs and targets; None if there is neither, NoPartnerError where one of them is missing."""
    found = []
    for side, text in (("input", given.input), ("target", given.target)):
        path = place / as_path(text) if text else subfolder(place, side, split)
        found.append(path if path is not None and path.is_dir() else None)
    if None in found and not (given.input or given.target) and (halves := _halves(place, split)):
        found = list(halves)
    inputs, targets = found
    if inputs is not None and targets is not None:
        if inputs.resolve() == targets.resolve():
            raise UnfoldError(f"{inputs} would hold both sides: give two folders, or the option name alone")
        return inputs, targets
    if inputs is None and targets is None:
        return None
    missing = "input" if inputs is None else "target"
    if text := getattr(given, missing):
        raise NoPartnerError(f"{place} has no folder {text}, which the option {missing} names{_there(place)}")
    known = ", ".join(
        ("target", "gt", "clean", "sharp", "hr") if missing == "target" else ("input", "noisy", "blur", "lq")
    )
    raise NoPartnerError(
        f"{inputs or targets} has no folder of {SIDES[missing]} beside it, which would be one of {known} or the like; "
        f"the option {missing} names another"
    )


def _there(place: Path) -> str:
    names = [path.name for path in _folders(place)]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f" (there are {', '.join(names[:5])}{more})" if names else ""


def _match_folders(place: Path, inputs: Path, targets: Path, split: str, template: str) -> Matched:
    inner = [next((p for p in _places(side, split)[1:]), None) for side in (inputs, targets)]
    if inner[0] is not None and inner[1] is not None:
        inputs, targets = inner[0], inner[1]
    files = [_side_files(side, split) for side in (inputs, targets)]
    if template:
        known: dict[str, Path] = {}
        for path in files[1]:
            key = below(path, targets) + path.stem
            if (other := known.setdefault(key, path)) is not path:
                raise UnfoldError(f"{other} and {path.name} have one name: the partner of both is not clear")
        matched = match_template(files[0], known, template, inputs)
    else:
        matched = match_sides(files[0], files[1], (inputs, targets))
    where = f"{inputs.relative_to(place)} and {targets.relative_to(place)}" if _inside(place, inputs, targets) else ""
    pairs = [pair._replace(name=below(pair.input, inputs).replace("/", "_") + pair.name) for pair in matched.pairs]
    return Matched(pairs, matched.alone, f"folders {where or f'{inputs} and {targets}'}, {matched.rule}")


def _inside(place: Path, *folders: Path) -> bool:
    return all(place in folder.parents for folder in folders)


def _side_files(side: Path, split: str) -> list[Path]:
    """The images of a side, in natural order: those in the folder, or where there are none, those below it."""
    if found := _images_of(side):
        return found
    inner = _folders(side)
    if inner and all(path.name.lower() in ALL_SPLITS for path in inner):
        there = ", ".join(path.name for path in inner)
        raise UnfoldError(f"{side} holds {there}, and {split} is wanted in it and in the other side's folder")
    return _below(side) or images_in(side)  # raises where there are none


def _images_of(folder: Path) -> list[Path]:
    """The images in a folder, in natural order; nothing hidden."""
    with os.scandir(folder) as entries:
        names = natsorted(entry.name for entry in entries if is_image_name(entry.name) and entry.is_file())
    return [folder / name for name in names]


def _below(folder: Path) -> list[Path]:
    """The images in and below a folder, in natural order; nothing hidden."""
    found = []
    for home, inner, files in os.walk(folder):
        inner[:] = [name for name in inner if name[0] != "."]
        found += [os.path.join(home, name) for name in files if is_image_name(name)]  # noqa: PTH118  (fast)
    return [Path(name) for name in natsorted(found)]


def _one_folder(place: Path, given: Given) -> Matched | None:
    """Pairs in one folder, by the template where there is one."""
    if given.input or given.target:
        return None
    files = _images_of(place)
    if not given.name:
        return side_by_side(files)
    stems = {path.stem: path for path in files}
    first = match_template(files, stems, given.name, place)
    degraded = {pair.input for pair in first.pairs if pair.input != pair.target}
    if not degraded:
        return None
    targets = {path.stem: path for path in files if path not in degraded}
    return match_template([path for path in files if path in degraded], targets, given.name, place)


def _scenes(place: Path, split: str, given: Given, depth: int) -> Matched | None:
    """The pairs of scene folders in a folder; their names start with the scene's."""
    pairs: list[Pair] = []
    alone: list[Path] = []
    rules: list[str] = []
    for scene in _folders(place):
        if scene.name.lower() in ALL_SPLITS:
            continue
        sides = _two_sides(scene, split, given)
        matched = _match_folders(scene, *sides, split, given.name) if sides else _one_folder(scene, given)
        matched = matched or (_scenes(scene, split, given, depth - 1) if depth > 1 else None)
        if matched is None:
            alone += _below(scene)
            continue
        pairs += [pair._replace(name=f"{scene.name}_{pair.name}") for pair in matched.pairs]
        alone += matched.alone
        rules.append(matched.rule)
    if not rules:
        return None
    alone += _images_of(place)
    return Matched(pairs, alone, f"folders of scenes; {' or '.join(dict.fromkeys(rules))}")


def _nothing(folder: Path, split: str, given: Given) -> UnfoldError:
    names = [path.name for path in _folders(folder)]
    if any(given):
        said = ", ".join(f"{key} {value}" for key, value in given._asdict().items() if value)
        return NoPairsError(
            f"{folder} holds no pairs by the options {said}, there or in {split}{_there(folder)}; {BY_LIST}"
        )
    hint = f"; the options input and target name the folders{_there(folder)}" if names else ""
    return NoPairsError(
        f"{folder} holds no pairs: neither folders such as input and target, there or in {split}, "
        f"nor images such as 1_blur.png and 1_sharp.png{hint}; {BY_LIST}"
    )


def _all_matched(place: Path, matched: Matched) -> list[Pair]:
    if alone := matched.alone:
        first = ", ".join(str(path.relative_to(place) if place in path.parents else path) for path in alone[:3])
        more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
        by_name = "same name" in matched.rule or "side by side" in matched.rule
        how = "of the same name" if by_name else f"by {matched.rule}"
        hint = "" if matched.pairs else f"; the option name says how inputs are called, such as {{id}}_*, or {BY_LIST}"
        raise NoPartnerError(f"{place}: {len(alone)} without a partner {how}: {first}{more}{hint}")
    return matched.pairs


def _distinct(pairs: list[Pair]) -> list[Pair]:
    """The pairs; UnfoldError if two have one name."""
    seen: dict[str, Pair] = {}
    for pair in pairs:
        if (other := seen.setdefault(pair.name, pair)) is not pair:
            raise UnfoldError(f"{other.input} and {pair.input} would both be called {pair.name}: rename one of them")
    return pairs


def _listed_pairs(listed: Path) -> list[Pair]:
    """The pairs of a list. UnfoldError, with the line, for a line that is not a pair of existing files."""
    pairs: list[Pair] = []
    seen: dict[Path, int] = {}
    for number, line in without_heading(listed, listed_lines(listed), _words_of):
        words = _words_of(line)
        if len(words) != 2 or not all(words):
            raise UnfoldError(
                f"{listed}, line {number}: two paths are wanted, input and target, with a space, a tab or a comma "
                f'between them (in "quotes" where a path has such itself), and not {line!r}'
            )
        files = [listed.parent / as_path(word) for word in words]
        for file in files:
            if not file.is_file():
                raise UnfoldError(f"{listed}, line {number}: there is no {file}")
        if files[0] == files[1]:
            raise UnfoldError(f"{listed}, line {number}: {words[0]} is both the input and the target")
        if files[0] in seen:
            raise UnfoldError(f"{listed}, line {number}: {words[0]} stands in line {seen[files[0]]} already")
        seen[files[0]] = number
        pairs.append(Pair(files[0].stem, files[0], files[1]))
    if len({pair.name for pair in pairs}) < len(pairs):  # files with equal names in several folders
        pairs = [
            pair._replace(name=re.sub(r"[/\\]+", "_", os.path.relpath(pair.input.with_suffix(""), listed.parent)))
            for pair in pairs
        ]
    return _distinct(pairs)


def _words_of(line: str) -> list[str]:
    """The words of a line of a list: separated by tabs or commas, as in CSV, or by spaces; "quotes" keep a word
    together.
    """
    for separator in "\t,":
        if separator in line:
            words = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
            if len(words) > 1:
                return [word.strip() for word in words]
    return next(csv.reader([line], delimiter=" ", skipinitialspace=True), []) if '"' in line else line.split()


def marked_inputs(files: Iterable[Path]) -> list[Path]:
    """The images that are marked as inputs and have their target in the same folder, in natural order."""
    images = natsorted(path for path in files if is_image_name(path.name))
    marks = [(path, mark_of(path.stem)) for path in images]
    targets = {unmarked(path.stem) for path, mark in marks if mark == "target"}
    plain = {path.stem for path, mark in marks if not mark}
    return [
        path
        for path, mark in marks
        if mark == "input"
        and (unmarked(path.stem) in targets or (unmarked(path.stem) in plain and old_mark(path.stem)))
    ]


def read_pair(pair: Pair, channels: Sequence[int] = (0, 0)) -> tuple[Array, Array]:
    """Input and target (H,W,C), uint8, uint16 or float32 in [0,1], each as in its file.

    channels: of the input and of the target; 0: three for grey and colour, else the file's own number. The target may
    be a whole number of times as large as the input, see :func:`scale_of`. UnfoldError as for read_channels, and for
    other sizes.
    """
    y, target = (_read_side(path, count) for path, count in zip(pair[1:], channels, strict=True))
    scale_of(pair, y, target)
    return y, target


def _read_side(path: Path, channels: int) -> Array:
    if channels:
        return read_channels(path, channels)
    image = read_own(path)
    return as_channels(image, 3, path) if image.shape[2] == 1 else image


def scale_of(pair: Pair, y: Array, target: Array) -> int:
    """The scale of a pair, target size over input size; UnfoldError unless it is one whole number for both axes."""
    (h, w), (high, wide) = y.shape[:2], target.shape[:2]
    scale = max(high // h, 1)
    if (high, wide) != (h * scale, w * scale):
        raise UnfoldError(
            f"{pair.input} is {w}x{h} and {pair.target} {wide}x{high}: a pair has one size, or the target is a whole "
            "number of times as large"
        )
    return scale
