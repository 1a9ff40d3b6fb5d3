"""A folder of damaged files, and of other things that a file system may hold."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hostile_pictures import KINDS, LEFT_OUT, REFUSED, RESTORED
from small_pictures import Rng, sound


class Input(NamedTuple):
    """One thing in the folder: a file to be restored, or what is none."""

    kind: str
    path: Path
    must: str
    whole: bytes | None = None


def _written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


NAMES = {
    "newline in the name": b"a\nfailed 0:\n b",
    "name that is no UTF-8": b"\xff\xfe\x80",
    "leading dash": b"-o",
    "name of 255 bytes": b"n" * 246,
    "control characters in the name": b"\x1b[2J\r\x07",
}


def strange_files(folder: Path, elsewhere: Path, rng: Rng, number: int) -> Iterator[Input]:
    """What a file system may hold beside ordinary files; elsewhere: a folder outside of it. Names begin with number."""
    good = sound(rng, ".png").data
    for kind, name in NAMES.items():
        path = folder / os.fsdecode((name if name == b"-o" else b"") + b"%05d" % number + name[: 255 - 9] + b".png")
        bad = rng.integers(2)
        yield Input(kind, _written(path, good[:99] if bad else good), REFUSED if bad else RESTORED)
    inside = _written(folder / f"{number:05}folder.png" / "inside.png", good)
    yield Input("picture in a folder called x.png", inside, RESTORED)
    outside = _written(elsewhere / f"{number:05}.png", good)
    links = {
        "link to a picture": (outside, RESTORED),
        "link to itself": (f"{number:05}link_to_itself.png", REFUSED),
        "link to nothing": ("nowhere.png", REFUSED),
        "link to /dev/zero": ("/dev/zero", REFUSED),
        "link to a folder": (inside.parent, LEFT_OUT),
    }
    for kind, (target, must) in links.items():
        path = folder / f"{number:05}{kind.replace(' ', '_').replace('/', '')}.png"
        path.symlink_to(target)
        yield Input(kind, path, must)
    pipe = folder / f"{number:05}pipe.png"
    os.mkfifo(pipe)
    yield Input("named pipe", pipe, REFUSED)
    if os.geteuid() != 0:
        secret = _written(folder / f"{number:05}secret.png", good)
        secret.chmod(0)
        yield Input("not to be read", secret, REFUSED)
    for name in (f"{number:05}.psd", f"{number:05}.txt", f".{number:05}.png", f".{number:05}/a.png"):
        yield Input("hidden, or of another ending", _written(folder / name, good), LEFT_OUT)


def fill(folder: Path, elsewhere: Path, number: int, seed: int) -> list[Input]:
    """So many inputs of all kinds in turn."""
    rng = np.random.default_rng(seed)
    inputs: list[Input] = []
    made: Counter[str] = Counter()
    while len(inputs) < number:
        for kind, (make, must, most) in KINDS.items():
            if made[kind] < most:
                made[kind] += 1
                suffix, data, whole = make(rng)
                path = folder / f"{len(inputs):05}{suffix}"
                inputs.append(Input(kind, _written(path, data), must, whole))
        inputs += strange_files(folder, elsewhere, rng, len(inputs))
    for left in inputs[number:]:
        if not left.path.is_dir():  # a link to a folder is left out in any case
            left.path.unlink()
    return inputs[:number]
