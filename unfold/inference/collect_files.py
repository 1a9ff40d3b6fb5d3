"""Find the pictures to restore, and where each result goes."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from natsort import natsorted

from unfold.data.images import EXTENSIONS
from unfold.errors import UnfoldError, reason_of
from unfold.inference.picture_files import KEEPS
from unfold.util.paths import as_path

logger = logging.getLogger("unfold")
SUFFIXES = {"png": ".png", "jpg": ".jpg", "tiff": ".tiff", "webp": ".webp"}  # by the value of --format


class Job(NamedTuple):
    """problem: why a folder cannot be read; None for a picture. named: whether an input names the file itself, not only
    its folder or a pattern.
    """

    source: Path
    target: Path
    problem: str | None = None
    named: bool = False


def find_jobs(
    inputs: Sequence[str],
    output: Path,
    form: str | None = None,
    left_out: Counter[str] | None = None,
    measured: Callable[[Path], bool] = lambda path: False,
) -> list[Job]:
    """One job for each picture: inputs are files, folders and patterns such as 'holiday/*.jpg'.

    Folders are searched with all folders in them, by file name, in natural order; what begins with a dot, links to
    folders and the output folder itself are skipped. Results keep their place below the given folder, and their names.
    The extension is that of ``form``, a key of SUFFIXES; without it, the picture's own, or .png where that format is
    not written. Where two results would then have one name (a.gif and a.png), the one with another extension keeps it,
    too (a.gif.png), which is logged. The output is a file where it has a picture's extension and there is one input, a
    file; else a folder. A folder that cannot be read is a job with a problem. left_out: counts, by extension, the files
    of folders and patterns that are not pictures by name. measured: whether a file holds a measurement, which is
    restored like a picture, by default into a .png. UnfoldError where there is nothing, no input
    exists, two results would have one name, or a result would replace an input.
    """
    others: Counter[str] = Counter()
    files: list[tuple[Path, Path, str | None]] = []  # with the name below the output
    named = {as_path(text) for text in inputs}
    for text in inputs:
        for path in _matches(text, others, measured):
            if path.is_dir():
                found = _pictures_below(path, output, others, measured)
                files += [(file, file.relative_to(path), problem) for file, problem in found]
            else:
                files.append((path, Path(path.name), None))
    if left_out is not None:
        left_out.update(others)
    if not files:
        there = f"; there are {by_kind(others)}" if others else ""
        raise UnfoldError(f"{', '.join(inputs)}: no pictures ({', '.join(EXTENSIONS)}){there}")
    if not any(os.path.lexists(file) or problem for file, _, problem in files):
        raise UnfoldError(f"there is no file and no folder {', '.join(inputs)}")
    if _is_file(output) and len(files) == 1 and not as_path(inputs[0]).is_dir():
        if form is not None and _format_of(output) != form:
            raise UnfoldError(f"--format {form} and the name {output.name} say two things: leave one out")
        jobs = [Job(files[0][0], output, named=files[0][0] in named)]
    elif _is_file(output):
        raise UnfoldError(f"{output} names one picture, and there are several or a folder: give a folder")
    else:
        if output.suffix and len(files) == 1 and not as_path(inputs[0]).is_dir() and not output.exists():
            logger.info("note: %s becomes a folder: pictures are written as %s", output, ", ".join(KEEPS))
        jobs = _distinguished(
            [(Job(source, output, problem, source in named), name) for source, name, problem in dict.fromkeys(files)],
            form,
            measured,
        )
    _check(jobs)
    return jobs


def by_kind(endings: Counter[str], most: int = 6) -> str:
    """Such as "2 .cr2, 1 .txt": the most frequent first."""
    counted = sorted(endings.items(), key=lambda one: (-one[1], one[0]))
    counts = [f"{number} {ending or 'without an ending'}" for ending, number in counted[:most]]
    if rest := sum(number for _, number in counted[most:]):
        counts.append(f"{rest} others")
    return ", ".join(counts)


def _named(name: Path, form: str | None) -> Path:
    """form: a key of SUFFIXES; None: as it is, where that is written."""
    if form is not None:
        return name.with_suffix(SUFFIXES[form])
    return name if name.suffix.lower() in KEEPS else name.with_suffix(".png")


def _distinguished(jobs: Sequence[tuple[Job, Path]], form: str | None, measured: Callable[[Path], bool]) -> list[Job]:
    """The jobs with their targets, below the folder that is theirs."""
    wishes = [
        job.target / _named(name, form or ("png" if not job.problem and measured(job.source) else None))
        for job, name in jobs
    ]
    often = {target for target, count in Counter(wishes).items() if count > 1}
    made, longer = [], []
    for (job, name), target in zip(jobs, wishes, strict=True):
        if target in often and name.name != target.name:
            target = target.with_name(f"{name.name}{target.suffix}")
            longer.append(target.name)
        made.append(job._replace(target=target))
    if longer:
        more = f" and {len(longer) - 1} more" if len(longer) > 1 else ""
        logger.info("note: results of one name keep the ending of the picture: %s%s", longer[0], more)
    return made


def _format_of(output: Path) -> str | None:
    alike = {".tif": ".tiff", ".jpeg": ".jpg", ".jfif": ".jpg"}
    suffix = output.suffix.lower()
    return {suffix: form for form, suffix in SUFFIXES.items()}.get(alike.get(suffix, suffix))


def _is_file(output: Path) -> bool:
    suffix = output.suffix.lower()
    if suffix in EXTENSIONS and suffix not in KEEPS and not output.is_dir():
        raise UnfoldError(f"{output}: pictures are written as {', '.join(KEEPS)}")
    return suffix in KEEPS and not output.is_dir()


def _matches(text: str, others: Counter[str], measured: Callable[[Path], bool]) -> list[Path]:
    """The file or folder itself, there or not; or the matches of a pattern; others counts non-pictures."""
    path = as_path(text)
    if os.path.lexists(path) or not glob.has_magic(text):
        return [path]
    found = natsorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  (patterns may be absolute)
    if not found:
        raise UnfoldError(f"{text}: nothing is called like that")
    paths = [Path(name) for name in found]
    wanted = [path.suffix.lower() in EXTENSIONS or measured(path) for path in paths]
    others.update(path.suffix.lower() for path, one in zip(paths, wanted, strict=True) if not one and path.is_file())
    return [path for path, one in zip(paths, wanted, strict=True) if one]


def _pictures_below(
    folder: Path, output: Path, others: Counter[str], measured: Callable[[Path], bool]
) -> Iterator[tuple[Path, str | None]]:
    """Pictures, and unreadable folders with the reason; others counts non-pictures."""
    out = os.path.realpath(output)
    unread: list[OSError] = []
    for where, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = natsorted(
            name for name in folders if not name.startswith(".") and os.path.realpath(Path(where) / name) != out
        )
        for name in natsorted(names):
            if name.startswith("."):
                continue
            if Path(name).suffix.lower() in EXTENSIONS or measured(Path(where) / name):
                yield Path(where) / name, None
            else:
                others[Path(name).suffix.lower()] += 1
    for error in unread:
        yield Path(error.filename), f"{error.filename}: this folder cannot be read: {reason_of(error)}"


def _check(jobs: Sequence[Job]) -> None:
    sources: dict[Path, Path] = {}
    pictures = {os.path.realpath(job.source) for job in jobs}
    for job in jobs:
        if (place := os.path.realpath(job.target)) in pictures:
            what = "the picture itself" if place == os.path.realpath(job.source) else "a picture that is to be restored"
            raise UnfoldError(f"{job.target} is {what}: let the results go to another folder")
        if job.target in sources:
            raise UnfoldError(
                f"{sources[job.target]} and {job.source} would both become {job.target}: restore one of them "
                "by itself, into another folder"
            )
        sources[job.target] = job.source
