"""scripts/gpu_checks, on the CPU: what it measures, what it writes, and that it asks for a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.narrow import OURS, narrow
from unfold import list_models

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
THREE_TESTS = """
import pytest
def test_good(record_property):
    record_property("a figure", 0.25)
    record_property("b", float("inf"))
def test_bad():
    assert 1 + 1 == 3, "of arithmetic"
@pytest.mark.skip
def test_left_out(): pass
"""

PUBLISHED = [name for name in list_models() if name not in OURS]  # of the papers


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import gpu_checks

    return gpu_checks


def test_without_a_gpu_it_says_so_in_one_line_and_is_content(tmp_path: Path) -> None:
    environment = {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": "", "PATH": "/usr/bin:/bin"}
    command = [ROOT / "scripts" / "gpu_checks", "--output", tmp_path / "out"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    assert result.stdout == "scripts/gpu_checks: there is no CUDA GPU here, and nothing else to check\n"
    assert not (tmp_path / "out").exists()


def test_every_network_is_planned_in_every_precision_and_one_of_each_family_first(script: Any) -> None:
    rows = script.plan(PUBLISHED, (256, 256), (720, 1280))
    assert {row.model for row in rows} == set(PUBLISHED)
    for name in PUBLISHED:
        mine = [row for row in rows if row.model == name]
        forwards = {(row.precision, row.height) for row in mine if row.kind == "forward"}
        steps = {(row.precision, row.checkpointed) for row in mine if row.kind == "training step"}
        assert forwards == {(p, height) for p in ("float32", "tf32", "bfloat16") for height in (256, 720)}
        assert steps == {(p, checkpointed) for p in ("tf32", "bfloat16") for checkpointed in (False, True)}
    assert len(rows) == 10 * len(PUBLISHED)
    assert [row.model in script.FIRST for row in rows] == [True] * 40 + [False] * (len(rows) - 40)


@pytest.mark.slow
def test_tests_and_measurements_come_in_two_files(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_three.py").write_text(THREE_TESTS)
    monkeypatch.setitem(script.PUBLISHED, "usrnet", (2, 32))
    monkeypatch.setattr(script, "REPEATS", 3)
    monkeypatch.setitem(script.PUBLISHED, "dgunet_cs", (2, 32))
    rows = script.plan(["dgunet_cs", "usrnet"], (25, 33), (48, 40))
    assert not script.check(tmp_path / "out", CPU, rows, narrow, [str(tmp_path / "test_three.py")], "v1"), "one fails"

    result = json.loads((tmp_path / "out" / "gpu_checks.json").read_text())
    assert [test["outcome"] for test in result["tests"]["tests"]] == ["passed", "failed", "skipped"]
    assert result["tests"]["tests"][0]["figures"] == {"a figure": 0.25, "b": "inf"}
    assert result["environment"]["commit"] == "v1"
    assert result["environment"]["torch"] == torch.__version__
    assert len(result["measurements"]) == 20
    for row in result["measurements"]:
        assert row["outcome"] == "measured"
        assert row["fastest"] <= row["seconds"] <= row["slowest"]
        pixels = row["batch"] * row["height"] * row["width"]
        assert row["megapixels_per_s"] == pytest.approx(pixels / row["seconds"] / 1e6)
        assert row["stages"] == 3
        assert (row["loss"] is not None) == (row["kind"] == "training step")

    text = (tmp_path / "out" / "gpu_checks.md").read_text()
    assert "1 passed, 1 failed, 1 skipped." in text
    assert "- failed: `test_bad`: AssertionError: of arithmetic" in text
    assert "- passed: `test_good`: a figure 0.25, b inf" in text
    lines = [line.split("|") for line in text.splitlines() if line.startswith("| usrnet |")]
    assert [line[3].strip() for line in lines] == ["1 x 25x33", "1 x 48x40", "2 x 32x32"]
    assert [line.count("") for line in lines] == [2, 2, 2], "at both ends alone"
    assert [sum("Mpx/s" in part for part in line) for line in lines] == [3, 3, 4]


def test_what_fails_or_comes_too_late_is_reported_and_the_rest_is_measured(script: Any) -> None:
    def build(name: str) -> Any:
        if name == "nrl_gdn":
            raise RuntimeError("CUDA out of memory. Tried\nto allocate")
        if name == "usrnet":
            raise ValueError("no such thing\nas this")
        return narrow(name)

    rows = [script.Row("forward", name, "float32", 1, 32, 32) for name in ("nrl_gdn", "usrnet", "dgunet_cs")]
    saved: list[int] = []
    script.measure(rows, build, CPU, time.monotonic() + 60, lambda: saved.append(1))
    assert [row.outcome for row in rows] == ["out of memory", "failed: ValueError: no such thing", "measured"]
    assert [script.cell(row) for row in rows[:2]] == ["out of memory", "failed: ValueError: no such thing"]
    assert len(saved) >= 3, "after every row"
    late = [script.Row("forward", "usrnet", "float32", 1, 32, 32)]
    script.measure(late, build, CPU, time.monotonic() - 1, lambda: None)
    assert script.cell(late[0]) == "not measured: out of time"


@pytest.mark.slow
def test_tests_that_take_too_long_are_ended_and_what_they_had_is_kept(script: Any, tmp_path: Path) -> None:
    (tmp_path / "test_long.py").write_text("import time\ndef test_short(): pass\ndef test_long(): time.sleep(600)\n")
    found = script.run_tests(tmp_path / "log", [str(tmp_path / "test_long.py")], 15)
    assert (found["passed"], found["in_time"]) == (False, False)
    assert [test["name"].split("::")[1] for test in found["tests"]] == ["test_short"]


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_training_step_trains(script: Any, checkpointed: bool) -> None:
    row = script.Row("training step", "dgunet_cs", "float32", 2, 32, 32, checkpointed)
    net = narrow("dgunet_cs").train()
    step: Callable[[], torch.Tensor] = script.training_step(row, net, CPU)
    losses = [step().item() for _ in range(3)]
    assert losses[2] < losses[1] < losses[0]
    assert net.checkpoint_stages == checkpointed
