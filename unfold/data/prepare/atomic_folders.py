"""Write folders of many files atomically."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unfold.errors import UnfoldError
from unfold.util.atomic_files import whole_file
from unfold.util.download import alone

PLAN, COUNT = "prepared.json", "files"


@contextmanager
def whole_folder(folder: Path, plan: dict[str, object]) -> Iterator[Path | None]:
    """A temporary folder that is renamed to ``folder`` when the block ends; None if ``folder`` is complete already.

    plan: describes the content, for JSON; stored in the folder as prepared.json, with the number of files. Where the
    block fails, its files stay in .NAME.part, and the next call with the same plan gets that folder again: files
    written by whole_file are complete. A folder of the plan that lost files is also given again. One of several
    processes works, and the others wait. UnfoldError if ``folder`` was not made by the same plan.
    """
    plan = json.loads(json.dumps(plan))
    folder = folder.resolve()  # "." has no name
    _refuse_other(folder, plan)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.part")
    with alone(folder):
        if folder.exists():
            _refuse_other(folder, plan)
            if _read(folder).get(COUNT) == _count(folder):
                yield None
                return
            yield folder
            _write(folder, {**plan, COUNT: _count(folder)})
            return
        if part.exists() and _plan_of(part) != plan:
            shutil.rmtree(part)
        _write(part, plan)
        yield part
        _write(part, {**plan, COUNT: _count(part)})
        part.rename(folder)


def _refuse_other(folder: Path, plan: dict[str, object]) -> None:
    if folder.exists() and _plan_of(folder) != plan:
        raise UnfoldError(f"{folder} already exists and holds something else; name another with --output")


def _plan_of(folder: Path) -> dict[str, object]:
    return {key: value for key, value in _read(folder).items() if key != COUNT}


def _read(folder: Path) -> dict[str, object]:
    try:
        content = json.loads((folder / PLAN).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(folder: Path, content: dict[str, object]) -> None:
    with whole_file(folder / PLAN) as file:
        file.write(json.dumps(content, indent=1).encode())


def _count(folder: Path) -> int:
    """Number of files in the folder, at any depth, without the plan and hidden ones."""
    return sum(path.is_file() and path.name != PLAN and path.name[0] != "." for path in folder.rglob("*"))
