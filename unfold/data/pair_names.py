"""Pairs of images by the names of files and folders: known names, and the rules in their order."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from unfold.data.images import EXTENSIONS
from unfold.errors import UnfoldError

# Names of folders, and marks in names of files; capitals, _ and - are ignored, and so are "image" and similar words.
INPUTS = (
    *("input", "inputs", "inputcrop", "blur", "blurry", "blurred", "rain", "rainy", "noise", "noisy", "haze", "hazy"),
    *("snow", "snowy", "lq", "lr", "low", "lowres", "degraded", "distorted", "corrupted", "compressed", "shadow"),
)
TARGETS = (
    *("target", "targets", "targetcrop", "gt", "groundtruth", "sharp", "clean", "clear", "norain", "nohaze", "nosnow"),
    *("rainfree", "hazefree", "snowfree", "noisefree", "shadowfree", "hq", "hr", "high", "highres", "reference", "ref"),
    *("original", "normal"),
)
SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
ALL_SPLITS = tuple(name for names in SPLITS.values() for name in names)
# LRx4, LR_bicubic_X4, GTmod12, rainy_image, train_blur: additions to a known name.
_BESIDE = re.compile(r"(bic(ubic)?|unknown|mild|wild|difficult)?(x\d+)?|mod\d+|(image|img|patch|frame)(s|es)?")

# Endings of folder names, where another folder has the same name with the opposite ending. Small a and b are ordinary
# names.
_ENDS = {"A": "input", "B": "target", "in": "input", "out": "target"}
_NOT = ("no", "non", "not", "without", "de", "un")  # before a known name: negations
# Marks in names of files: these also count where the partner has no mark, as Flower_blur.png and Flower.png.
_MORE_INPUTS, _MORE_TARGETS = ("real",), ("mean",)


def _words(names: Iterable[str]) -> str:
    return "|".join(sorted(names, key=len, reverse=True))


_MARK = re.compile(
    rf"(?<![^\W\d_])(?:(?P<input>{_words(INPUTS + _MORE_INPUTS)}|in(?=\d*$))|"
    rf"(?P<target>{_words(TARGETS + _MORE_TARGETS)}|out(?=\d*$)))"
    r"(?![^\W\d_])",
    re.IGNORECASE,
)
_BLUR = re.compile(r"_(blur|real)(?=\d*$)")
_SCALE = re.compile(r"[_\-. ]?x\d+$", re.IGNORECASE)
_SEPARATORS = "_-. "
_NUMBER = re.compile(r"\d+")


class NoPartnerError(UnfoldError):
    """Images of a set of pairs have no partner."""


class NoPairsError(UnfoldError):
    """A folder holds no set of pairs."""


class Pair(NamedTuple):
    """name: the input's name without extension, unique in the set."""

    name: str
    input: Path
    target: Path


class Matched(NamedTuple):
    """pairs; alone: files without partner; rule: the rule by which names were compared, in words."""

    pairs: list[Pair]
    alone: list[Path]
    rule: str


def side_of(folder: str) -> str:
    """What a folder of this name holds: "input", "target", or "" for other names."""
    name = folder.lower()
    parts = [part for part in re.split(r"[_\-. ]", name) if part and part not in ALL_SPLITS]
    joined = "".join(parts)
    for side, names in (("input", INPUTS), ("target", TARGETS)):
        if any(joined.startswith(known) and _BESIDE.fullmatch(joined[len(known) :]) for known in names):
            return side
    return ""


class Half(NamedTuple):
    """The rest of a folder's name that marks a side, where another folder marks the opposite side.

    stem: before the side, such as the name of a set; split: train, val or test, or ""; weak: whether the side is said
    by a letter, or by in and out.
    """

    stem: str
    side: str
    split: str
    weak: bool


def half_of(folder: str) -> Half | None:
    """What a name says that alone is not known: DIV2K_train_LR_bicubic, trainA, B, rain_in; None if nothing."""
    words = [word for word in re.split(r"[_\-. ]", folder) if word]
    glued = re.fullmatch(rf"({_words(ALL_SPLITS)})([AB])", words[-1], re.IGNORECASE) if words else None
    words = [*words[:-1], *glued.groups()] if glued else words
    words = [word if word in "AB" else word.lower() for word in words]
    split = split_in("_".join(words))
    words = [word for word in words if word not in ALL_SPLITS]
    if words and words[-1] in _ENDS:
        return Half("_".join(words[:-1]), _ENDS[words[-1]], split, True)
    for i in range(1, len(words)):
        side = side_of("_".join(words[i:]))
        if side and words[i - 1] not in _NOT:
            return Half("_".join(words[:i]), side, split, False)
    return None


def split_in(folder: str) -> str:
    """The split in a folder's name besides its side: train of train_blur; "" without a split."""
    parts = re.split(r"[_\-. ]", folder.lower())
    return next((split for split, names in SPLITS.items() if set(parts) & set(names)), "")


