"""Real training processes to kill and resume, and a comparison of the results of two runs.

They are forked from a process that has imported everything already, so that a start takes a moment and no seconds.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from tests.synthetic import scene
from unfold.training.log import read_log
from unfold.weights.read_checkpoint import read_checkpoint

ROOT = Path(__file__).parents[2]
TIMING = ("seconds", "images_per_s", "data_wait")
PATIENCE = 120.0  # seconds for anything that must happen
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sys.path])  # for what is started from anywhere else
LOCK = threading.Lock()  # two threads that look for the exit code of one process would take it from each other
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["unfold.cli.command_line", "unfold.training.setup.build_run", "torch._dynamo", "h5py", "cv2", __name__]
)

RECIPE = """
DEVICE: cpu
MODEL: {NAME: dgunet_denoise, STAGES: 3, WIDTH: 8, GROWTH: 4, TAIL: 4, OPERATOR_WIDTH: 4}
TRAIN: {EPOCHS: 2, PATCHES: 14, BATCH: 4, ACCUMULATE: 2, EMA: 0.9, PATCH: 16, SAVE_EVERY: 3}
OPTIM: {LR: 2.0e-3, CLIP: 0.1}
SCHEDULE: {WARMUP: 1}
"""


@dataclass
class Run:
    """A process of its own group, with what it prints in a file."""

    process: Any
    printed: Path
    folder: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def step(self) -> int:
        """Of the last checkpoint."""
        last = self.folder / "checkpoints" / "last.pth"
        return read_checkpoint(last).content["step"] if last.is_file() else -1

    @property
    def code(self) -> int | None:
        """The exit code, -9 of one that was killed; None while it runs."""
        with LOCK:
            return self.process.exitcode

    def wait(self) -> int:
        """The exit code, when it has one."""
        self.wait_for(lambda: False)
        code = self.code
        if code is None:
            self.kill()
            raise AssertionError(f"{self.folder}: the process does not end")
        return code

    def wait_for(self, condition: Callable[[], Any]) -> bool:
        """Whether it comes to be while the process runs."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.code is None:
            if condition():
                return True
            time.sleep(0.001)
        return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):  # it was quicker
            os.kill(self.pid, number)

    def kill_all(self, number: int) -> None:
        """As a terminal or a scheduler does: the processes that load data get it, too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def children(self) -> list[int]:
        return [int(p) for p in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def last_line(self) -> str:
        lines = self.printed.read_text().splitlines()
        return lines[-1] if lines else ""


@dataclass
class Place:
    """A folder with pictures and a recipe, and the runs that are made there."""

    folder: Path
    pictures: Path = field(init=False)
    held_out: Path = field(init=False)
    groups: set[int] = field(default_factory=set, init=False)  # of processes

    def __post_init__(self) -> None:
        self.pictures, self.held_out = self.folder / "pictures", self.folder / "held_out"
        for place, sizes in ((self.pictures, [(48, 40), (40, 56), (33, 37)]), (self.held_out, [(24, 28)])):
            place.mkdir()
            for i, size in enumerate(sizes):
                Image.fromarray(scene(*size, seed=i)).save(place / f"picture{i}.png")
        data = f"DATA: {{TRAIN: {self.pictures}, VAL: {self.held_out}, TEST: {self.held_out}}}\n"
        (self.folder / "recipe.yaml").write_text(data + RECIPE)

    def words(self, name: str | Path, *words: object) -> list[str]:
        """The command line of a run in the folder ``name``; words: options and KEY VALUE pairs."""
        options = [str(word) for word in words if str(word).startswith("--") or word == "auto"]
        pairs = [str(word) for word in words if str(word) not in options]
        recipe = ["--config", str(self.folder / "recipe.yaml")]
        return ["train", *recipe, *options, "--", *pairs, "OUTPUT", str(self.folder / name)]

    def start(self, name: str | Path, *words: object, before: Callable[[], None] | None = None) -> Run:
        """Begin a run; before: called in its process, before it begins."""
        run = Run(None, self.folder / f"{Path(name).name}.txt", self.folder / name)
        run.printed.unlink(missing_ok=True)
        run.process = CONTEXT.Process(target=_unfold, args=(self.words(name, *words), run.printed, before))
        with LOCK:
            run.process.start()
        self.groups.add(run.pid)
        assert run.wait_for(run.printed.exists)
        return run

    def finish(self, name: str | Path, *words: object, before: Callable[[], None] | None = None) -> Run:
        """Let a run go on, or begin, to its end."""
        run = self.start(name, "--resume", "auto", *words, before=before)
        code = run.wait()
        assert code == 0, f"{run.folder}: exit code {code}: {run.last_line()}"
        return run

    def left_behind(self) -> list[str]:
        """The processes that still run. (One that loads data looks every 5 seconds whether the run is there.)"""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, group = path.read_text().rpartition(")")[2].split()[:3]
                if int(group) in self.groups and state != "Z":
                    found.append(path.parent.name)
        return found


def _unfold(words: list[str], printed: Path, before: Callable[[], None] | None) -> None:
    from unfold.cli import main

    os.setsid()
    # As in a process of its own on Linux; else what is killed leaves its semaphores (tqdm's) behind.
    multiprocessing.set_start_method("fork", force=True)
    file = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if before is not None:
        before()
    sys.exit(main(words))


def ending(folder: Path) -> dict[str, Any]:
    """All that a run has come to: both checkpoints, the log and the last validation, without times."""
    rows = [{key: row[key] for key in row if key not in TIMING} for row in read_log(folder / "log.jsonl")]
    found: dict[str, Any] = {"log": rows, "validation": json.loads((folder / "validation.json").read_text())}
    for name in ("last", "best"):
        checkpoint = read_checkpoint(folder / "checkpoints" / f"{name}.pth")
        found |= flat(checkpoint.state, f"{name}/weights")
        found |= flat({key: value for key, value in checkpoint.content.items() if key != "spent"}, name)
    return found


def flat(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, Tensor):
        return {name: (str(value.dtype), tuple(value.shape), value.numpy().tobytes())}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
    if items is None:
        return {name: value}
    return {key: found for part, inner in items for key, found in flat(inner, f"{name}/{part}").items()}


def unlike(folder: Path, other: dict[str, Any]) -> list[str]:
    """The names of what is not the same, bit for bit, in the run's folder and in another :func:`ending`."""
    mine = ending(folder)
    return sorted(name for name in mine.keys() | other.keys() if mine.get(name, ...) != other.get(name, ...))
