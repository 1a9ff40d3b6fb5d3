"""Check data sets before work begins: unreadable, unpaired and suspicious files."""

from __future__ import annotations

import math
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unfold.data.catalog.overlap import Corners, Image, Overlap, find_candidates, find_corners, overlay
from unfold.data.catalog.set_layout import Finding, Rule, find_sets, given_pairs, listed_pairs, pair_up
from unfold.data.images import EXTENSIONS, find_list, opened, pixel_digest, read_own
from unfold.data.pairs import UNSAID, Given
from unfold.data.parallel import in_parallel
from unfold.errors import UnfoldError
from unfold.util.arrays import Array

SMALLEST = 8  # pixels on a side: minimum of the networks
ENOUGH = 64  # files that are worth starting processes
# Pillow's format names for these file extensions.
CONTENT = {".jpg": ("JPEG", "MPO"), ".jpeg": ("JPEG", "MPO"), ".jfif": ("JPEG", "MPO"), ".tif": ("TIFF",)}
CONTENT |= dict.fromkeys((".pgm", ".pbm", ".pnm"), ("PPM",))
CONTENT |= {".jp2": ("JPEG2000",), ".j2k": ("JPEG2000",), ".heic": ("HEIF",)}
CONTENT |= {extension: (extension[1:].upper(),) for extension in EXTENSIONS if extension not in CONTENT}
COPY = Overlap(correlation=1.0, equal=True, scale=1.0, turn=0.0, corner=(0, 0), covers=(1.0, 1.0))


class Shared(NamedTuple):
    """Two files that show the same photograph."""

    first: Path
    second: Path
    how: Overlap


@dataclass
class Set:
    """The images of one folder, or of one split of a set; inputs and targets are in one set."""

    name: str
    files: list[Path] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)  # height and width of the readable ones
    kinds: dict[Path, str] = field(default_factory=dict)
    psnr: dict[Path, float] = field(default_factory=dict)  # of pairs, by input

    def not_multiple(self, multiple: int) -> int:
        """Number of images with a side that is not a multiple."""
        return sum(any(side % multiple for side in size) for size in self.sizes)


@dataclass
class Report:
    """shared: by the names of two sets. It is never an error, but for train and test sets mostly a mistake. rules: how
    pairs were found.
    """

    sets: list[Set]
    findings: list[Finding]
    shared: dict[tuple[str, str], list[Shared]]
    files: int
    rules: list[Rule] = field(default_factory=list)

    @property
    def errors(self) -> int:
        return sum(finding.error for finding in self.findings)


class Facts(NamedTuple):
    """Facts about an image, without its pixels. kind: grey or RGB, and bits; digest: of the pixels."""

    path: Path
    error: str = ""
    size: tuple[int, int] = (0, 0)
    kind: str = ""
    content: str = ""
    digest: bytes = b""
    corners: Corners | None = None


def examine(paths: Sequence[str], smallest: int = SMALLEST, given: Given = UNSAID) -> Report:
    """Check files and folders, at any depth, as they are or under UNFOLD_DATA.

    smallest: minimum side in pixels. given: for every path, the folders of the two sides and the template of the
    inputs' names, instead of usual names. Sets and pairs: see set_layout.py. Different sets are compared for the same
    photographs: for pairs by the targets, or by the inputs where targets are unreadable. Many images are read by all
    processors, see :func:`unfold.data.parallel.in_parallel`. Memory: up to 160 KB per image, and the pixels of one pair
    per process.

    UnfoldError if a path does not exist, there are no images or a process dies.
    """
    names = find_sets(paths)
    if not names:
        raise UnfoldError(f"{', '.join(paths)} holds no images ({', '.join(EXTENSIONS)})")
    rules, findings = given_pairs(paths, given) if any(given) else _paired(paths, names)
    if any(given):  # the two sides form one set
        homes = {file: str(rule.place) for rule in rules for pair in rule.pairs for file in pair[1:]}
        names = {path: homes.get(path, name) for path, name in names.items()}
    pairs = [pair for rule in rules for pair in rule.pairs]
    partners = {side for pair in pairs for side in (pair.input, pair.target)}
    units = [(pair.input, pair.target) for pair in pairs] + [(path,) for path in names if path not in partners]
    done: set[Path] = set()  # a target of many inputs counts once
    sets = {name: Set(name) for name in names.values()}
    clean: list[Facts] = []
    scales: dict[Path, tuple[int, Path]] = {}
    for facts, psnr in in_parallel(_examine, units, "reading images", "image", ENOUGH):
        for fact in facts:
            if fact.path not in done:
                _note(fact, sets[names[fact.path]], smallest, findings)
        readable = [fact for fact in facts if not fact.error]
        clean += [fact for fact in facts if fact.corners is not None and fact.path not in done]
        done |= {fact.path for fact in facts}
        if len(readable) == 2:
            sets[names[facts[0].path]].psnr.update({facts[0].path: psnr} if psnr is not None else {})
            findings += _compare(readable[0], readable[1], psnr, scales)
    numbers = {name: i for i, name in enumerate(sets)}
    clean.sort(key=lambda fact: numbers[names[fact.path]])
    findings += [finding for one in sets.values() for finding in _odd_ones(one)] + _duplicates(clean, names)
    order = {path: i for i, path in enumerate(names)}
    findings.sort(key=lambda finding: (not finding.error, order.get(finding.paths[0], -1)))
    return Report(list(sets.values()), findings, _shared(clean, names), len(names), rules)


