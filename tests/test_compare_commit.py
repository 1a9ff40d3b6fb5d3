"""scripts/compare_commit calls two trees identical only where every item is, to the bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import compare_commit

    return compare_commit


@pytest.mark.parametrize(
    "value", [1, 1.5, True, None, "text", math.nan, -math.inf, [], np.array([1.0, math.nan]), np.zeros((0, 3))]
)
def test_a_value_is_identical_to_itself(script: Any, value: Any) -> None:
    lines, good = script.compare({("part", "item"): value}, {("part", "item"): value})
    assert good
    assert lines[2:] == ["| part | 1 | identical |"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (1.0, math.nextafter(1.0, 2)),
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        (np.zeros(3), -np.zeros(3)),
        (np.zeros(3), np.zeros(3, np.float32)),
        (np.zeros(3), np.zeros((3, 1))),
        (np.array([1.0, 2]), np.array([1.0, np.nextafter(2, 3)])),
        (np.zeros(1), 0.0),
    ],
)
def test_the_last_bit_the_type_and_the_shape_count(script: Any, old: Any, new: Any) -> None:
    same = {("other part", "item"): 7}
    lines, good = script.compare({("part", "item"): old, **same}, {("part", "item"): new, **same})
    assert not good
    assert "1 DIFFER, first item: " in lines[2]
    assert lines[3] == "| other part | 1 | identical |"


def test_what_one_tree_lacks_and_what_failed_in_both_is_no_agreement(script: Any) -> None:
    lines, good = script.compare({("part", "a"): 1, ("part", "b"): 2}, {("part", "a"): 1})
    assert not good
    assert "b is in the old tree alone" in lines[2]
    broken = {("part", script.FAILED): "ValueError: no"}
    lines, good = script.compare(broken, broken)
    assert not good
    assert "failed in the old and the new tree: ValueError: no" in lines[2]
