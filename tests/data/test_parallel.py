"""Processes share the processors, and are started where there is enough to do."""

from __future__ import annotations

import os

import pytest

from unfold.data import parallel
from unfold.data.parallel import in_parallel


def test_every_process_has_one_thread_of_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "processors", lambda: 2)
    assert list(in_parallel(eval, ["__import__('cv2').getNumThreads()"] * 3, "counting", "thread")) == [1, 1, 1]


def test_processes_are_started_for_enough_items_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "processors", lambda: 2)
    asked = ["__import__('os').getpid()"] * 3
    assert set(in_parallel(eval, asked, "asking", "process", enough=4)) == {os.getpid()}
    assert os.getpid() not in set(in_parallel(eval, asked, "asking", "process", enough=3))