def _paired(paths: Sequence[str], names: dict[Path, str]) -> tuple[list[Rule], list[Finding]]:
    """The pairs of lists, and of all other files by name and folder."""
    rules: list[Rule] = []
    listed: set[Path] = set()
    for text in paths:
        if (path := find_list(text)) is not None and (pairs := listed_pairs(path)) is not None:
            rules.append(Rule(path, "a list", pairs))
            listed |= {file for pair in pairs for file in (pair.input, pair.target)}
    found, findings = pair_up(path for path in names if path not in listed)
    return rules + found, findings


def _examine(unit: tuple[Path, ...]) -> tuple[list[Facts], float | None]:
    """Examine an image; or an input and its target, with their PSNR where size and depth are equal."""
    read = [_read(path) for path in unit]
    facts = [fact for fact, _ in read]
    images = [image for _, image in read if image is not None]
    if images:
        last = max(i for i, fact in enumerate(facts) if not fact.error)
        facts[last] = facts[last]._replace(corners=find_corners(images[-1]))
    if len(images) < 2 or images[0].shape != images[1].shape or images[0].dtype != images[1].dtype:
        return facts, None
    return facts, _psnr(*images)


def _read(path: Path) -> tuple[Facts, Image | None]:
    if _is_special(path):
        return Facts(path, f"{path} is no regular file, and is not opened"), None
    try:
        pixels, content = read_own(path), _content(path)
    except UnfoldError as error:
        return Facts(path, str(error)), None
    channels = {1: "grey", 3: "RGB"}.get(pixels.shape[2], f"{pixels.shape[2]} bands")
    kind = f"{channels} {'floats' if pixels.dtype.kind == 'f' else f'{8 * pixels.itemsize} bits'}"
    pixels = _as_picture(pixels)
    height, width = pixels.shape[:2]
    return Facts(path, size=(height, width), kind=kind, content=content, digest=pixel_digest(pixels)), pixels


def _content(path: Path) -> str:
    """The file's format, as Pillow calls it."""
    if path.suffix.lower() == ".npy":
        return "NPY"
    try:
        with opened(path) as image:
            return str(image.format)
    except UnfoldError:  # bands, which Pillow does not know
        return "TIFF"


def _as_picture(pixels: Array) -> Image:
    """(H,W,3) in integers, for comparison: grey repeated, three of the bands, floats in 16 bits."""
    if pixels.dtype.kind == "f":
        pixels = np.rint(pixels * 65535).astype(np.uint16)
    count = pixels.shape[2]
    return pixels if count == 3 else np.ascontiguousarray(pixels[..., np.linspace(0, count - 1, 3).round().astype(int)])


