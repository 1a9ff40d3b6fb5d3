"""`unfold new DIR`: a small project to start from."""

from __future__ import annotations

from pathlib import Path

from unfold.errors import UnfoldError
from unfold.util.atomic_files import make_folder

TEMPLATE = Path(__file__).parents[1] / "template"


def write_project(folder: Path) -> str:
    """Write the files of ``template`` into a new or empty folder; returns the next steps. UnfoldError for any other
    folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UnfoldError(f"{folder} already exists and is not an empty folder: name another")
    make_folder(folder)
    files = sorted(path for path in TEMPLATE.iterdir() if path.is_file())
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    return (
        f"{folder}: {', '.join(file.name for file in files)}\n"
        f"next: cd {folder}; unfold train --config recipe.yaml --check; README.md has the rest (docs/extend.md)"
    )
