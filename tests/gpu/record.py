"""Run tests in a process of their own and keep what each one found."""

from __future__ import annotations

import json
import math
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import pytest


class Recorder:
    """A pytest plugin that writes a line of JSON per test, at once: a run that is ended leaves those it had."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        found = dict(report.user_properties)
        crash = getattr(report.longrepr, "reprcrash", None)
        line = {
            "name": report.nodeid,
            "outcome": report.outcome,
            "seconds": round(report.duration, 2),
            "figures": {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()},
            "reason": "" if report.passed else str(crash.message if crash else report.longrepr)[:300],
        }
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def run_tests(path: Path, arguments: list[str], limit: float) -> dict[str, Any]:
    """Run pytest with these arguments, for ``limit`` seconds at most; its outcome, test by test.

    In a process of its own, for a test can break the GPU for the process that it runs in. path: a file for the
    outcomes, which stays.
    """
    path.unlink(missing_ok=True)
    process = multiprocessing.get_context("spawn").Process(target=_pytest, args=(path, arguments))
    process.start()
    process.join(limit)
    in_time = not process.is_alive()
    if not in_time:
        process.kill()
        process.join()
    lines = path.read_text().splitlines() if path.exists() else []
    passed = in_time and process.exitcode == 0
    return {"passed": passed, "in_time": in_time, "limit_s": limit, "tests": [json.loads(line) for line in lines]}


def _pytest(path: Path, arguments: list[str]) -> None:
    sys.exit(int(pytest.main(["-q", "-p", "no:cacheprovider", *arguments], plugins=[Recorder(path)])))
