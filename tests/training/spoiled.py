"""Changes to a process before it trains: for faults that cannot be caused from outside at the right moment."""

from __future__ import annotations

import math
import os
import resource
import time
from typing import Any

from unfold.training.setup import build_run

SMALL = 1 << 20  # bytes


def nan_batch() -> None:
    """The second batch of the second epoch holds a pixel that is no number."""
    rendered = build_run._rendered

    def spoiled(*arguments: Any) -> dict[str, Any]:
        given = rendered(*arguments)
        if arguments[-2:] == (1, 1):
            given["target"][0, 0, 0, 0] = math.nan
        return given

    build_run._rendered = spoiled


def slow_validation() -> None:
    """Validation says that it begins, and takes a minute longer."""
    validated = build_run._validated

    def slow(*arguments: Any) -> dict[str, float]:
        os.write(1, b"validating\n")
        time.sleep(60)
        return validated(*arguments)

    build_run._validated = slow


def slow_step() -> None:
    """The third step says that it begins, and takes a minute longer."""
    rendered = build_run._rendered

    def slow(*arguments: Any) -> dict[str, Any]:
        if arguments[-2:] == (0, 2):
            os.write(1, b"a long step\n")
            time.sleep(60)
        return rendered(*arguments)

    build_run._rendered = slow


def no_reader() -> None:
    """Nobody reads what the process prints."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, 1)
    os.dup2(writer, 2)


def small_files() -> None:
    """No file can become larger than SMALL."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
