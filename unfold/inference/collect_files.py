"""Which pictures are to be restored, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from natsort import natsorted

from unfold.errors import UnfoldError, reason_of
from unfold.inference.picture_files import KEEPS
from unfold.util.paths import as_path


class Job(NamedTuple):
    """problem: why nothing can be done, of a folder that cannot be read."""

    source: Path
    target: Path
    problem: str | None = None


def find_jobs(inputs: Sequence[str], output: Path) -> list[Job]:
    """One job for each picture: inputs are files, folders and patterns such as 'holiday/*.jpg'.

    Folders are searched with all folders in them, by file name, in natural order; what begins with a dot, links to
    folders and the output folder itself are left out. Results keep their names, and their place below the folder that
    was given. The output is a file where it has a picture's ending and there is one input, a file; else a folder.
    A folder that cannot be read is a job with a problem. UnfoldError where there is nothing, where two results would
    have one name or one the place of its picture.
    """
    files: list[tuple[Path, Path, str | None]] = []  # with the name below the output
    for text in inputs:
        for path in _matches(text):
            if path.is_dir():
                files += [(file, file.relative_to(path), told) for file, told in _pictures_below(path, output)]
            else:
                files.append((path, Path(path.name), None))
    if not files:
        raise UnfoldError(f"{', '.join(inputs)}: no pictures ({', '.join(KEEPS)})")
    if _is_file(output) and len(files) == 1 and not as_path(inputs[0]).is_dir():
        jobs = [Job(files[0][0], output)]
    elif _is_file(output):
        raise UnfoldError(f"{output} names one picture, and there are several or a folder: give a folder")
    else:
        jobs = [Job(source, output / name, problem) for source, name, problem in dict.fromkeys(files)]
    _check(jobs)
    return jobs


def _is_file(output: Path) -> bool:
    return output.suffix.lower() in KEEPS and not output.is_dir()


def _matches(text: str) -> list[Path]:
    """The file or folder itself, there or not; or what a pattern finds."""
    path = as_path(text)
    if os.path.lexists(path) or not glob.has_magic(text):
        return [path]
    found = natsorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  (patterns may be absolute)
    if not found:
        raise UnfoldError(f"{text}: nothing is called like that")
    return [Path(name) for name in found if Path(name).suffix.lower() in KEEPS]


def _pictures_below(folder: Path, output: Path) -> Iterator[tuple[Path, str | None]]:
    """Pictures, and folders with why they cannot be read."""
    out = os.path.realpath(output)
    unread: list[OSError] = []
    for where, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = natsorted(
            name for name in folders if not name.startswith(".") and os.path.realpath(Path(where) / name) != out
        )
        for name in natsorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in KEEPS:
                yield Path(where) / name, None
    for error in unread:
        yield Path(error.filename), f"{error.filename}: this folder cannot be read: {reason_of(error)}"


def _check(jobs: Sequence[Job]) -> None:
    sources: dict[Path, Path] = {}
    for job in jobs:
        if os.path.realpath(job.source) == os.path.realpath(job.target):
            raise UnfoldError(f"{job.target} is the picture itself: let the results go to another folder")
        if job.target in sources:
            raise UnfoldError(f"{sources[job.target]} and {job.source} would both become {job.target}")
        sources[job.target] = job.source
