"""One fault of one run, for scripts/torture: the run is started, disturbed, resumed, and its result is compared."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.training.real_runs import Place, Run, ending, unlike
from unfold.errors import UnfoldError
from unfold.training.checkpoint import read_run
from unfold.weights.read_checkpoint import read_checkpoint

Notes = dict[str, float]  # for the table: texts to be filled with the sum of the numbers, or the largest


class TooLateError(Exception):
    """The run was over before the fault came, or had not begun: once more."""


def check(good: object, what: str) -> None:
    if not good:
        raise AssertionError(what)


class Ground:
    """What trials share: how a run ends that nothing happens to, and one that was stopped in its second epoch."""

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder)
        self.stopped: Path | None = None
        for i in range(20):
            run = self.place.start(f"stopped{i}", "TRAIN.SAVE_EVERY", 1)
            # Reading a checkpoint takes about as long as a step, more on a busy machine: the signal is sent early, too.
            if run.wait_for(lambda run=run, step=5 - i % 4: run.step >= step):
                run.kill(signal.SIGTERM)
            if run.wait() == 75 and run.step >= 5:
                self.stopped = run.folder
                break
        begin = time.monotonic()
        self.reference = ending(self.place.finish("reference").folder)
        self.seconds = time.monotonic() - begin


@dataclass
class Trial:
    """One fault of one run. name: of its folder; number: odd for one with processes that load data."""

    ground: Ground
    name: str
    number: int

    def __post_init__(self) -> None:
        self.place, self.seconds = self.ground.place, self.ground.seconds
        self.rng = random.Random(self.name)

    @property
    def workers(self) -> tuple[str, int]:
        return "TRAIN.WORKERS", self.number % 2 * 2

    @property
    def folder(self) -> Path:
        return self.place.folder / self.name

    def start(self, *words: object, **options: Any) -> Run:
        return self.place.start(self.name, "--resume", "auto", *self.workers, *words, **options)

    def copy_base(self) -> Path:
        """A copy of the stopped run; its last checkpoint."""
        assert self.ground.stopped is not None, "no run could be stopped"
        shutil.copytree(self.ground.stopped, self.folder)
        return self.folder / "checkpoints" / "last.pth"

    def stopped(self, run: Run, begin: float, code: int = 75) -> Notes:
        """After the signal: exit code and line; how long it took."""
        found = run.wait()
        if found in (0, -signal.SIGTERM, -signal.SIGUSR1):  # over, or not yet in unfold
            raise TooLateError
        check(found == code, f"exit code {found}, not {code}: {run.last_line()}")
        check("Traceback" not in run.printed.read_text(), "a traceback")
        return {"slowest end {:.1f} s after": time.monotonic() - begin}

    def refused(self, run: Run, words: str) -> None:
        """Exit code 2 and one clear line."""
        run.wait_for(lambda: "unfold train: " in run.printed.read_text())
        begin = time.monotonic()
        code, line = run.wait(), run.last_line()
        check(time.monotonic() - begin < 10, "it did not end when it had said why")
        if code == 0:
            raise TooLateError
        check(code == 2 and words in line and line.startswith("unfold train: "), f"exit code {code}: {line}")
        check("Traceback" not in run.printed.read_text(), "a traceback")

    def compare(self, *words: object, reference: dict[str, Any] | None = None, **options: Any) -> None:
        """Resume to the end, and compare."""
        self.place.finish(self.name, *self.workers, *words, **options)
        different = unlike(self.folder, reference or self.ground.reference)
        check(not different, f"{len(different)} values differ, {different[:3]}")
        check(not parts(self.folder), f"left: {parts(self.folder)}")

    def whole(self) -> None:
        """Every checkpoint that has its name can be read."""
        for path in (self.folder / "checkpoints").glob("*.pth"):
            read_checkpoint(path) if path.stem == "best" else read_run(path)


def attempt(fault: Callable[[Trial], Notes], trial: Trial) -> Notes | str:
    """The fault's notes, or what went wrong."""
    for _ in range(20):
        try:
            return fault(trial)
        except TooLateError:
            for end in ("", "_pictures", "_reference"):
                shutil.rmtree(f"{trial.folder}{end}", ignore_errors=True)
        except (AssertionError, UnfoldError, OSError, subprocess.CalledProcessError) as error:
            return f"{type(error).__name__}: {error}"
    return "the moment was missed 20 times"


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob(".*.part"))
