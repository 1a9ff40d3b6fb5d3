"""User code of a run: a copy in the run folder, and a warning where it has changed since."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from yacs.config import CfgNode

from unfold import registry, user_files
from unfold.merge_recipes import PARTS
from unfold.settings import settings_of
from unfold.util.atomic_files import whole_file
from unfold.util.nested import plain
from unfold.util.paths import as_path

logger = logging.getLogger("unfold")
FOLDER = user_files.KEPT


def files_of(cfg: CfgNode) -> list[Path]:
    """The files that the configuration names, and those beside them that they import, or have imported so far."""
    named = {as_path(name.rpartition(":")[0]).resolve() for name in _names(cfg) if registry.names_file(name)}
    beside = (
        file for path in named for file in (*user_files.files_loaded(path.parent), *user_files.files_imported(path))
    )
    return sorted({*named, *beside})


def _names(cfg: CfgNode) -> Iterator[str]:
    yield from (cfg[section][key] for section, (key, _) in PARTS.items())
    yield from (term["NAME"] for term in cfg.LOSS.TERMS)
    yield from (registry.split_options(text)[0] for text in (cfg.DATA.VAL_PROTOCOL, cfg.TEST.PROTOCOL))
    yield from (name for section in PARTS for name in registry.code_in(plain(cfg[section].ARGS)))
    for part in settings_of(cfg).data.parts.values():
        yield from (part.kind, registry.split_options(part.val_protocol)[0])
        yield from registry.code_in(plain(part.args))


def keep(files: Sequence[Path], folder: Path) -> None:
    """Copy the files into the folder. Where two files have one name, the second is stored under its folder's name."""
    taken: set[str] = set()
    for file in files:
        with whole_file(folder / _copy_name(file, taken)) as copy:
            copy.write(file.read_bytes())


def compare(files: Sequence[Path], folder: Path) -> None:
    """Warn about files that changed since the run was last started."""
    taken: set[str] = set()
    changed = []
    for file in files:
        copy = folder / _copy_name(file, taken)
        if copy.is_file() and copy.read_bytes() != file.read_bytes():
            changed.append(file.name)
    if changed:
        logger.warning(
            "code of this run has changed since its last start: %s (as it was: %s)", ", ".join(changed), folder
        )


def _copy_name(file: Path, taken: set[str]) -> str:
    name = file.name if file.name not in taken else f"{file.parent.name}_{file.name}"
    taken.add(name)
    return name
