"""The short form of scripts/torture: real processes that are killed or stopped, and end as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.training import faults_of_files as files
from tests.training import faults_of_processes as processes
from tests.training.trial import Ground, Notes, Trial, attempt


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("torture"))


@pytest.mark.parametrize(
    "fault",
    [
        processes.killed_while_writing,
        processes.sigterm_to_all,
        processes.no_reader,
        files.truncated,
        files.file_limit,
        files.finished,
    ],
    ids=lambda fault: fault.__name__,
)
def test_a_tormented_run_ends_as_one_that_was_left_alone(ground: Ground, fault: Callable[[Trial], Notes]) -> None:
    outcome = attempt(fault, Trial(ground, fault.__name__, 1))
    assert not isinstance(outcome, str), outcome