def _is_special(path: Path) -> bool:
    """Whether the path is not a regular file: opening a named pipe may block without end."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:  # opening it raises the reason
        return False


def _psnr(a: Image, b: Image) -> float:
    """PSNR in dB over all channels, infinite for equal images; as in unfold.metrics, but without torch."""
    import cv2

    error = cv2.norm(a, b, cv2.NORM_L2) ** 2 / a.size
    return 10 * math.log10(np.iinfo(a.dtype).max ** 2 / error) if error else math.inf


def _note(fact: Facts, one: Set, smallest: int, findings: list[Finding]) -> None:
    one.files.append(fact.path)
    if fact.error:
        findings.append(Finding("unreadable", True, fact.error, (fact.path,)))
        return
    one.sizes.append(fact.size)
    one.kinds[fact.path] = fact.kind
    height, width = fact.size
    if min(fact.size) < smallest:
        text = f"{fact.path} is {width}x{height} pixels, and at least {smallest}x{smallest} are needed"
        findings.append(Finding("size", True, text, (fact.path,)))
    if fact.content not in CONTENT.get(fact.path.suffix.lower(), ()):
        findings.append(Finding("name", False, f"{fact.path} is {fact.content} by its content", (fact.path,)))


def _compare(y: Facts, target: Facts, psnr: float | None, scales: dict[Path, tuple[int, Path]]) -> list[Finding]:
    """scales: filled here: by the folder of inputs, the scale of its first pair."""
    paths = (y.path, target.path)
    a, b = (f"{fact.size[1]}x{fact.size[0]}, {fact.kind}" for fact in (y, target))
    scale = max(target.size[0] // y.size[0], 1)
    if target.size != (scale * y.size[0], scale * y.size[1]):
        text = f"{y.path} is {a}, and {target.path} {b}: a pair has one size, or the target whole times that"
        return [Finding("pair", True, text, paths)]
    first, example = scales.setdefault(y.path.parent, (scale, y.path))
    if scale != first:
        text = f"{y.path} is {scale} times smaller than its target, and {example} {first} times: a set has one scale"
        return [Finding("pair", True, text, paths)]
    if psnr is None and scale == 1:
        return [Finding("pair", False, f"{y.path} is {a}, and {target.path} {b}: different depths", paths)]
    if psnr == math.inf:
        return [Finding("pair", False, f"{y.path} and {target.path} are the same", (y.path, target.path))]
    return []


def _odd_ones(one: Set) -> list[Finding]:
    counts = Counter(one.kinds.values())
    most = max(counts, key=lambda kind: counts[kind], default="")
    return [
        Finding("mixed", False, f"{path} is {kind}, and most of {one.name} {most}", (path,))
        for path, kind in one.kinds.items()
        if kind != most
    ]


def _duplicates(clean: Iterable[Facts], names: dict[Path, str]) -> list[Finding]:
    """Images of one set with the same pixels."""
    same: dict[tuple[str, bytes], list[Path]] = defaultdict(list)
    for fact in clean:
        same[names[fact.path], fact.digest].append(fact.path)
    return [
        Finding("duplicate", False, f"the same pixels: {', '.join(map(str, paths))}", tuple(paths))
        for paths in same.values()
        if len(paths) > 1
    ]


def _shared(clean: list[Facts], names: dict[Path, str]) -> dict[tuple[str, str], list[Shared]]:
    """The photographs that two sets share. Files are in the order of the sets, and all have corners."""
    sets = list(dict.fromkeys(names[fact.path] for fact in clean))
    groups = [sets.index(names[fact.path]) for fact in clean]
    same: dict[bytes, list[int]] = defaultdict(list)
    for i, fact in enumerate(clean):
        same[fact.digest].append(i)
    copies = [
        pair
        for copies_of_one in same.values()
        for pair in combinations(copies_of_one, 2)
        if groups[pair[0]] != groups[pair[1]]
    ]
    shared = [(*pair, COPY) for pair in copies]
    candidates = find_candidates([fact.corners for fact in clean if fact.corners is not None], groups)
    candidates = [found for found in candidates if clean[found.first].digest != clean[found.second].digest]
    work = [(clean[found.first].path, clean[found.second].path, found.transform) for found in candidates]
    laid = in_parallel(_lay, work, "comparing images", "image", ENOUGH)
    for found, how in zip(candidates, laid, strict=True):
        shared += [(found.first, found.second, how)] if how else []
    result: dict[tuple[str, str], list[Shared]] = {}
    for i, j, how in sorted(shared, key=lambda entry: (groups[entry[0]], groups[entry[1]], entry[0], entry[1])):
        pair = Shared(clean[i].path, clean[j].path, how)
        result.setdefault((sets[groups[i]], sets[groups[j]]), []).append(pair)
    return result


def _lay(work: tuple[Path, Path, NDArray[np.float64]]) -> Overlap | None:
    first, second, transform = work
    return overlay(_as_picture(read_own(first)), _as_picture(read_own(second)), transform)
