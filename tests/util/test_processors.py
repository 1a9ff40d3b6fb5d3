"""How many processors and threads, on made-up control groups; and how waiting is set by programs alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unfold.util import processors
from unfold.util.processors import groups, quota, threads_for

ROOT = Path(__file__).parents[2]


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def member(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "membership"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("here", "above", "expected"),
    [
        ("150000 100000", "max 100000", 1.5),
        ("max 100000", "max 100000", None),
        ("800000 100000", "300000 100000", 3),  # the group above allows less
        ("50000 100000", "max 100000", 0.5),
        ("nonsense", "max 100000", None),
    ],
)
def test_a_quota_of_version_2_is_the_least_of_all_groups_above(
    tmp_path: Path, here: str, above: str, expected: float | None
) -> None:
    write(tmp_path / "job" / "step", cpu__max=here)
    write(tmp_path / "job", cpu__max=above)
    assert quota(member(tmp_path, "0::/job/step"), tmp_path) == expected


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("most", "expected"), [("200000", 2), ("-1", None)])
def test_a_quota_of_version_1_is_found_in_either_folder(
    tmp_path: Path, folder: str, most: str, expected: float | None
) -> None:
    write(tmp_path / folder / "batch", cpu__cfs_quota_us=most, cpu__cfs_period_us="100000")
    assert quota(member(tmp_path, "0::/", "4:cpu,cpuacct:/batch", "3:memory:/other"), tmp_path) == expected


def test_in_a_container_whose_group_is_not_mounted_its_root_is_the_groups_own(tmp_path: Path) -> None:
    write(tmp_path, cpu__max="100000 100000")
    assert quota(member(tmp_path, "0::/../../docker/abc"), tmp_path) == 1
    assert quota(member(tmp_path, "0::/kubepods/abc"), tmp_path) == 1
    assert quota(tmp_path / "none", tmp_path) is None
    assert list(groups("cpu", member(tmp_path, "3:cpuset:/"), tmp_path)) == []


@pytest.mark.parametrize(("share", "expected"), [("50000", 1), ("250000", 2), ("9900000", 4)])
def test_processors_are_those_of_affinity_and_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: str, expected: int
) -> None:
    monkeypatch.setattr(processors, "_affinity", lambda: 4)
    write(tmp_path, cpu__max=f"{share} 100000")
    assert processors.processors(member(tmp_path, "0::/"), tmp_path) == expected


TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "4", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    ("environment", "quota", "expected"),
    [
        ({}, None, None),  # torch may choose: it looks at the affinity, and takes one thread a core
        ({}, 3.0, 3),
        ({}, 0.5, 1),
        ({"OMP_NUM_THREADS": "7"}, 3.0, None),
        ({"MKL_NUM_THREADS": "7"}, 3.0, None),
        ({"LOCAL_WORLD_SIZE": ""}, None, None),
        ({"LOCAL_WORLD_SIZE": "4"}, None, 4),
        ({"LOCAL_WORLD_SIZE": "4"}, 9.0, 2),
        ({"LOCAL_WORLD_SIZE": "32"}, None, 1),
        (TORCHRUN, None, 4),  # torchrun's 1 was nobody's choice
        ({**TORCHRUN, "OMP_NUM_THREADS": "2"}, None, None),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "1"}, None, None),  # torchrun sets nothing for one process
        ({"SLURM_PROCID": "0", "SLURM_CPUS_PER_TASK": "8"}, None, 8),
        ({"SLURM_CPUS_PER_TASK": "8"}, None, None),
    ],
)
def test_threads_are_chosen_where_torch_would_take_too_many_and_nobody_said_how_many(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    quota: float | None,
    expected: int | None,
) -> None:
    monkeypatch.setattr(processors, "_affinity", lambda: 16)
    monkeypatch.setattr(processors, "quota", lambda *places: quota)
    parent = tmp_path / "environ"
    parent.write_bytes(b"HOME=/root\0PATH=/bin")
    assert threads_for(environment, parent) == expected


def test_one_thread_that_a_person_set_before_torchrun_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "_affinity", lambda: 16)
    parent = tmp_path / "environ"
    parent.write_bytes(b"HOME=/root\0OMP_NUM_THREADS=1\0PATH=/bin")
    assert threads_for(TORCHRUN, parent) is None


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OMP_NUM_THREADS": "4"}, True),
        ({"MKL_NUM_THREADS": "4"}, True),
        ({"OMP_NUM_THREADS": "4", "UNFOLD_THREADS": "4"}, False),
        ({"OMP_NUM_THREADS": "2", "UNFOLD_THREADS": "4"}, True),
    ],
)
def test_a_person_chose_the_threads_where_it_was_not_done_here(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: bool
) -> None:
    for name in (*processors.THREADS, processors.OURS):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processors.chosen_by_a_person() == expected


def printed(code: str, *, main: bool = False, **environment: str) -> str:
    """What a fresh Python prints."""
    left = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env={**left, **environment})
    return found.stdout.strip().splitlines()[-1]


SHOW = "import os; print(os.environ.get('OMP_WAIT_POLICY'))"
CALL = "from unfold.cli import main\ntry: main(['train', '--help'])\nexcept SystemExit: pass\n"


def test_programs_have_their_threads_wait_passively_and_a_library_changes_nothing() -> None:
    assert printed(f"{CALL}{SHOW}") == "passive"
    assert printed(f"{CALL}{SHOW}", OMP_WAIT_POLICY="active") == "active"
    assert printed(f"import unfold.util.as_program\n{SHOW}") == "passive"
    assert printed(f"import unfold, unfold.cli, unfold.api, unfold.data.parallel\n{SHOW}") == "None"
    assert printed(f"import sys; sys.modules['torch'] = sys\n{CALL}{SHOW}") == "None", "somebody's own process"


WORKER = """
import os
from unfold.data.parallel import in_parallel
if __name__ == "__main__":
    print(list(in_parallel(os.getenv, ["OMP_WAIT_POLICY"] * 2, "asking", "x", workers=2)), os.getenv("OMP_WAIT_POLICY"))
"""


def test_processes_that_work_for_a_library_wait_passively_too(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(WORKER)
    left = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")} | {"PYTHONPATH": str(ROOT)}
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=left)
    assert found.stdout.strip() == "['passive', 'passive'] None"


@pytest.mark.parametrize("script", sorted(ROOT.glob("scripts/*.py")), ids=lambda path: path.name)
def test_scripts_settle_their_threads_before_torch_is_loaded(script: Path) -> None:
    if script.name.startswith("compare_commit"):  # which runs old commits too, and sets the environment by itself
        return
    lines = script.read_text().splitlines()
    loads = [
        i
        for i, line in enumerate(lines)
        if line.startswith(("import torch", "from torch", "from unfold", "from tests"))
    ]
    settles = [i for i, line in enumerate(lines) if line.startswith("import unfold.util.as_program")]
    assert not loads or (settles and settles[0] < loads[0])
