"""A resumed run keeps its number of threads, by which sums are rounded, unless a person says otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from unfold.config import load_config
from unfold.training.processes.distributed import Processes
from unfold.training.setup.build_run import build_trainer
from unfold.training.setup.environment import keep_threads, read_starts


@pytest.fixture
def begun(recipe: Path) -> Iterator[Path]:
    """The folder of a run of which an epoch is done, and which then had 3 threads."""
    before = torch.get_num_threads()
    build_trainer(load_config(recipe)).fit(1)
    file = recipe.parent / "run" / "environment.json"
    file.write_text(json.dumps([{**start, "threads": 3} for start in json.loads(file.read_text())]))
    yield file.parent
    torch.set_num_threads(before)


def resume(recipe: Path) -> int:
    build_trainer(load_config(recipe), resume=True)
    return torch.get_num_threads()


def test_a_resumed_run_has_as_many_threads_as_before(
    recipe: Path, begun: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "unfold")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert resume(recipe) == 3
    assert "using 3 threads, as this run did so far (a new run here would use 1)" in caplog.messages
    assert [start["threads"] for start in read_starts(begun)] == [3, 3]


def test_threads_that_a_person_sets_stay_with_a_warning_and_those_that_we_chose_do_not(
    recipe: Path, begun: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert resume(recipe) == 1
    assert sum("this run had 3 threads so far, and the environment sets 1" in text for text in caplog.messages) == 1
    file = begun / "environment.json"
    file.write_text(json.dumps([{**start, "threads": 2} for start in json.loads(file.read_text())]))
    monkeypatch.setenv("UNFOLD_THREADS", "1")  # what processors.prepare writes
    assert resume(recipe) == 2


@pytest.mark.parametrize(
    "start", [{}, {"threads": None}, {"threads": 0}, {"threads": "3"}, {"threads": 3, "processes": 2}]
)
def test_what_was_not_noted_or_was_of_other_processes_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: dict[str, object]
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    (tmp_path / "environment.json").write_text(json.dumps([start]))
    before = torch.get_num_threads()
    keep_threads(tmp_path, Processes())
    assert torch.get_num_threads() == before
