"""Checkpoints of a run: plain tensors and values, written atomically; the newest few are kept."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from pathlib import Path

import torch
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.util.atomic_files import whole_file
from unfold.weights.read_checkpoint import Checkpoint, read_checkpoint

logger = logging.getLogger("unfold")


def save_checkpoint(path: Path, content: dict[str, object], keep: int = 1) -> None:
    """Write a checkpoint with a digest of all its numbers; a reader sees the old file or the new one, whole.

    keep: of last.pth, the one before becomes last-1.pth, that one last-2.pth, and so on, ``keep`` files in all.
    """
    with whole_file(path) as file:
        try:
            torch.save({**content, "digest": digest_of(content)}, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # a full disk; torch then raises a second error
                raise error.__context__ from None
            raise
        file.flush()
        os.fsync(file.fileno())  # the old ones move when the new one is on the disk
        if keep > 1 and path.exists():
            _make_way([path, *(path.with_name(f"{path.stem}-{i}{path.suffix}") for i in range(1, keep))])


def _make_way(names: Sequence[Path]) -> None:
    """Move each file but the first to the next name; the first one is linked to the second name and keeps its own."""
    for newer, older in reversed(list(pairwise(names[1:]))):
        if newer.exists():
            newer.replace(older)
    names[1].unlink(missing_ok=True)
    try:
        names[1].hardlink_to(names[0])
    except OSError:  # not every file system has hard links
        names[0].replace(names[1])


def digest_of(content: dict[str, object]) -> str:
    """SHA-256 over the names and numbers of all tensors, at any depth."""
    total = hashlib.sha256()
    for name, tensor in sorted(_tensors(content, ""), key=itemgetter(0)):
        plain = tensor.detach().cpu().contiguous()
        total.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        total.update(plain.view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _tensors(value: object, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key in value:
            yield from _tensors(value[key], f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _tensors(item, f"{name}/{i}")


def newest_good(folder: Path) -> tuple[Path, Checkpoint] | None:
    """The newest intact checkpoint of a run, with a warning for each damaged one; None if there is none.

    UnfoldError if all of them are damaged.
    """
    reasons = []
    for path in sorted(folder.glob("last*.pth"), key=_age):
        try:
            return path, read_run(path)
        except UnfoldError as error:
            reasons.append(str(error))
            logger.warning("%s; going back to the one before", error)
    if reasons:
        raise UnfoldError(f"no checkpoint in {folder} is whole: {'; '.join(reasons)}")
    return None


def make_newest(path: Path) -> None:
    """Make the checkpoint that a run resumes from last.pth again, where newer ones are damaged.

    Otherwise the next save would rotate it out, and while it is written no intact checkpoint would exist.
    """
    path.replace(path.with_name("last.pth"))


def _age(path: Path) -> int:
    number = path.stem.removeprefix("last").removeprefix("-")
    return int(number) if number.isdecimal() else 0


def read_run(path: Path) -> Checkpoint:
    """A checkpoint that a run can resume from. UnfoldError for one that is damaged or holds weights alone."""
    checkpoint = read_checkpoint(path)
    if not {"step", "best", "optimizer", "digest"} <= checkpoint.content.keys():
        raise UnfoldError(f"{path} holds weights but no state of a run; it cannot be resumed")
    content = {key: value for key, value in checkpoint.content.items() if key != "digest"}
    if digest_of({"state_dict": checkpoint.state, **content}) != checkpoint.content["digest"]:
        raise UnfoldError(f"{path} is damaged: its numbers are not those that were written")
    return checkpoint


class _Nowhere:
    """A file that only counts bytes."""

    size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        pass


def size_on_disk(content: dict[str, object]) -> int:
    """Bytes that the content would take in a file."""
    file = _Nowhere()
    torch.save(content, file)  # type: ignore[arg-type]
    return file.size