def mark_of(stem: str) -> str:
    """ "input", "target" or "", by the last mark in a file's name."""
    found = _last_mark(stem)
    return (found.lastgroup or "") if found else ""


def _last_mark(stem: str, side: str = "") -> re.Match[str] | None:
    found = [mark for mark in _MARK.finditer(stem) if side in ("", mark.lastgroup)]
    return found[-1] if found else None


def unmarked(stem: str, side: str = "") -> str:
    """The name without its last mark (of the side, where one is given) and one separator beside it."""
    found = _last_mark(stem, side)
    if found is None:
        return stem
    before, after = stem[: found.start()], stem[found.end() :]
    if before and before[-1] in _SEPARATORS:
        before = before[:-1]
    elif not before and after and after[0] in _SEPARATORS:
        after = after[1:]
    return before + after


def old_mark(stem: str) -> bool:
    """Whether the name is marked as an input so clearly that its partner needs no mark: NAME_blur1, NAME_real."""
    return _BLUR.search(stem) is not None


Key = Callable[[Path], str]


def below(path: Path, home: Path) -> str:
    """The folders between the home and the file, with a slash behind each."""
    folder = str(path)[len(str(home)) : -len(path.name)].strip("/\\")
    return f"{folder}/" if folder else ""


def match_sides(inputs: Sequence[Path], targets: Sequence[Path], homes: tuple[Path, Path]) -> Matched:
    """Pairs of two folders by the first rule that leaves no file unpaired, else by the one that leaves the fewest.

    The rules: equal names; equal names without marks (rain-001 and norain-001, 0_lq and 0_gt); without the input's
    scale suffix (0x4 and 0); the target's name, a separator and more (0001_0.8_0.2 and 0001), where many inputs share
    one target; equal names up to zeros before numbers (1 and 0001). Folders below the two sides are part of the names.
    Exceptions: a folder that holds all files of a side where the partners are in none, and folders of inputs where many
    inputs share one target and no target is in a folder (part1/0001_0.8_0.2 and 0001). UnfoldError if a partner is
    ambiguous, with both candidates.
    """

    def key(path: Path, side: int, change: Callable[[str], str]) -> str:
        return below(path, homes[side]) + change(path.stem)

    def keyed(on_input: Callable[[str], str], on_target: Callable[[str], str], rule: str) -> Matched:
        of_input = _by_key(inputs, lambda path: key(path, 0, on_input))
        of_target = _by_key(targets, lambda path: key(path, 1, on_target))
        return joined(of_input, of_target, rule)

    def many(on_input: Callable[[str], str], on_target: Callable[[str], str], rule: str) -> Matched:
        of_target = _by_key(targets, lambda path: key(path, 1, on_target))
        flat = _flat(of_target)

        def candidates(path: Path) -> list[str]:
            return _beginnings(on_input(path.stem) if flat else key(path, 0, on_input))

        return one_to_many(inputs, candidates, of_target, rule)

    def same(stem: str) -> str:
        return stem

    def bare_input(stem: str) -> str:
        return unmarked(stem, "input")

    def bare_target(stem: str) -> str:
        return unmarked(stem, "target")

    def bare(stem: str) -> str:
        return _SCALE.sub("", bare_input(_SCALE.sub("", stem)))

    attempts: tuple[Callable[[], Matched], ...] = (
        lambda: keyed(same, same, "the same name"),
        lambda: keyed(bare_input, bare_target, "the same name but for marks such as _lq and _gt"),
        lambda: keyed(bare, bare_target, "the target's name and a scale"),
        lambda: many(same, same, "the target's name and more behind it, many inputs of one target"),
        lambda: many(
            bare_input, bare_target, "the target's name and more behind it, but for marks such as _lq and _gt"
        ),
        lambda: keyed(
            lambda stem: _without_zeros(bare(stem)),
            lambda stem: _without_zeros(bare_target(stem)),
            "the same name but for zeros before numbers",
        ),
    )
    found = _best(attempts)
    deeper = (_home_of(inputs, homes[0]), _home_of(targets, homes[1]))
    if found.alone and deeper != homes:  # LR_bicubic/X2/0001x2.png beside HR/0001.png
        again = match_sides(inputs, targets, deeper)
        return again if not again.alone else found
    return found


def _without_zeros(stem: str) -> str:
    return _NUMBER.sub(lambda number: number[0].lstrip("0") or "0", stem)


def _home_of(files: Sequence[Path], home: Path) -> Path:
    """The deepest folder that contains all files of a side."""
    return Path(os.path.commonpath([file.parent for file in files])) if files else home


