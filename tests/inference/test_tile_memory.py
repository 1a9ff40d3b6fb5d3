"""What a run will need is known without running it, and what there is is found where the system says it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.gpu.setting import peak_memory
from tests.narrow import NAMES, inputs, narrow
from unfold.errors import out_of_memory
from unfold.inference import tile_memory
from unfold.inference.tile_memory import available, needed

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_needed_is_what_a_run_takes(name: str) -> None:
    net, given = narrow(name).train(), inputs(name, 1, 32, 64)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with torch.no_grad():
        measured = peak_memory(lambda: net(**given), CPU)
    assert needed(net, given) == pytest.approx(measured, rel=0.02)
    assert all(torch.equal(value, before[key]) and value.device == CPU for key, value in net.state_dict().items())


def test_a_large_image_is_counted_without_its_memory() -> None:
    net = narrow("usrnet").eval()
    given = inputs("usrnet", 1, 8, 8) | {"y": torch.empty(1, 3, 40000, 40000, device="meta")}
    assert needed(net, given) > 100 * 2**30
    assert not net.training


def test_memory_of_this_machine_is_found() -> None:
    assert 2**24 < available(CPU) < 2**50


def test_limits_of_control_groups_of_both_versions_and_of_those_above_count(tmp_path: Path) -> None:
    def group(folder: Path, names: tuple[str, str], limit: str, used: int, cache: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in zip((*names, "memory.stat"), (limit, str(used), cache), strict=True):
            (folder / name).write_text(text + "\n")

    new, old = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
    group(tmp_path / "job" / "step", new, "max", 5, "inactive_file 1")
    group(tmp_path / "job", new, "1000", 300, "anon 7\ninactive_file 40")
    group(tmp_path / "memory" / "batch", old, "900", 100, "inactive_file 5\ntotal_inactive_file 20")
    membership = tmp_path / "cgroup"
    membership.write_text("0::/job/step\n4:memory:/batch\n3:cpu:/elsewhere\n")
    assert tile_memory._free_of_groups(membership, tmp_path) == [740, 820]
    assert tile_memory._free_of_groups(tmp_path / "none", tmp_path) == []


def test_the_smallest_limit_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_memory, "_free_of_groups", lambda *places: [5000, 70])
    assert available(CPU) == 70


def test_out_of_memory_is_distinguished_from_other_errors() -> None:
    expected = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA"), expected):
        assert out_of_memory(error)
    for error in (RuntimeError("shapes"), ValueError("can't allocate memory"), KeyError()):
        assert not out_of_memory(error)
