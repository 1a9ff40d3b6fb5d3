"""Writing folders of many files that are whole or absent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unfold.download import alone
from unfold.errors import UnfoldError
from unfold.files import whole_file

PLAN = "prepared.json"


@contextmanager
def whole_folder(folder: Path, plan: dict[str, Any]) -> Iterator[Path | None]:
    """A folder to write files into that takes the name ``folder`` when the block ends; None where that is there.

    plan: what goes into it, for JSON; kept in it as prepared.json. Where the block fails, what it has written lies in
    .NAME.part, which the next call with the same plan is given again: files of whole_file that are there are whole. Of
    several processes one works and the others wait. UnfoldError where ``folder`` was not made by the same plan.
    """
    plan = json.loads(json.dumps(plan))
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.part")
    with alone(folder):
        if folder.exists():
            if _plan_of(folder) != plan:
                raise UnfoldError(f"{folder} is there already and holds something else; name another with --output")
            yield None
            return
        if part.exists() and _plan_of(part) != plan:
            shutil.rmtree(part)
        with whole_file(part / PLAN) as file:
            file.write(json.dumps(plan, indent=1).encode())
        yield part
        part.rename(folder)


def _plan_of(folder: Path) -> Any:
    try:
        return json.loads((folder / PLAN).read_text())
    except (OSError, ValueError):
        return None