def _best(attempts: Iterable[Callable[[], Matched]]) -> Matched:
    found: list[Matched] = []
    unclear: list[UnfoldError] = []
    for attempt in attempts:
        try:
            matched = attempt()
        except UnfoldError as error:
            unclear.append(error)
            continue
        if not matched.alone:
            return matched
        found.append(matched)
    best = min(found, key=lambda matched: len(matched.alone), default=None)
    if best is None or (unclear and not best.pairs):
        raise unclear[0]
    return best


def side_by_side(files: Sequence[Path]) -> Matched | None:
    """Pairs of one folder by marks in names; None if no input has its target beside it.

    Images without a mark count as targets only of NAME_blur and NAME_real. UnfoldError if a partner is ambiguous.
    """
    marks = {path: mark_of(path.stem) for path in files}
    inputs = [path for path in files if marks[path] == "input"]
    targets = [path for path in files if marks[path] != "input"]
    marked = {unmarked(path.stem) for path in targets if marks[path]}
    plain = {path.stem for path in targets if not marks[path]}
    stems = [(path.stem, unmarked(path.stem)) for path in inputs]
    if not any(bare in marked or (bare in plain and old_mark(stem)) for stem, bare in stems):
        return None  # a mark without any partner is an ordinary name
    of_input, of_target = (_by_key(side, lambda path: unmarked(path.stem)) for side in (inputs, targets))
    return joined(of_input, of_target, "marks in names side by side, such as _blur and _sharp")


def match_template(inputs: Sequence[Path], targets: Mapping[str, Path], template: str, home: Path) -> Matched:
    """Pair inputs whose names match the template, {id} being the name of a target: "{id}_*" and "{id}x4".

    * is any text, ? any character; with an extension (.jpg) the whole name counts. Several inputs may share one target.
    Folders below the inputs are ignored where no target is in a folder (RESIDE's part1, part2). UnfoldError if {id}
    fits two targets.
    """
    before, after = template.split("{id}")
    whole = after.lower().endswith(EXTENSIONS)
    head, tail = re.compile(_wild(before)), re.compile(_wild(after))
    lengths = None if re.search(r"[*?]", before) else [len(before)]
    flat = _flat(targets)

    def ids(path: Path) -> list[str]:
        name = path.name if whole else path.stem
        prefix = "" if flat else below(path, home)
        found = []
        for start in range(len(name)) if lengths is None else lengths:
            if head.fullmatch(name[:start]):
                ends = range(start + 1, len(name) + 1)
                found += [
                    prefix + name[start:end]
                    for end in ends
                    if prefix + name[start:end] in targets and tail.fullmatch(name[end:])
                ]
        return found

    return one_to_many(inputs, ids, targets, f"the template {template}")


def _flat(keys: Iterable[str]) -> bool:
    """Whether no file is in a subfolder of its side."""
    return not any("/" in key for key in keys)


def check_template(template: str) -> None:
    """UnfoldError for an invalid template of names."""
    if template.count("{id}") != 1 or "/" in template:
        raise UnfoldError(
            f"name is a template of the inputs' names with {{id}} for the target's, once, such as {{id}}_* or "
            f"{{id}}x4, not {template!r}"
        )


def _wild(text: str) -> str:
    return "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in text)


def _beginnings(key: str) -> list[str]:
    """The prefixes of a name that end before a separator."""
    start = key.rfind("/") + 1
    return [key[:i] for i in range(start + 1, len(key)) if key[i] in _SEPARATORS]


def one_to_many(
    inputs: Sequence[Path], candidates: Callable[[Path], list[str]], of_target: Mapping[str, Path], rule: str
) -> Matched:
    """Pair each input with the one target among its candidates; UnfoldError if there are two."""
    pairs, alone, used = [], [], set()
    for path in inputs:
        names = (unicodedata.normalize("NFC", name) for name in candidates(path))
        found = list(dict.fromkeys(name for name in names if name in of_target))
        if len(found) > 1:
            a, b = (of_target[name] for name in found[:2])
            raise UnfoldError(f"{path} may belong to {a} or to {b.name}: the option name says which ({rule})")
        if not found:
            alone.append(path)
            continue
        used.add(found[0])
        pairs.append(Pair(path.stem, path, of_target[found[0]]))
    return Matched(pairs, alone + [path for name, path in of_target.items() if name not in used], rule)


def joined(of_input: Mapping[str, Path], of_target: Mapping[str, Path], rule: str) -> Matched:
    """Pairs of files with equal keys, and the files without partner."""
    alone = [path for name, path in of_input.items() if name not in of_target]
    alone += [path for name, path in of_target.items() if name not in of_input]
    pairs = [Pair(path.stem, path, of_target[name]) for name, path in of_input.items() if name in of_target]
    return Matched(pairs, alone, rule)


def _by_key(paths: Iterable[Path], key: Key) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        name = unicodedata.normalize("NFC", key(path))  # macOS stores accents as separate characters
        if (other := found.setdefault(name, path)) is not path:
            raise UnfoldError(f"{other} and {path.name} have one name: the partner of both is not clear")
    return found
